"""What the calls page shows of a store: the calls of a day, counted, and those that somebody has to look at.

Each query reads a piece of one index and returns a bounded number of rows, however large the store is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, literal, or_, select

from formant_provider.store.intents import BATCH_CALL, CALL
from formant_provider.store.list_progress import ListProgress, progress_of_lists
from formant_provider.store.schema import call_lists, intents
from formant_provider.store.store import to_ms

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from formant_provider.store.store import Store

UNCLEAR = "unclear"
# So far back it is looked for what is not over, or not clear.
LOOKS_BACK = timedelta(days=7)
MOST_DAGS = 10_000
MOST_ROWS = 50
# MySQL and MariaDB go a thousand steps from row to row, and no further.
_AT_ONCE = 500


class Count(NamedTuple):
    """How many calls of an agent stand alike."""

    agent_id: int
    state: str
    outcome: str | None
    calls: int


class Asked(NamedTuple):
    """A call, or a batch call. Times are milliseconds since 1970.

    :param people: of a batch call: how many it is to, if that is known.
    """

    agent_id: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    reference: str | None
    state: str
    outcome: str | None
    call_at: int
    trace_id: str | None
    conversation_id: str | None
    batch_id: int | None
    people: int | None


class Overview(NamedTuple):
    """What the page shows.

    :param counts: the calls of the day.
    :param unconfirmed: calls and batch calls of the last days that may have been placed; the newest first.
    :param lists: call lists of the day, and those that had not ended then.
    :param batches: batch calls of the day, and those that had not ended then.
    :param newest: the newest calls of the day.
    """

    counts: list[Count]
    unconfirmed: list[Asked]
    lists: list[ListProgress]
    batches: list[Asked]
    newest: list[Asked]


def dag_ids_in(store: Store) -> list[str]:
    """Return the DAGs that have asked for calls, or are about to, :data:`MOST_DAGS` at most.

    :raises SendAborted: the database does not answer.
    """
    of_lists = select(call_lists.c.dag_id).distinct().limit(MOST_DAGS)
    with store.reading() as conn:
        found = {*_first_dags(conn), *conn.execute(of_lists).scalars()}
    return sorted(found)[:MOST_DAGS]


def _first_dags(conn: Connection) -> list[str]:
    found: list[str] = []
    while len(found) < MOST_DAGS and (further := _some_dags(conn, found[-1:])):
        found += further
    return found


def _some_dags(conn: Connection, after: Sequence[str]) -> list[str]:
    """Return the next DAGs, by name.

    From one to the next in the index: to look at each call would take as long as there are calls.

    :param after: the one before them, if any.
    """
    name, begins = intents.c.dag_id, [intents.c.dag_id > each for each in after]
    first = select(func.min(name).label("dag_id"), literal(1).label("place")).where(*begins)
    dags = first.cte("dags", recursive=True)
    following = select(func.min(name)).where(name > dags.c.dag_id).scalar_subquery()
    steps = select(following, dags.c.place + 1).where(dags.c.dag_id.is_not(None), dags.c.place < _AT_ONCE)
    dags = dags.union_all(steps)
    known = select(dags.c.dag_id).where(dags.c.dag_id.is_not(None)).order_by(dags.c.place)
    return [*conn.execute(known).scalars()]


def overview(
    store: Store, dag_ids: Collection[str], *, since: datetime, until: datetime, now: datetime
) -> Overview:
    """Return what is shown of a day.

    :param dag_ids: the DAGs whose calls may be shown.
    :param since: the beginning of the day, aware.
    :param until: its end.
    :param now: the current time, aware.
    :raises SendAborted: the database does not answer.
    """
    if not dag_ids:
        return Overview([], [], [], [], [])
    of_day = _within(since, until, dag_ids)
    lately = _within(since - LOOKS_BACK, until, dag_ids)
    at_rest = or_(intents.c.sending_until.is_(None), intents.c.sending_until < to_ms(now))
    is_open = or_(intents.c.call_at >= to_ms(since), intents.c.outcome.is_(None))
    with store.reading() as conn:
        return Overview(
            _counts(conn, of_day),
            _asked(conn, [*lately, intents.c.state == UNCLEAR, at_rest]),
            progress_of_lists(
                conn,
                since=since,
                until=until,
                open_since=since - LOOKS_BACK,
                dag_ids=dag_ids,
                most=MOST_ROWS,
            ),
            _asked(conn, [*lately, intents.c.kind == BATCH_CALL, is_open]),
            _asked(conn, [*of_day, intents.c.kind == CALL]),
        )


def _within(since: datetime, until: datetime, dag_ids: Collection[str]) -> list[ColumnElement[bool]]:
    return [
        intents.c.call_at >= to_ms(since),
        intents.c.call_at < to_ms(until),
        # As an expression, so that SQLite takes the index over the time, and not the one over the DAGs.
        func.coalesce(intents.c.dag_id, literal("")).in_(dag_ids),
    ]


def _counts(conn: Connection, wanted: Sequence[ColumnElement[bool]]) -> list[Count]:
    alike = intents.c.agent_id, intents.c.state, intents.c.outcome
    counted = select(*alike, func.count()).where(*wanted, intents.c.kind == CALL).group_by(*alike)
    return [Count(*row) for row in conn.execute(counted)]


def _asked(conn: Connection, wanted: Sequence[ColumnElement[bool]]) -> list[Asked]:
    columns = [intents.c[name] for name in Asked._fields if name != "people"]
    rows = select(*columns, intents.c.kind, intents.c.intent).where(*wanted)
    rows = rows.order_by(intents.c.call_at.desc()).limit(MOST_ROWS)
    return [_as_asked(dict(row)) for row in conn.execute(rows).mappings()]


def _as_asked(row: dict[str, Any]) -> Asked:
    is_batch, intent = row.pop("kind") == BATCH_CALL, row.pop("intent")
    people = None
    if is_batch:
        with suppress(ValueError, TypeError, KeyError, AttributeError):  # somebody may have edited it
            people = int(json.loads(intent)["people"]["count"])
    return Asked(**row, people=people)
