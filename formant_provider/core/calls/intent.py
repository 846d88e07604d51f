"""What the ledger holds of one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from formant_provider.api.models import CallReceipt
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.keys import KEY_PROTECTS
from formant_provider.core.ledger import BaseIntent


@dataclass(frozen=True)
class Intent(BaseIntent):
    """What the ledger holds of one call.

    :param key: the idempotency key that is sent.
    :param written_at: when this key was first about to be sent, aware.
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
    """

    receipt: CallReceipt | None = None
    spent_keys: int = 0
    attempt: int = 1
    shared_since: datetime | None = None
    used_since: datetime | None = None
    redials: str | None = None
    sends: tuple[SendRecord, ...] = ()
    looked_at: datetime | None = None
    earlier: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same of: plain values."""
        sends = [send.to_json() for send in self.sends]
        return {**super().to_json(), "sends": sends, "earlier": list(self.earlier)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote; fields that came later may be missing."""
        receipt = entry.get("receipt")
        return cls(
            **vars(BaseIntent.from_json(entry))
            | {
                "receipt": CallReceipt.from_json(receipt) if receipt else None,
                "spent_keys": int(entry.get("spent_keys", 0)),
                "attempt": int(entry.get("attempt", 1)),
                "shared_since": _moment(entry.get("shared_since")),
                "used_since": _moment(entry.get("used_since")),
                "redials": entry.get("redials"),
                "sends": tuple(map(SendRecord.from_json, entry.get("sends", ()))),
                "looked_at": _moment(entry.get("looked_at")),
                "earlier": tuple(entry.get("earlier", ())),
            }
        )

    def key_protects(self, now: datetime) -> bool:
        """Whether the vendor would still refuse a second call with this key."""
        return now - (self.used_since or self.written_at) < KEY_PROTECTS


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
