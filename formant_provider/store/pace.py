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
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, bindparam, delete, literal_column, select, update

from formant_provider.api.errors import PaceExceeded
from formant_provider.core.pace import LATEST_MS, Queue, Turn, passed, reserved, spacing_ms
from formant_provider.store.admission import upserted
from formant_provider.store.schema import pace, turns

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from formant_provider.store.store import Store

# Sleeping ends a little early or late; a turn must not be asked for before it has come.
_MARGIN_MS = 10
_FORGOTTEN_MS = 24 * 3600 * 1000

_LOCK = select(pace.c.account).where(pace.c.account == bindparam("of_account")).with_for_update()
_MOVE = (
    update(pace)
    .where(pace.c.account == bindparam("of_account"))
    .values(tail_at=bindparam("tail"), gate_at=bindparam("gate"))
)
_LEAVE = delete(turns).where(turns.c.intent_id == bindparam("of_id"))
_CLOCKS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
_MYSQL_CLOCK = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"


class _NotYetError(Exception):
    """The claim is given up, since it is not the call's turn."""


@dataclass
class Pace:
    """The turns of one call, in one try.

    :param account: digest of the account at the vendor.
    :param calls_per_minute: see :func:`formant_provider.core.pace.spacing_ms`; ``None`` means no limit.
    :param max_inline_wait_s: for how long a try waits in its worker, in all.
    :param has_waited: whether an earlier process may have been given a place.
    :param monotonic: a clock that is never set.
    """

    account: str
    calls_per_minute: float | None = None
    max_inline_wait_s: float = 0.0
    has_waited: bool = False
    monotonic: Callable[[], float] = time.monotonic
    _waited_s: float = field(default=0.0, init=False)

    def claim(self, store: Store, intent_id: str, claim: Callable[[], None]) -> None:
        """Claim a call in its turn.

        :param claim: one transaction, in which :meth:`enter` is called.
        :raises PaceExceeded: it is not its turn; a place is kept.
        """
        while True:
            began = self.monotonic()
            try:
                claim()
            except _NotYetError:
                pass
            else:
                self.has_waited = False
                if (self.monotonic() - began) * 1000 <= LATEST_MS:
                    return
                continue  # the turn has passed meanwhile: it does not tell when this call is placed
            raise self._told(self._reserve(store, intent_id))

    def enter(self, conn: Connection, intent_id: str) -> None:
        """Take the turn, in the transaction of a claim."""
        if self.calls_per_minute is None:
            return
        spacing = spacing_ms(self.calls_per_minute)
        if not self.has_waited:
            free = {"of_account": self.account, "spacing": spacing}
            if conn.execute(_free(conn.dialect.name), free).rowcount != 1:
                raise _NotYetError
            return
        conn.execute(_LOCK, {"of_account": self.account})
        queue, turn, now = self._standing(conn, intent_id)
        moved = passed(queue, turn, now, spacing)
        if moved is None:
            raise _NotYetError
        self._move(conn, moved)
        conn.execute(_LEAVE, {"of_id": intent_id})

    def _reserve(self, store: Store, intent_id: str) -> float:
        """Keep a place in the queue; return for how many seconds to wait."""
        spacing = spacing_ms(self.calls_per_minute or math.inf)
        near = max(0, round(1000 * (self.max_inline_wait_s - self._waited_s)) - _MARGIN_MS)
        with store.writing() as conn:
            first = {"account": self.account, "tail_at": 0, "gate_at": 0, "looked_at": 0}
            conn.execute(upserted(conn, pace, first, keep="account"))  # from here on the row is locked
            queue, turn, now = self._standing(conn, intent_id)
            queue, turn = reserved(queue, turn, now, spacing, near=near)
            self._move(conn, queue)
            place = {"account": self.account, "turn_at": turn.at, "is_exact": turn.is_exact}
            conn.execute(upserted(conn, turns, {"intent_id": intent_id, **place}, keep=place))
            conn.execute(delete(turns).where(turns.c.turn_at < now - _FORGOTTEN_MS))
        self.has_waited = True
        return (turn.at - now + _MARGIN_MS) / 1000 if turn.at > now else 0.0

    def _standing(self, conn: Connection, intent_id: str) -> tuple[Queue, Turn | None, int]:
        """Return the queue, the place of a call in it, and the time, once the row is locked."""
        named = {"of_account": self.account, "of_id": intent_id}
        row = conn.execute(_standing(conn.dialect.name), named).one_or_none()
        if row is None:
            raise _NotYetError
        turn = None if row.turn_at is None else Turn(row.turn_at, is_exact=bool(row.is_exact))
        return Queue(row.tail_at, row.gate_at), turn, row.now

    def _move(self, conn: Connection, queue: Queue) -> None:
        conn.execute(_MOVE, {"of_account": self.account, "tail": queue.tail, "gate": queue.gate})

    def _told(self, wait_s: float) -> PaceExceeded:
        waits_here = self._waited_s + wait_s <= self.max_inline_wait_s
        if waits_here:
            self._waited_s += wait_s
        text = f"By calls_per_minute of the connection, the turn of this call comes in {wait_s:.1f} s"
        return PaceExceeded(text, retry_after_s=wait_s, waits_here=waits_here)


# Made once for each kind of database: to build a statement takes as long as to run it.


@functools.cache
def _free(dialect: str) -> Any:
    """Return what takes a turn where nobody waits, and the gate is open."""
    clock = _clock(dialect)
    return (
        update(pace)
        .where(pace.c.account == bindparam("of_account"), pace.c.gate_at <= clock, pace.c.tail_at <= clock)
        .values(tail_at=clock + bindparam("spacing"), gate_at=clock + bindparam("spacing"))
    )


@functools.cache
def _standing(dialect: str) -> Any:
    wanted = pace.c.tail_at, pace.c.gate_at, turns.c.turn_at, turns.c.is_exact, _clock(dialect).label("now")
    is_own = (turns.c.intent_id == bindparam("of_id")) & (turns.c.account == pace.c.account)
    of_both = pace.outerjoin(turns, is_own)
    return select(*wanted).select_from(of_both).where(pace.c.account == bindparam("of_account"))


def _clock(dialect: str) -> ColumnElement[int]:
    return literal_column(_CLOCKS.get(dialect, _MYSQL_CLOCK), BigInteger)
