"""The ledger in a database: one row for each call, whoever asks for it, and a unique insert as the lock.

A fresh call takes two transactions: the claim, which inserts the row with the doubt in it and asks whether
the person may be called, right before the request; and the receipt. It is not looked for before, since the
insert tells whether there is one. A process that finds another one at work on the same call waits for it;
one that died leaves a doubt, and a newer try of the same task does not wait for the older.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from formant_provider.api.errors import SendAborted, Superseded
from formant_provider.core.ledger import IntentT, Sent, note
from formant_provider.store import intents as rows
from formant_provider.store.admission import Admission, is_anyone_suppressed, upserted
from formant_provider.store.bulk import people_of
from formant_provider.store.events import append
from formant_provider.store.failures import again, patiently
from formant_provider.store.in_hand import busy_s, row_at_rest
from formant_provider.store.intent_rows import find_row, ids_of_others, insert_row, prolong, update_row
from formant_provider.store.schema import calls
from formant_provider.store.store import to_ms
from formant_provider.store.uploads import count_people, give_back

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.beside import Beside
    from formant_provider.store.pace import Pace
    from formant_provider.store.store import Store

_FORGOTTEN = "The call store was purged meanwhile"
_UPLOADS_TAKE_TIMES = 60  # as long as the request of a call
_NOT_ANY_MORE = "Somebody came onto the do-not-call list since the contacts were checked; a retry checks anew"
# Before a receipt is written again: half a minute in all, in which a database has been started again.
_PAUSES_S = (0.25, 0.5, 1, 2, 4, 5, 5, 6, 6)


@dataclass
class StoreLedger(Generic[IntentT]):
    """Keeps the intent of one call, or batch call, in a call store.

    :param kind: what the row is read as.
    :param lease: for how long a process may be at work on one send; after that it counts as dead.
    :param guesses: whether to assume at first that nothing is known, as is likely of a first try.
    :param relies_since: since when the store has to know of all calls, when nothing of this one is in it;
        ``None`` means that nothing follows from that.
    :param pace: in whose turn the call is placed; ``None`` means at once.
    :param beside: what Airflow knows, and is told; ``None`` in a first try.
    :ivar people: of a batch call: how many, and the digest of who they are, once its contacts were read.
    :ivar claim_before: until when it may be sent for the first time, if there is a limit.
    """

    store: Store
    kind: type[IntentT]
    asked: rows.Asked
    admission: Admission
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    lease: timedelta
    guesses: bool = False
    beside: Beside[IntentT] | None = None
    pace: Pace | None = None
    relies_since: datetime | None = None
    is_durable = True
    is_guess: bool = field(default=False, init=False)
    is_of_others: bool = field(default=False, init=False)
    people: dict[str, Any] | None = field(default=None, init=False)
    claim_before: datetime | None = field(default=None, init=False)
    _row: dict[str, Any] | None = field(default=None, init=False)
    _was_there: bool = field(default=False, init=False)
    _is_held: bool = field(default=False, init=False)
    _known: IntentT | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        digests = self.store.digests
        self.id = digests.idempotency_key(self.asked.key)
        self._task = digests.task(*self.asked.place)
        self._process = self._task + secrets.token_hex(8)

    def read(self) -> IntentT | None:
        """Return what is known, once nobody else is at work on it.

        :raises SendAborted: the store does not answer.
        """
        if self.guesses:
            self.guesses, self.is_guess = False, True
            return None
        self.is_guess = self._is_held = False
        self._was_there = self._was_there or self._row is not None
        self._row = self._row_at_rest()
        if self._row is None:
            if self._was_there:  # to the core it would be a call that nobody has ever asked for
                raise SendAborted(f"{_FORGOTTEN}: what the store knew of this call is gone")
            self._known = None
        else:
            self._known = rows.intent_of(self._row, self.kind, self.asked.key)
            self.people = rows.people_in(self._row)
            place = tuple(self._row[name] for name in ("dag_id", "run_id", "task_id", "map_index"))
            self.is_of_others = place != self.asked.place
        if self.beside is not None:
            known, is_news = self.beside.completed(self._known, in_try=(self._row or {}).get("try_number", 0))
            if known is not None and is_news:  # what nobody can tell the store any more, once it is lost
                try:
                    self._write(known)
                except Superseded:
                    return self.read()
            self._known = known
        return self._known

    def ids_of_others(self) -> set[str]:
        """Return trace ids and conversations that are known to be of other calls to the same person.

        :raises SendAborted: the store does not answer.
        """
        recipient = self.store.digests.recipient(self.asked.recipient or "")
        with self.store.reading() as conn:
            return ids_of_others(conn, self.id, recipient)

    def claim(self, intent: IntentT) -> None:
        """Remember that this is sent now, if nobody else is at it, the person may be called, and in turn."""
        if self.pace is None:
            self._claim(intent)
        else:
            self.pace.claim(self.store, self.id, lambda: self._claim(intent))
        if self.beside is not None:  # not before the person is admitted: nothing takes it back
            self.beside.mark(intent)

    @again
    def _claim(self, intent: IntentT) -> None:
        now = self.now()
        with self.store.writing() as conn:
            if self.was_sent and rows.kind_of(self.asked) == rows.BATCH_CALL:
                count_people(conn, self.id, to_ms(now))
                if self.people is not None:
                    self.people = people_of(conn, self.store.digests, self.id)
            row = self._put(conn, intent, self._at_work(now), now, sends=True)
            self._refuse_late(now)
            # Also before a further send of the same: the one before may not have been accepted.
            if row["recipient"] is not None:
                self.admission.admit(conn, row, now=now)
            elif is_anyone_suppressed(conn, self.id):
                raise SendAborted(_NOT_ANY_MORE)
            if self.pace is not None:
                self.pace.enter(conn, self.id)
            self._append(conn, "sending", row, now)
        self._row, self._known, self.is_guess, self._is_held = row, intent, False, False

    def write(self, intent: IntentT) -> None:
        """Remember what became of it. A receipt is kept whoever is at work on the row by now.

        What the API has answered is known to nobody else, so a receipt waits for a store that is down.

        :raises SendAborted: the store does not answer, or another process has taken over.
        """
        pauses_s = _PAUSES_S if intent.receipt is not None else ()
        patiently(lambda: self._write(intent), pauses_s, now=self.now, sleep=self.sleep)

    @again
    def _write(self, intent: IntentT) -> None:
        now, work = self.now(), {"sending_by": None, "sending_until": None}
        with self.store.writing() as conn:
            try:
                row = self._put(conn, intent, work, now)
            except Superseded:
                if intent.receipt is None or self._row is None:
                    raise
                self._row = find_row(conn, self.id, locks=True)  # none: it was purged
                self.people = rows.people_in(self._row) if self._row else None
                row = self._put(conn, intent, work, now)
            self._append(conn, row["state"], row, now)
        self._row, self._known, self.is_guess, self._is_held = row, intent, False, False

    @again
    def hold(self) -> None:
        """Take in hand what is known, while its send is being prepared: others wait, or take over.

        :raises Superseded: another process has written something else since it was read.
        """
        known, now = self._known, self.now()
        if known is None:
            raise LookupError("Nothing was read or written yet")
        with self.store.writing() as conn:
            row = self._put(conn, known, self._at_work(now), now)
            self._append(conn, row["state"], row, now)
        self._row, self._is_held = row, True

    def stay(self, conn: Connection, now: datetime) -> None:
        """Prolong what :meth:`hold` has begun, in a transaction that is part of it.

        :raises Superseded: another process has taken over.
        """
        prolong(conn, self.id, self._process, to_ms(now + self.lease))

    def let_go(self) -> None:
        """Leave what :meth:`hold` has begun, unless it may have been sent since."""
        row, known = self._row, self._known
        if row is not None and known is not None and self._is_held:
            self.people = rows.people_in(row)
            note(self, known)

    @property
    def was_sent(self) -> bool:
        """Whether what was read or written last may have been placed."""
        return self._row is not None and self._row["state"] in rows.COUNTED

    def _refuse_late(self, now: datetime) -> None:
        if self.claim_before is not None and now > self.claim_before:
            raise SendAborted("The people to call were reserved so long ago that they may count no more")

    def _at_work(self, now: datetime) -> dict[str, Any]:
        return {"sending_by": self._process, "sending_until": to_ms(now + self.lease)}

    def _row_at_rest(self) -> dict[str, Any] | None:
        """Return the row, after those who are at work on it."""
        longest_s = self.lease.total_seconds() * (1 if self.asked.recipient else _UPLOADS_TAKE_TIMES)
        try_number = self.asked.try_number

        def left_s(row: Mapping[str, Any]) -> float:
            return busy_s(row, self._process, self._task, try_number=try_number, now=to_ms(self.now()))

        return row_at_rest(self.store, self.id, left_s, longest_s=longest_s, sleep=self.sleep)

    def _put(
        self,
        conn: Connection,
        intent: IntentT,
        work: Mapping[str, Any],
        now: datetime,
        *,
        sends: bool = False,
    ) -> dict[str, Any]:
        """Insert the row, or update the one that was read; return it."""
        known = self._row or rows.first_row(self.asked, self.store.digests, now=now)
        columns = self._columns(conn, intent, now, sends=sends)
        changed = {**columns, **work, "try_number": self.asked.try_number, "version": known["version"] + 1}
        changed["agent_id"] = self.asked.agent_id  # a call list may be corrected, and its keys are not of one
        if self._row is not None:
            update_row(conn, self.id, known["version"], changed)
            self._keep_attempt(conn, intent)
            return {**known, **changed}
        try:
            insert_row(conn, {**known, **changed})
        except Superseded:
            self._was_there = True
            raise
        # In this transaction, since the answer at the start of the task may be of long ago.
        since = self.relies_since
        if intent.receipt is None and since and not self.store.knows_since(since, now=now, conn=conn):
            raise SendAborted(f"{_FORGOTTEN}: the store no longer knows of all calls of this run")
        return {**known, **changed}

    def _columns(self, conn: Connection, intent: IntentT, now: datetime, *, sends: bool) -> dict[str, Any]:
        """Return what is written of an intent; the people of an upload not sent are given back."""
        if rows.kind_of(self.asked) != rows.BATCH_CALL:
            return rows.columns_of(intent)
        is_sent = intent.receipt is not None or intent.sent is Sent.UNCLEAR
        give_back(conn, self.id, was_sent=is_sent)
        if not is_sent:
            self.people = None
        columns, row = rows.columns_of(intent, self.people), self._row
        is_answered = row is not None and row["sending_by"] == self._process and intent.receipt is not None
        if sends or is_answered:  # an upload takes its time, and nobody is called before its end
            columns["call_at"] = to_ms(now)
        elif row is not None and is_sent and self.was_sent:
            columns["call_at"] = row["call_at"]
        return columns

    def _keep_attempt(self, conn: Connection, intent: IntentT) -> None:
        """Let the attempt before a redial count as well, whose place in the row it takes, sent or not."""
        row, known = self._row, self._known
        if row is None or known is None or rows.attempt_of(known) >= rows.attempt_of(intent):
            return
        named = {"intent_id": row["id"], "recipient": row["recipient"], "attempt": rows.attempt_of(known)}
        kept = {**named, "call_at": row["call_at"], "counted": True}
        conn.execute(upserted(conn, calls, kept, keep="call_at"))

    def _append(self, conn: Connection, kind: str, row: Mapping[str, Any], now: datetime) -> None:
        digests, event = self.store.digests, rows.as_event(row)
        append(conn, digests, at=to_ms(now), kind=kind, subject=row["id"], payload=event)
