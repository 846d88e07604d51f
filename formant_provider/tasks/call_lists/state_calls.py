"""The ledger of one call of a list whose calls are written together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime

from formant_provider.api.models import Conversation
from formant_provider.core.call_lists.calls import Known, ListedCall
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.redial import redial_of
from formant_provider.core.ledger import Sent

# A claim adds to the doubt on record when it was sent, and nothing else that a further try goes by.
_SAME = ("key", "redials", "last_receipt", "shared_since", "used_since")


@dataclass
class StateCallLedger:
    """Keeps what is known of one call that is in hand.

    What came of a send is written later, with that of other calls: until then the doubt on record tells less,
    and nothing wrong. All else is committed at once.

    :param known: what is known of it, not as it is on record: there its send is in doubt already.
    :param doubt: what is on record until something else is known.
    :param write_record: writes what this ledger has; with ``True`` it is committed when that returns.
    :param lock: of all that is written together.
    :param refuse_beside_another: raises ``SendAborted`` if another process may have sent the call's key.
    :ivar on_record: what is on record for sure; ``None`` when nothing is.
    """

    call: ListedCall
    known: Known | None
    doubt: Intent
    write_record: Callable[[bool], None]
    lock: threading.RLock
    refuse_beside_another: Callable[[], None] = lambda: None
    on_record: Intent | None = field(default=None, init=False)
    is_durable = True
    is_guess = False
    is_of_others = False
    _has_told: bool = field(default=False, init=False)
    _claimed: Intent | None = field(default=None, init=False)

    @property
    def to_record(self) -> Known:
        """What is to be on record while the call is in hand."""
        known = self.outcome
        return known if self._has_told else replace(known, intent=self.doubt)

    @property
    def outcome(self) -> Known:
        """What is to be on record once nobody is at work on the call."""
        known = self.known or Known(None, Intent(self.call.key, self.doubt.written_at))
        return known if known.agent_id is not None else replace(known, agent_id=self.call.request.agent_id)

    def read(self) -> Intent | None:
        """Return what is known of the newest attempt."""
        return None if self.known is None else self.known.intent

    def claim(self, intent: Intent) -> None:
        """Remember that this is sent now: most often that is on record as a doubt.

        :raises SendAborted: it is not, and cannot be written.
        """
        with self.lock:
            before = self.known, self._has_told
            self._tell(intent)
            self._claimed = intent
            if self._is_on_record(intent):
                self.write_record(False)
                return
            try:
                self.write_record(True)
            except BaseException:
                (self.known, self._has_told), self._claimed = before, None
                self.write_record(False)
                raise

    def write(self, intent: Intent) -> None:
        """Remember; what came of a send is written within seconds, and all else is committed.

        :raises SendAborted: it cannot be written.
        """
        with self.lock:
            if self.known is not None and intent.key != self.known.intent.key:
                self.refuse_beside_another()  # a 409 may be due to that one, and not to a refusal
            claimed, self._claimed = self._claimed, None
            is_known = intent.receipt is not None or intent.sent is not Sent.UNCLEAR
            is_result = claimed is not None and claimed.key == intent.key and is_known
            self._tell(intent)
            self.write_record(not is_result)

    def ids_of_others(self) -> Collection[str]:
        """Return nothing: a list has one call to a person."""
        return ()

    def _tell(self, intent: Intent) -> None:
        self.known, self._has_told = replace(self.outcome, intent=intent), True

    def _is_on_record(self, intent: Intent) -> bool:
        on_record = self.on_record
        if on_record is None or on_record.sent is not Sent.UNCLEAR or on_record.receipt is not None:
            return False
        return all(getattr(on_record, name) == getattr(intent, name) for name in _SAME)


def doubt_of(call: ListedCall, known: Known | None, now: datetime, *, taken_since: datetime | None) -> Intent:
    """Return what has to be on record of a call before it is sent, as far as that can be told.

    If it turns out to be sent otherwise, its claim is written by itself.

    :param taken_since: as of :class:`~formant_provider.core.placing.BasePolicy`.
    """
    if known is None:
        return Intent(call.key, now, Sent.UNCLEAR, shared_since=taken_since)
    intent = known.intent
    if intent.receipt is None:
        is_open = intent.sent is Sent.UNCLEAR
        return (
            intent if is_open else replace(intent, sent=Sent.UNCLEAR, written_at=now, sends=(), refused=None)
        )
    last = known.ended[-1] if known.ended else None
    if call.attempt <= intent.attempt or last is None or last.conversation_id is None:
        return intent
    record = Conversation(last.conversation_id, call.request.agent_id, last.status)
    seen = [each.conversation_id for each in known.ended if each.conversation_id is not None]
    return replace(redial_of(intent, record, now, call.key, seen), sent=Sent.UNCLEAR)
