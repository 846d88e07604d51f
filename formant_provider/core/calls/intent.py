"""What the ledger holds of one call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from formant_provider.api.models import CallReceipt
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.keys import KEY_PROTECTS
from formant_provider.core.ledger import BaseIntent, Readers, from_plain

_moment = datetime.fromisoformat
_SEND_READERS: Readers = dict.fromkeys(("at", "ended_at", "scheduled_for"), _moment)


@dataclass(frozen=True)
class Intent(BaseIntent):
    """What the ledger holds of one call.

    :param key: the idempotency key that is sent; ``written_at`` is of this one.
    :param spent_keys: how many keys of this call the vendor used up by refusing.
    :param attempt: 1 for the call itself, more for redials.
    :param shared_since: when somebody else may have sent this key at the earliest, aware; ``None`` when
        nobody else can have sent it before we did.
    :param used_since: when somebody used this key at the earliest, aware; known once the vendor has said that
        it was used.
    :param redials: conversation that a redial follows and joins.
    :param sends: those that may have been accepted, as far as they are known.
    :param looked_at: when it was last looked for what others may have placed, and nothing was there, aware.
    :param earlier: ids of conversations with the recipient that were there before it was first sent.
    :param refused: why no call was allowed when this was last to be sent, in a word, such as ``"capped"``;
        ``None`` once it is sent.
    :param called_at: when the person was called, of a call that was found; of one that may have been placed
        at an unknown time, when that was learnt, aware. ``None``: the sends tell.
    :param last_receipt: of the call that a redial follows; ``last_at`` is when that was written down.
    """

    READERS: ClassVar[Readers] = {
        **BaseIntent.READERS,
        **dict.fromkeys(("shared_since", "used_since", "looked_at", "called_at", "last_at"), _moment),
        **dict.fromkeys(("spent_keys", "attempt"), int),
        **dict.fromkeys(("receipt", "last_receipt"), CallReceipt.from_json),
        "sends": lambda sends: tuple(from_plain(SendRecord, send, _SEND_READERS) for send in sends),
        "earlier": tuple,
    }

    receipt: CallReceipt | None = None
    spent_keys: int = 0
    attempt: int = 1
    shared_since: datetime | None = None
    used_since: datetime | None = None
    redials: str | None = None
    sends: tuple[SendRecord, ...] = ()
    looked_at: datetime | None = None
    earlier: tuple[str, ...] = ()
    refused: str | None = None
    called_at: datetime | None = None
    last_receipt: CallReceipt | None = None
    last_at: datetime | None = None

    def key_protects(self, now: datetime) -> bool:
        """Whether the vendor would still refuse a second call with this key."""
        return now - (self.used_since or self.written_at) < KEY_PROTECTS
