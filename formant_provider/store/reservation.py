"""The people of a batch call: who of them may be called, and that they are, before anything is uploaded.

They count as called from the moment in which their contacts were checked, some thousand a transaction. So of
two batch calls that are prepared at once, one calls somebody who may be called once. The rows of people are
locked in sorted order, so no two transactions wait for each other. Only the process that has the intent in
hand can reserve, and only until another one takes it over.

What is reserved is given back with the intent, when nothing was uploaded, and that of a further upload alone
when an earlier one may have been accepted. If the process dies, a further try
of the same batch call replaces it, and after :data:`~formant_provider.store.admission.RESERVED_FOR` it counts
no more.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from formant_provider.core.caps import CapRule, is_free
from formant_provider.store.admission import RESERVED_FOR, call_times, ringing
from formant_provider.store.bulk import among, people_of, put_all
from formant_provider.store.failures import again
from formant_provider.store.schema import calls, people
from formant_provider.store.store import to_ms
from formant_provider.store.uploads import next_upload, who_is_new

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from formant_provider.store.ledger import StoreLedger
    from formant_provider.store.store import Store

# An upload that is slower than this is taken for a dead one by whoever else asks for the same batch call.
_SLOWEST_BYTES_PER_S = 32_000
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass
class Asking:
    """Asks the store, and reserves nothing: for a dry run."""

    store: Store
    cap: CapRule | None
    now: Callable[[], datetime]
    _digests: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    def suppressed(self, keys: Sequence[int]) -> Set[int]:
        """Return who of them is on the do-not-call list."""
        digest = self.store.digests.recipient
        self._digests = {key: digest(f"+{key}") for key in keys}
        with self.store.reading() as conn:
            listed = among(people.c.recipient, conn.dialect.name)
            wanted = select(people.c.recipient).where(listed, people.c.suppressed_at.is_not(None))
            found = set(conn.execute(wanted, {"recipients": list(self._digests.values())}).scalars())
        return {key for key, recipient in self._digests.items() if recipient in found} if found else set()

    def admit(self, keys: Sequence[int]) -> Set[int]:
        """Return who of them was called as often as allowed."""
        if self.cap is None or not keys:
            return set()
        with self.store.reading() as conn:
            return self._capped(conn, self._known(keys), self.now(), other_than="")

    def _known(self, keys: Sequence[int]) -> dict[str, int]:
        """Return who was asked about before, by digest, in the order in which rows are locked."""
        return dict(sorted((self._digests[key], key) for key in keys))

    def _capped(self, conn: Connection, known: dict[str, int], now: datetime, *, other_than: str) -> Set[int]:
        if self.cap is None:
            return set()
        times = call_times(conn, list(known), since=now - self.cap.per, now=now, other_than=other_than)
        often = {one: moments for one, moments in times.items() if len(moments) >= self.cap.calls}
        return {
            known[one]
            for one, moments in often.items()
            if not is_free([ringing(*each) for each in moments], now, self.cap)
        }


@dataclass
class Reservation(Asking):
    """Reserves the people of one batch call, in its process."""

    ledger: StoreLedger[Any] = field(kw_only=True)
    _upload: int = field(default=1, init=False)

    def begin(self) -> None:
        """Take the batch call in hand, and give back what an earlier try reserved that has sent nothing.

        :raises Superseded: another process has it in hand.
        """
        self.ledger.hold()
        with self.store.reading() as conn:
            self._upload = next_upload(conn, self.ledger.id)
        self.ledger.claim_before = self.now() + RESERVED_FOR - _CLOCKS_DIFFER

    @again
    def admit(self, keys: Sequence[int]) -> Set[int]:
        """Reserve people; return who of them was called as often as allowed.

        :raises Superseded: another process has taken over.
        """
        if not keys:
            return set()
        now, known, ledger = self.now(), self._known(keys), self.ledger
        with self.store.writing() as conn:
            ledger.stay(conn, now)
            if self.cap is not None and conn.dialect.name != "sqlite":  # whose one lock is held by now
                put_all(conn, people, list(known), {}, keep="recipient")
            capped = self._capped(conn, known, now, other_than=ledger.id)
            reserved = [one for one, key in known.items() if key not in capped]
            if ledger.was_sent:
                reserved = who_is_new(conn, ledger.id, reserved, self._upload)
            row = {"intent_id": ledger.id, "attempt": self._upload, "upload": self._upload}
            row |= {"call_at": to_ms(now), "counted": not ledger.was_sent}
            put_all(conn, calls, reserved, row, keep="call_at")
        return capped

    def end(self, upload_bytes: int) -> None:
        """Let the intent tell who is called, and leave the upload its time."""
        with self.store.reading() as conn:
            self.ledger.people = people_of(conn, self.store.digests, self.ledger.id)
        self.ledger.lease += timedelta(seconds=upload_bytes / _SLOWEST_BYTES_PER_S)

    def release(self) -> None:
        """Give back what is reserved, unless it may have been uploaded."""
        self.ledger.let_go()
