"""How far each call list has come, for people to look at: its task says so now and then.

Counts alone, of which nothing depends on: nothing that places calls reads them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select

from formant_provider.store.admission import upserted
from formant_provider.store.failures import again
from formant_provider.store.intents import fitting
from formant_provider.store.schema import NAME_LENGTH, call_lists
from formant_provider.store.store import to_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.core.call_lists.tally import Tally
    from formant_provider.store.store import Store


@dataclass(frozen=True)
class ListProgress:
    """How a call list stood. Times are milliseconds since 1970.

    :param map_index: the row of a mapped task; -1 of another.
    :param reference: the user's name of the list.
    :param told_at: when its task said so.
    :param resumes_at: until when it waits; ``None``: it is being worked off, or is over.
    :param status: how it ended, in a word; ``None``: it has not ended, as far as is known.
    :param row_count: all its rows; each is in one of the following five.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    reference: str | None
    told_at: int
    resumes_at: int | None
    status: str | None
    row_count: int
    rejected: int
    waiting: int
    in_progress: int
    reached: int
    closed: int

    @property
    def over(self) -> int:
        """How many rows are over."""
        return self.rejected + self.reached + self.closed


_COUNTS = "rejected", "waiting", "in_progress", "reached", "closed"
_COLUMNS = [call_lists.c[field.name] for field in fields(ListProgress)]


@again
def tell_progress(
    store: Store,
    place: tuple[str, str, str, int],
    tally: Tally,
    *,
    reference: object,
    now: datetime,
    resumes_at: datetime | None = None,
    status: str | None = None,
) -> None:
    """Write down how a list stands.

    :param place: DAG, run, task, and the row of a mapped task or -1.
    :param reference: the user's name of the list, or ``None``.
    :param resumes_at: until when it waits, aware; ``None``: it does not.
    :param status: how it ended, in a word; ``None``: it has not.
    :raises SendAborted: the store does not answer.
    """
    names = dict(zip(("dag_id", "run_id", "task_id"), map(fitting, place[:3]), strict=True))
    told = {
        **names,
        "map_index": place[3],
        "reference": None if reference is None else str(reference),
        "told_at": to_ms(now),
        "resumes_at": None if resumes_at is None else to_ms(resumes_at),
        "status": None if status is None else status[:NAME_LENGTH],
        "row_count": tally.rows,
        **{name: getattr(tally, name) for name in _COUNTS},
    }
    values = {"id": store.digests.call_list(*map(str, place)), **told}
    with store.writing() as conn:
        conn.execute(upserted(conn, call_lists, values, keep=told))


def progress_of_lists(
    conn: Connection,
    *,
    since: datetime,
    until: datetime,
    open_since: datetime,
    dag_ids: Collection[str],
    most: int,
) -> list[ListProgress]:
    """Return lists whose task spoke within some time, and those that had not ended then; the newest first.

    :param since: the beginning of the time, aware.
    :param until: its end.
    :param open_since: how far back to look for those that had not ended.
    :param dag_ids: the DAGs whose lists are wanted.
    :param most: how many are returned at most.
    """
    told_at = call_lists.c.told_at
    wanted = select(*_COLUMNS).where(
        told_at >= to_ms(open_since),
        told_at < to_ms(until),
        or_(told_at >= to_ms(since), call_lists.c.status.is_(None)),
        call_lists.c.dag_id.in_(dag_ids),
    )
    rows = conn.execute(wanted.order_by(told_at.desc(), call_lists.c.id).limit(most)).mappings()
    return [ListProgress(**row) for row in rows]


def forget_progress(store: Store, *, before: datetime) -> None:
    """Delete what lists said before a moment.

    :raises SendAborted: the store does not answer.
    """
    with store.writing() as conn:
        conn.execute(delete(call_lists).where(call_lists.c.told_at < to_ms(before)))
