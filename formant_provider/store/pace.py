"""``calls_per_minute`` and ``max_concurrent_calls`` of a connection, held across tasks, workers and DAGs.

Each account at the vendor has one row, whose queue :mod:`formant_provider.core.pace` explains. A call that
need not wait takes its turn in the transaction of its claim, by one statement. One that has to wait is given
a place by a transaction of its own. The place outlives the process, and nobody polls for it.

Every request that may place a call takes a turn: a redial does, and so does a repeat with the same key, since
nobody knows whether the first was accepted. A batch call takes none: when the vendor dials its rows is not
documented.

Why rows of our own: kept limiters answer "not now", and leave it to their callers to ask again. Of four
processes that shared 30 turns in 5 s for a minute, pyrate-limiter 4.5.1's PostgreSQL bucket gave one 45 turns
and another 128, and once 31 in 5 s as they saw it. It has no place to which a deferred task could return,
takes a transaction of its own for each turn, and each time that two meet leaves an error in the server's log.
``limits`` keeps its counts in Redis, memcached or MongoDB, and ``aiolimiter`` in one process.

Times are the database's own, so the clocks of workers do not matter; with SQLite it is the machine's.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, bindparam, delete, literal_column, select, update

from formant_provider.api.errors import StoreUnavailable
from formant_provider.core.pace import LATEST_MS, PaceExceeded, Queue, Turn, passed, reserved, spacing_ms
from formant_provider.store.admission import upserted
from formant_provider.store.failures import again
from formant_provider.store.in_progress import going, occupied, settled
from formant_provider.store.outcomes import record_outcome
from formant_provider.store.schema import pace, turns
from formant_provider.store.store import to_moment

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from formant_provider.api.models import Conversation
    from formant_provider.core.conversations.over import Going
    from formant_provider.store.store import Store

# Sleeping ends a little early or late; a turn must not be asked for before it has come.
_MARGIN_MS = 10
_FORGOTTEN_MS = 24 * 3600 * 1000
_LOOK_EVERY_MS = 10_000
_LONGEST_S = 600.0
_MOST_MISSED = 3
_NO_PLACE = {"turn_at": None, "is_exact": False, "came_at": None, "back_at": None}

_LOCK = select(pace.c.account).where(pace.c.account == bindparam("of_account")).with_for_update()
_MOVE = (
    update(pace)
    .where(pace.c.account == bindparam("of_account"))
    .values(tail_at=bindparam("tail"), gate_at=bindparam("gate"))
)
_LOOKED = update(pace).where(pace.c.account == bindparam("of_account")).values(looked_at=bindparam("now"))
_LEAVE = delete(turns).where(turns.c.intent_id == bindparam("of_id"))
_CLOCKS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
_MYSQL_CLOCK = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"


class _NotYetError(Exception):
    """The claim is given up, since it is not the call's turn.

    :ivar over: how many calls have to end before a line is free for this one; ``None`` when lines are free.
    """

    def __init__(self, over: int | None = None) -> None:
        super().__init__()
        self.over = over


@dataclass
class Pace:
    """The turns of one call, in one try.

    :param account: digest of the account at the vendor.
    :param calls_per_minute: see :func:`formant_provider.core.pace.spacing_ms`; ``None`` means no limit.
    :param max_concurrent_calls: how many calls may be in progress; ``None`` means no limit.
    :param max_inline_wait_s: for how long a try waits in its worker, in all.
    :param has_waited: whether an earlier process may have been given a place.
    :param ended: asks the API for the conversations of these calls that are over, given also conversations
        that are of none of them; ``None`` means that nobody asks.
    :param asks_again_s: seconds after which a call asks again for a line, when the limit is reached.
    :param monotonic: a clock that is never set.
    """

    account: str
    calls_per_minute: float | None = None
    max_concurrent_calls: int | None = None
    max_inline_wait_s: float = 0.0
    has_waited: bool = False
    ended: Callable[[list[Going], set[str]], list[Conversation]] | None = None
    asks_again_s: float = 30.0
    monotonic: Callable[[], float] = time.monotonic
    _waited_s: float = field(default=0.0, init=False)
    _missed: int = field(default=0, init=False)

    def claim(self, store: Store, intent_id: str, claim: Callable[[], None]) -> None:
        """Claim a call in its turn.

        :param claim: one transaction, in which :meth:`enter` is called.
        :raises PaceExceeded: it is not its turn; a place is kept.
        """
        while True:
            began = self.monotonic()
            try:
                claim()
            except _NotYetError as error:
                over = error.over
            else:
                self.has_waited = False
                if self._spacing is None or (self.monotonic() - began) * 1000 <= LATEST_MS:
                    return
                self._missed += 1  # the turn has passed meanwhile: it does not tell when this call is placed
                if self._missed == _MOST_MISSED:
                    text = "The call store takes so long to answer that each turn of calls_per_minute passes"
                    raise StoreUnavailable(text, problem="busy")
                continue
            wait_s, looks = self._reserve(store, intent_id, over)
            if wait_s and not (looks and self._look(store)):
                raise self._told(wait_s, over)

    def enter(self, conn: Connection, intent_id: str) -> None:
        """Take the turn, in the transaction of a claim."""
        came_at = None
        if self._spacing is not None and not self.has_waited:
            free = {"of_account": self.account, "spacing": self._spacing}
            if conn.execute(_free(conn.dialect.name), free).rowcount != 1:
                raise _NotYetError
        elif conn.execute(_LOCK, {"of_account": self.account}).first() is None:
            raise _NotYetError
        if self.has_waited:
            standing = self._standing(conn, intent_id)
            came_at = standing.came_at
            if self._spacing is not None:
                moved = passed(standing.queue, standing.turn, standing.now, self._spacing)
                if moved is None:
                    raise _NotYetError
                self._move(conn, moved)
            conn.execute(_LEAVE, {"of_id": intent_id})
        if self.max_concurrent_calls is not None:
            # By a statement after the one that took the lock: it sees what others have committed until then.
            calls = occupied(conn, clock(conn.dialect.name), self.account, intent_id, came_at)
            if calls >= self.max_concurrent_calls:
                raise _NotYetError(calls - self.max_concurrent_calls)

    @property
    def _spacing(self) -> int | None:
        return None if self.calls_per_minute is None else spacing_ms(self.calls_per_minute)

    @again
    def _reserve(self, store: Store, intent_id: str, over: int | None) -> tuple[float, bool]:
        """Keep a place; return for how many seconds to wait, and whether to ask the API who is done."""
        with store.writing() as conn:
            first = {"account": self.account, "tail_at": 0, "gate_at": 0, "looked_at": 0}
            conn.execute(upserted(conn, pace, first, keep="account"))  # from here on the row is locked
            standing = self._standing(conn, intent_id)
            if over is not None:
                place, until = self._place_for_a_line(standing, over)
            elif self._spacing is not None:
                place, until = self._place_in_time(conn, standing, self._spacing)
            else:  # the first call of an account: the row had to be made
                return 0.0, False
            place["account"] = self.account
            conn.execute(upserted(conn, turns, {"intent_id": intent_id, **_NO_PLACE, **place}, keep=place))
            self._forget(conn, standing.now - _FORGOTTEN_MS)
            looks = over is not None and standing.now - standing.looked_at >= _LOOK_EVERY_MS
            if looks:
                conn.execute(_LOOKED, {"of_account": self.account, "now": standing.now})
        self.has_waited = True
        return (until - standing.now + _MARGIN_MS) / 1000 if until > standing.now else 0.0, looks

    def _place_for_a_line(self, standing: _Standing, over: int) -> tuple[dict[str, Any], int]:
        # Each time that it asks, as many calls may have ended as there are lines, and no more are likely to.
        rounds = 1 + over // (self.max_concurrent_calls or 1)
        wait_s = min(self.asks_again_s * rounds, _LONGEST_S)
        until = standing.now + round(1000 * wait_s)
        came_at = standing.now if standing.came_at is None else standing.came_at
        return {"came_at": came_at, "back_at": until, "asked_at": standing.now}, until

    def _place_in_time(
        self, conn: Connection, standing: _Standing, spacing: int
    ) -> tuple[dict[str, Any], int]:
        near = max(0, round(1000 * (self.max_inline_wait_s - self._waited_s)) - _MARGIN_MS)
        queue, turn = reserved(standing.queue, standing.turn, standing.now, spacing, near=near)
        self._move(conn, queue)
        place = {"turn_at": turn.at, "is_exact": turn.is_exact, "back_at": turn.at}
        return {**place, "asked_at": max(standing.now, turn.at)}, turn.at

    def _look(self, store: Store) -> bool:
        """Ask the API which calls are over, and write that down; return whether any is."""
        if self.ended is None:
            return False
        with store.reading() as conn:
            now = clock(conn.dialect.name)
            calls, others = going(conn, now, self.account), settled(conn, now, self.account)
        over, at = self.ended(calls, others) if calls else [], datetime.now(UTC)
        for record in over:
            ended_at = to_moment(record.end_timestamp) if record.end_timestamp else None
            record_outcome(
                store,
                trace_id=record.trace_id,
                conversation_id=record.conversation_id,
                outcome=record.status or "",
                ended_at=ended_at,
                now=at,
            )
        return bool(over)

    def _standing(self, conn: Connection, intent_id: str) -> _Standing:
        """Return where things stand, once the row of the account is locked."""
        named = {"of_account": self.account, "of_id": intent_id}
        row = conn.execute(_standing(conn.dialect.name), named).one()
        turn = None if row.turn_at is None else Turn(row.turn_at, is_exact=bool(row.is_exact))
        return _Standing(Queue(row.tail_at, row.gate_at), turn, row.came_at, row.looked_at, row.now)

    @staticmethod
    def _forget(conn: Connection, before: int) -> None:
        """Delete turns that nobody asks for any more."""
        # Read first: to find them, a DELETE of MySQL would wait for each row that others have locked.
        if old := conn.execute(select(turns.c.intent_id).where(turns.c.asked_at < before)).scalars().all():
            conn.execute(delete(turns).where(turns.c.intent_id.in_(old), turns.c.asked_at < before))

    def _move(self, conn: Connection, queue: Queue) -> None:
        conn.execute(_MOVE, {"of_account": self.account, "tail": queue.tail, "gate": queue.gate})

    def _told(self, wait_s: float, over: int | None) -> PaceExceeded:
        waits_here = self._waited_s + wait_s <= self.max_inline_wait_s
        if waits_here:
            self._waited_s += wait_s
        text = f"By calls_per_minute of the connection, the turn of this call comes in {wait_s:.1f} s"
        if over is not None:
            text = (
                "As many calls are in progress as max_concurrent_calls of the connection allows; this one"
                f" asks again in {wait_s:.1f} s"
            )
        return PaceExceeded(text, retry_after_s=wait_s, waits_here=waits_here)


class _Standing(NamedTuple):
    """Where the queue stands, and a call in it."""

    queue: Queue
    turn: Turn | None
    came_at: int | None
    looked_at: int
    now: int


# Made once for each kind of database: to build a statement takes as long as to run it.


@functools.cache
def _free(dialect: str) -> Any:
    """Return what takes a turn where nobody waits, and the gate is open."""
    now = clock(dialect)
    return (
        update(pace)
        .where(pace.c.account == bindparam("of_account"), pace.c.gate_at <= now, pace.c.tail_at <= now)
        .values(tail_at=now + bindparam("spacing"), gate_at=now + bindparam("spacing"))
    )


@functools.cache
def _standing(dialect: str) -> Any:
    of_queue = pace.c.tail_at, pace.c.gate_at, pace.c.looked_at
    of_call = turns.c.turn_at, turns.c.is_exact, turns.c.came_at
    wanted = *of_queue, *of_call, clock(dialect).label("now")
    is_own = (turns.c.intent_id == bindparam("of_id")) & (turns.c.account == pace.c.account)
    of_both = pace.outerjoin(turns, is_own)
    return select(*wanted).select_from(of_both).where(pace.c.account == bindparam("of_account"))


@functools.cache
def clock(dialect: str) -> ColumnElement[int]:
    """Return the time by the database's clock, in SQL: milliseconds since 1970, read when it is asked for."""
    return literal_column(_CLOCKS.get(dialect, _MYSQL_CLOCK), BigInteger)
