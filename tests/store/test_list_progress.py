"""How far call lists have come, as their tasks tell the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from formant_provider.core.call_lists.tally import Tally
from formant_provider.store.list_progress import (
    ListProgress,
    forget_progress,
    progress_of_lists,
    tell_progress,
)
from formant_provider.store.overview import dag_ids_in
from formant_provider.store.store import Store, to_ms
from formant_provider.store.verify import verify
from support.databases import Database
from support.stores import new_store

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TALLY = Tally(rows=10, rejected=1, waiting=2, in_progress=3, reached=4, closed=0)


def lists_of(store: Store, *, dag_ids: tuple[str, ...] = ("dag",), most: int = 9) -> list[ListProgress]:
    """Those of a day, and of the week before what had not ended."""
    times = {"since": NOON - DAY / 2, "until": NOON + DAY / 2, "open_since": NOON - 7 * DAY}
    with store.reading() as conn:
        return progress_of_lists(conn, **times, dag_ids=dag_ids, most=most)


def test_the_newest_word_of_a_list_counts(database: Database) -> None:
    """A list has one row, however often its task speaks; another row of a mapped task is another list."""
    store = new_store(database)
    place = "dag", "run", "call", -1
    tell_progress(store, place, TALLY, reference=7, now=NOON - timedelta(minutes=2), resumes_at=NOON)
    tell_progress(store, (*place[:3], 3), TALLY, reference=None, now=NOON - timedelta(minutes=1))
    tell_progress(store, place, Tally(rows=10, reached=10), reference=7, now=NOON, status="finished")
    first, second = lists_of(store)
    assert first == ListProgress(*place, "7", to_ms(NOON), None, "finished", 10, 0, 0, 0, 10, 0)
    assert (second.map_index, second.status, second.over) == (3, None, 5)
    assert lists_of(store, most=1) == [first]


def test_lists_of_other_dags_and_days_are_left_out(database: Database) -> None:
    """But for those that have not ended, of the days before."""
    store = new_store(database)
    for task, ago, status in (("old", 9, None), ("open", 3, None), ("ended", 3, "held"), ("next", -2, None)):
        tell_progress(
            store, ("dag", "run", task, -1), TALLY, reference=None, now=NOON - ago * DAY, status=status
        )
    tell_progress(store, ("other", "run", "call", -1), TALLY, reference=None, now=NOON)
    assert [each.task_id for each in lists_of(store)] == ["open"]
    assert lists_of(store, dag_ids=()) == []
    assert dag_ids_in(store) == ["dag", "other"]


def test_names_that_no_database_takes_are_made_to_fit(database: Database) -> None:
    """As those of calls are; two long names stay two lists."""
    store = new_store(database)
    for last in "ab":
        place = ("dag", "r" * 300 + last, "nul\x00", 0)
        tell_progress(store, place, TALLY, reference=None, now=NOON, status="s" * 300)
    assert len({each.run_id for each in lists_of(store)}) == 2


def test_what_lists_have_told_is_forgotten(database: Database) -> None:
    """What is older goes, what is younger stays, and the chain of events tells of neither."""
    store = new_store(database)
    for task, ago in (("old", 2), ("new", 0)):
        tell_progress(store, ("dag", "run", task, -1), TALLY, reference=None, now=NOON - ago * DAY)
    forget_progress(store, before=NOON - DAY)
    assert [each.task_id for each in lists_of(store)] == ["new"]
    assert verify(store).count == 0
