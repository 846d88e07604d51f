"""All rows of a list while a worker is at it: where each stands, what is due next, and what came of each.

They lie in a database on this machine's disk, since a list may have a hundred thousand rows. It is made anew
in each wake, of the list and of what the ledger knows; it holds what is private.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from formant_provider.core.call_lists.calls import REFUSED, Attempt, RowResult
from formant_provider.core.call_lists.rows import Row, Wanted
from formant_provider.core.call_lists.standing import REJECTED, About, Call, State
from formant_provider.core.call_lists.tally import Tally

_AT_ONCE = 500
_TABLES = """
create table listed (
    place integer primary key, row_number integer, part text, number text, reference text, carried text,
    zone text, agent_id integer, key text unique, has_own_name integer, parameters text, metadata text,
    state text not null, due_ms integer, attempt integer, reason text, detail text,
    ended text not null default '[]', placed text, barred text
);
create index due on listed (state, due_ms);
create table total (ended integer, failed integer, seconds integer);
insert into total values (0, 0, 0);
"""
_ADD = f"insert or ignore into listed values (null{', ?' * 19})"  # noqa: S608 - our own words
_CALL = (
    "place, number, reference, zone, agent_id, key, has_own_name, parameters, metadata, attempt, ended,"
    " placed, barred, due_ms, row_number"
)
# What may have been placed stays so until it is known.
_WAIT = """
update listed
set state = ?, due_ms = ?, placed = case when attempt = ? then placed end, attempt = ?, reason = ?
where place = ?
"""
# Of those who wait, the calls that may have been placed are followed to their end.
_CLOSE = f"""
update listed set state = case when placed is null then '{State.OVER}' else '{State.IN_PROGRESS}' end,
    reason = coalesce(barred, ?), barred = coalesce(barred, ?)
where state = '{State.WAITING}'
"""  # noqa: S608 - our own words
# The status of the last attempt that was made: one that the API has refused was none.
_LAST = f"""case when json_extract(ended, '$[#-1].status') = '{REFUSED}' then (
    select json_extract(value, '$.status') as status from json_each(ended)
    where status != '{REFUSED}' order by key desc limit 1
) else json_extract(ended, '$[#-1].status') end"""  # noqa: S608 - our own words
_RESULT = """
select row_number, part, number, reference, agent_id, state, reason, detail, zone, ended, carried
from listed order by place
"""
_COUNT = """
update total set ended = ended + ?, failed = failed + ?, seconds = seconds + ?
"""


class Board:
    """The rows of one list; to be used by one thread, in a ``with`` block.

    :param folder: where the database lies.
    """

    def __init__(self, folder: Path, success: Iterable[str]) -> None:
        self._database = sqlite3.connect(folder / "board.db", isolation_level=None)
        self._database.executescript(f"pragma journal_mode = off; pragma synchronous = off; {_TABLES} begin;")
        self._success = frozenset(success)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, row: Row, wanted: Wanted | None, about: About) -> bool:
        """Add a row; return whether it was added: one with a key that is there is not.

        :param wanted: ``None`` for a row that is not called. One that has a reason as well is not called any
            more, and may have been.
        """
        kept = json.dumps(about.carried) if about.carried else None
        first = row.row_number, row.part, row.number, about.reference, kept, about.zone
        asks: tuple[Any, ...] = (None,) * 5
        due_ms = 0
        if wanted is not None:
            pairs = json.dumps(wanted.parameters)
            asks = wanted.agent_id, wanted.key, wanted.has_own_name, pairs, wanted.metadata
            due_ms = round(wanted.asked.timestamp() * 1000) if wanted.asked else 0
        state = State.REJECTED if wanted is None else State.WAITING
        barred = row.reason if wanted else None
        last = state, due_ms, 1, row.reason, row.detail, "[]", None, barred
        return self._database.execute(_ADD, (*first, *asks, *last)).rowcount == 1

    def named(self) -> Iterator[list[tuple[int, str]]]:
        """Yield place and key of all rows that are called, some hundred at a time."""
        last = 0
        query = "select place, key from listed where key is not null and place > ? order by place limit ?"
        while some := self._database.execute(query, (last, _AT_ONCE)).fetchall():
            last = some[-1][0]
            yield some

    def due(self, now_ms: int, limit: int) -> list[Call]:
        """Return rows that are to be called now, those first that are due longest."""
        query = f"select {_CALL} from listed where state = ? and due_ms <= ? order by due_ms, place limit ?"  # noqa: S608 - our own words
        return [_call(found) for found in self._database.execute(query, (State.WAITING, now_ms, limit))]

    def waiting(self) -> Iterator[Call]:
        """Yield the rows that are to be called, now or later."""
        query = f"select {_CALL} from listed where state = ? order by place"  # noqa: S608 - our own words
        return map(_call, self._database.execute(query, (State.WAITING,)))

    def in_progress(self) -> Iterator[Call]:
        """Yield the rows with a call that is not over."""
        query = f"select {_CALL} from listed where state = ?"  # noqa: S608 - our own words
        return map(_call, self._database.execute(query, (State.IN_PROGRESS,)))

    def call(self, place: int) -> Call:
        """Return one row that is called."""
        query = f"select {_CALL} from listed where place = ?"  # noqa: S608 - our own words
        return _call(self._database.execute(query, (place,)).fetchone())

    def next_due_ms(self) -> int | None:
        """Return when the next row is due; ``None`` if none is waiting."""
        query = "select min(due_ms) from listed where state = ?"
        found: int | None = self._database.execute(query, (State.WAITING,)).fetchone()[0]
        return found

    def assign(self, place: int, agent_id: int) -> None:
        """Give a row the agent that it was first asked for."""
        self._database.execute("update listed set agent_id = ? where place = ?", (agent_id, place))

    def wait(self, place: int, due_ms: int, attempt: int, reason: str | None = None) -> None:
        """Let a row wait until it is due."""
        values = State.WAITING, due_ms, attempt, attempt, reason, place
        self._database.execute(_WAIT, values)

    def doubt(self, place: int, placed: Mapping[str, Any]) -> None:
        """Note that a call that is not known to be placed may have been."""
        self._database.execute("update listed set placed = ? where place = ?", (json.dumps(placed), place))

    def send(self, places: Iterable[int]) -> None:
        """Take rows in hand."""
        self._database.executemany(
            "update listed set state = ? where place = ?", [(State.SENDING, place) for place in places]
        )

    def place(self, place: int, placed: Mapping[str, Any]) -> None:
        """Note that a call was placed, or may have been."""
        values = State.IN_PROGRESS, json.dumps(placed), place
        self._database.execute(
            "update listed set state = ?, placed = ?, reason = null where place = ?", values
        )

    def end_attempt(self, place: int, attempt: Attempt) -> tuple[Attempt, ...]:
        """Note that an attempt is over; return all that are."""
        ended = (*self.call(place).ended, attempt)
        self._put_ended(place, ended)
        return ended

    def restore(self, place: int, ended: Sequence[Attempt]) -> None:
        """Note the attempts that are over by what the ledger knows."""
        self._put_ended(place, ended)

    def close(self, place: int, reason: str | None = None, detail: str | None = None) -> None:
        """Let a row be over: it was reached, or is called no more."""
        values = State.OVER, reason, detail, place
        self._database.execute(
            "update listed set state = ?, reason = ?, detail = ?, placed = null where place = ?", values
        )

    def close_barred(self) -> None:
        """Let those be over who wait, and must not be called any more."""
        self._database.execute(f"{_CLOSE} and barred is not null", (None, None))

    def close_waiting(self, reason: str) -> list[Call]:
        """Let all that wait be over; return those whose calls may have been placed: they are in progress."""
        before = {call.place for call in self.in_progress()}
        self._database.execute(_CLOSE, (reason, reason))
        return [call for call in self.in_progress() if call.place not in before]

    def tally(self) -> Tally:
        """Count."""
        ended, failed, seconds = self._database.execute("select * from total").fetchone()
        tally = Tally(calls=ended, ended=ended, failed=failed, seconds=seconds)
        query = f"select state, reason, {_LAST}, count(*) from listed group by 1, 2, 3"  # noqa: S608 - our own words
        for state, reason, status, count in self._database.execute(query):
            tally.rows += count
            if status is not None:
                tally.by_status[status] += count
            if state == State.REJECTED or (state == State.OVER and status is None):
                tally.rejected += count
                tally.by_reason[reason or str(status)] += count
            elif state == State.OVER:
                is_reached = status in self._success
                tally.reached += count * is_reached
                tally.closed += count * (not is_reached)
            elif state == State.IN_PROGRESS:
                tally.in_progress += count
                tally.calls += count
            else:
                tally.waiting += count
        return tally

    def ended(self) -> int:
        """Return how many attempts are over: what is decided by counts changes with it."""
        found: int = self._database.execute("select ended from total").fetchone()[0]
        return found

    def by_agent(self) -> Iterator[tuple[int, bool, int]]:
        """Yield how many people each agent has called, by whether they were reached."""
        query = f"""
        select agent_id, {_LAST}, count(*) from listed where {_LAST} is not null group by 1, 2 order by 1
        """  # noqa: S608 - our own words
        for agent_id, status, count in self._database.execute(query):
            yield agent_id, status in self._success, count

    def results(self) -> Iterator[RowResult]:
        """Yield what came of each row, in their order."""
        for *first, agent_id, state, reason, detail, zone, ended, carried in self._database.execute(_RESULT):
            row_number, part, number, reference = first
            attempts = _attempts(ended)
            tried = tuple(each for each in attempts if each.status != REFUSED)
            status = _status(State(state), tried)
            kept = json.loads(carried) if carried else {}
            yield RowResult(
                row_number, part, number, reference, agent_id, status, reason, detail, zone, tried, kept
            )

    def _put_ended(self, place: int, ended: Sequence[Attempt]) -> None:
        plain = json.dumps([each.to_json() for each in ended])
        known = self.call(place).ended
        self._database.execute("update listed set ended = ? where place = ?", (plain, place))
        new = [each for each in ended[len(known) :] if each.status != REFUSED]
        failed = sum(each.status not in self._success for each in new)
        seconds = sum(each.duration_s or 0 for each in new)
        self._database.execute(_COUNT, (len(new), failed, seconds))


def _status(state: State, tried: Sequence[Attempt]) -> str:
    if state in {State.WAITING, State.SENDING}:
        return State.WAITING.value
    if state is State.IN_PROGRESS:
        return state.value
    return tried[-1].status if tried else REJECTED


def _attempts(plain: str) -> tuple[Attempt, ...]:
    return tuple(map(Attempt.from_json, json.loads(plain)))


def _call(found: tuple[Any, ...]) -> Call:
    place, number, reference, zone, agent_id, key, has_own_name, parameters, metadata, attempt, *rest = found
    pairs = tuple((name, value) for name, value in json.loads(parameters))
    ended, placed = _attempts(rest[0]), json.loads(rest[1]) if rest[1] else None
    who, named = (place, number, reference, zone, agent_id), (key, bool(has_own_name))
    return Call(*who, *named, pairs, metadata, attempt, ended, placed, *rest[2:])
