from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import LIST_CONVERSATIONS
from formant_provider.api.errors import ServerError
from formant_provider.api.models import Conversation
from formant_provider.core.flows import run
from formant_provider.core.paging import MAX_PAGES, recent
from formant_provider.sandbox import Fault
from support.feeds import AGENT, LIST_ORDERS, Board, Waiting, read_all, reading, row, waiting
from support.ledgers import NOON
from support.scripted_server import Answer


@pytest.fixture
def world() -> Iterator[Callable[..., Waiting]]:
    with waiting() as start:
        yield start


def taken_from(world: Waiting, since: Any) -> tuple[list[str], int]:
    """Return the ids that were taken, and how many lists that took."""
    taken: list[Conversation] = []
    before = len(world.sandbox.requests)
    run(recent(AGENT, int(since.timestamp() * 1000), taken.append), world.client)
    lists = world.sandbox.requests[before:]
    assert all(seen.endpoint == LIST_CONVERSATIONS and seen.query["limit"] == "100" for seen in lists)
    return [record.conversation_id for record in taken], len(lists)


def ids(calls: list[Any]) -> set[str]:
    return {call.conversation_id for call in calls}


@pytest.mark.parametrize("old", [0, 30, 250, 1000])
@pytest.mark.parametrize("new", [0, 1, 99, 101, 250])
@pytest.mark.parametrize("order", LIST_ORDERS)
def test_all_recent_records_are_read_and_only_the_pages_they_are_on(
    order: str, new: int, old: int, world: Any
) -> None:
    """Nothing is missed in any order; a list in order is read no farther than it must be."""
    w = world(list_order=order)
    for n in range(old):
        w.place(f"{n % 6:02}")
        w.sandbox.advance(10)
    w.sandbox.advance(3600)
    since = w.sandbox.now()
    calls = []
    for n in range(new):
        calls.append(w.place(f"{n % 6:02}"))
        w.sandbox.advance(1)
    w.sandbox.advance(200)
    taken, lists = taken_from(w, since)
    assert set(taken) == ids(calls)
    pages = max(math.ceil(new / 100), 1)
    if order == "newest_first":
        assert lists == pages
        assert len(taken) == new
    elif order == "oldest_first":
        assert lists <= pages + 1
    else:
        assert lists <= math.ceil((old + new) / 100) + 1


def test_a_list_by_the_end_of_calls_is_read_only_a_little_farther(world: Any) -> None:
    """Of a thousand old records the pages with the recent ones are read, and one more at the most."""
    w = world(list_order="newest_end_first")
    for n in range(1000):
        w.place(f"{n % 6:02}")
        w.sandbox.advance(10)
    since = w.sandbox.now()
    calls = [w.place(f"{n % 6:02}") for n in range(150) if w.sandbox.advance(1)]
    taken, lists = taken_from(w, since)
    assert set(taken) == ids(calls)
    assert lists <= 3


@pytest.mark.parametrize("seed", range(20))
def test_a_burst_in_a_list_by_the_end_is_read_in_full(seed: int, world: Any) -> None:
    """Calls that began together and ended one by one may look as if the oldest came first; none is missed."""
    w = world(list_order="newest_end_first")
    choose = random.Random(seed)  # noqa: S311 - a shuffle, no secret
    for n in range(500):
        w.place(f"{n % 6:02}")
        w.sandbox.advance(60)
    w.sandbox.advance(3600)
    since = w.sandbox.now()
    calls = []
    for _ in range(450):
        calls.append(w.place(f"{choose.randrange(6):02}"))
        w.sandbox.advance(0.01)
    w.sandbox.advance(10)
    taken, lists = taken_from(w, since)
    assert set(taken) == ids(calls)
    assert lists <= 7


@pytest.mark.parametrize("seed", range(20))
def test_a_list_by_the_end_may_look_as_if_its_oldest_came_first(seed: int) -> None:
    """What the first page seems to say of the order is not believed against the rest."""
    choose = random.Random(seed)  # noqa: S311 - a shuffle, no secret
    rows = [row(f"c-{n}", choose.random(), end_timestamp=choose.random()) for n in range(450)]
    rows.sort(key=lambda each: each["end_timestamp"], reverse=True)
    board = Board([*rows, *(row(f"old-{n}", -3600 - n) for n in range(500))])
    with reading(board) as reader:
        assert len(read_all(reader.client, recent, NOON)) == 450
    assert board.lists <= 7


def test_as_much_as_a_list_is_out_of_order_it_is_read_farther() -> None:
    """A long call that began before the others but ended among them does not hide those that follow it."""
    rows = [row(f"c-{n}", 1000 - 6 * n) for n in range(160)]
    rows.insert(90, row("long", -20))
    board = Board([*rows, *(row(f"old-{n}", -3600 - n) for n in range(500))])
    with reading(board) as reader:
        assert read_all(reader.client, recent, NOON) == {f"c-{n}" for n in range(160)}
    assert board.lists <= 3


@pytest.mark.parametrize("seed", range(10))
def test_a_list_in_no_order_is_read_to_its_end(seed: int) -> None:
    """A recent record on the last page is found, however few there are and however long the history is."""
    choose = random.Random(seed)  # noqa: S311 - a shuffle, no secret
    rows = [row(f"old-{n}", -3600 * n - 3600) for n in range(700)]
    choose.shuffle(rows)
    rows.append(row("new", 1))
    board = Board(rows)
    with reading(board) as reader:
        assert read_all(reader.client, recent, NOON) == {"new"}
    assert board.lists <= 9


ARRIVALS = [1, 3, 40]


@pytest.mark.parametrize("arrivals", ARRIVALS)
@pytest.mark.parametrize("per_page", [None, 1], ids=["with total", "without total"])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_records_that_come_in_between_pages_hide_none(
    oldest_first: bool, per_page: int | None, arrivals: int
) -> None:
    """While calls keep coming in, all that were there at the beginning are read, with few requests more."""
    rows = [row(f"c-{n}", n) for n in range(-1000, 350)]
    board = Board(rows if oldest_first else rows[::-1], page={"total": None} if per_page else {})

    def arrive() -> None:
        for n in range(arrivals):
            new = row(f"late-{board.lists}-{n}", 1000 + board.lists)
            board.rows.insert(len(board.rows) if oldest_first else 0, new)

    board.before_list = arrive
    with reading(board) as reader:
        taken = read_all(reader.client, recent, NOON)
    assert {f"c-{n}" for n in range(350)} <= taken
    assert not any(name.startswith("c--") for name in taken)
    if board.page and oldest_first:
        assert board.lists >= 14  # its end cannot be jumped to
    else:
        assert board.lists <= 12


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_records_that_come_in_below_hide_none(arrivals: int) -> None:
    """A record that appears late takes its place among the old, and moves the others along."""
    board = Board([row(f"c-{n}", n) for n in range(-1000, 350)])

    def arrive() -> None:
        for n in range(arrivals):
            board.rows.insert(1200, row(f"late-{board.lists}-{n}", 200))

    board.before_list = arrive
    with reading(board) as reader:
        taken = read_all(reader.client, recent, NOON)
    assert {f"c-{n}" for n in range(350)} <= taken
    assert board.lists <= 12


def test_time_that_passes_with_each_request_does_no_harm(world: Any) -> None:
    """Records that appear while a sandbox's list is read do not hide others."""
    for order in ("newest_first", "oldest_first"):
        w = world(list_order=order, seconds_per_request=5, record_appears="end")
        calls = [w.place() for _ in range(300) if w.sandbox.advance(1)]
        w.sandbox.advance(30)
        there = [call for call in calls if call.recorded(w.sandbox.now())]
        taken, _ = taken_from(w, NOON)
        assert ids(there) <= set(taken)
        assert len(there) > 150


@pytest.mark.parametrize("page", [{"has_more": None}, {"total": None}, {"has_more": None, "total": None}])
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_a_page_need_not_say_what_follows(count: int, page: dict[str, Any]) -> None:
    """Without has_more the total decides, without both a full page does."""
    board = Board([row(f"c-{n}", n) for n in range(count)], page=page)
    with reading(board) as reader:
        assert len(read_all(reader.client, recent, NOON)) == count
    assert board.lists <= count // 100 + 2


def test_an_end_that_is_not_where_the_total_says_is_walked_to() -> None:
    """A total that counts one page alone is no place to jump to."""
    board = Board([row(f"c-{n}", n) for n in range(250)], page={"total": 100})
    with reading(board) as reader:
        assert len(read_all(reader.client, recent, NOON)) == 250


def test_a_record_that_does_not_say_when_it_began_is_taken() -> None:
    """And it says nothing about the order, nor that the rest is older."""
    rows = [
        row("timeless-1", start_timestamp=None),
        row("old", -3600),
        row("timeless-2", start_timestamp="x"),
    ]
    board = Board(rows, page={"has_more": False})
    with reading(board) as reader:
        assert read_all(reader.client, recent, NOON) == {"timeless-1", "timeless-2"}


def test_a_list_without_any_times_is_read_to_its_end() -> None:
    """Where nothing tells the age, everything is taken, once."""
    board = Board([row(f"c-{n}", start_timestamp=None) for n in range(250)])
    with reading(board) as reader:
        assert len(read_all(reader.client, recent, NOON)) == 250
    assert board.lists == 3


def test_rows_that_are_no_records_are_passed_over() -> None:
    """Rows without an id, of the wrong type, or with fields of the wrong types, spoil no page."""
    good = row("good", 5)
    odd: list[Any] = [None, 7, [], {}, row("x", conversation_id=[]), row("x", conversation_id=None)]
    strange = row("strange", status=["completed"], trace_id={}, contact_number=[1], end_timestamp=1e300)
    board = Board([*odd, strange, good])
    with reading(board) as reader:
        assert read_all(reader.client, recent, NOON) == {"good", "strange"}


@pytest.mark.parametrize("start", [0, -1, 10**18, 1e300, math.nan, math.inf, True])
def test_a_start_that_is_no_time_spoils_no_page(start: float) -> None:
    """Nor does a start in microseconds, which is no date at all."""
    board = Board([row("odd", start_timestamp=start), *(row(f"c-{n}", -n) for n in range(250))])
    with reading(board) as reader:
        taken = read_all(reader.client, recent, NOON - timedelta(seconds=200))
    assert taken - {"odd"} == {f"c-{n}" for n in range(201)}


@pytest.mark.parametrize("rows", [[], [{}] * 100], ids=["empty", "nothing but rubbish"])
def test_an_empty_page_is_the_end(rows: list[Any]) -> None:
    """Also when the server says there is more."""
    board = Board(rows, page={"has_more": True})
    with reading(board) as reader:
        assert read_all(reader.client, recent, NOON) == set()
    assert board.lists == 1


@pytest.mark.parametrize("growing", [False, True])
def test_a_list_that_never_ends_is_not_read_for_ever(growing: bool, caplog: Any) -> None:
    """A server that always says there is more is believed so many times, and that is logged."""
    rows = [row("c-1"), row("c-2", 1)]
    body = {"data": rows, "has_more": True, "total": None}
    board = Board()

    def grow() -> None:
        body["total"] = 1000 * board.lists if growing else None
        board.list_answer = Answer(body=body)

    board.before_list = grow
    with reading(board) as reader:
        assert read_all(reader.client, recent, NOON) == {"c-1", "c-2"}
    assert board.lists == MAX_PAGES
    assert "goes on beyond" in caplog.text


def test_a_page_that_cannot_be_read_is_an_error(world: Any) -> None:
    """No page is passed over: whoever reads decides when to ask again."""
    w = world()
    calls = [w.place() for _ in range(150)]
    w.sandbox.inject(LIST_CONVERSATIONS, Fault.ERROR_500_BEFORE)
    with pytest.raises(ServerError):
        taken_from(w, NOON)
    assert set(taken_from(w, NOON)[0]) == ids(calls)


def test_a_flow_may_handle_what_went_wrong() -> None:
    """An error is raised inside of the flow, which goes on with another request."""

    def flow() -> Any:
        try:
            yield lambda client: client.list_conversations(AGENT)
        except ServerError:
            page = yield lambda client: client.list_conversations(AGENT, limit=7)
            return len(page.items)

    board = Board([row(f"c-{n}") for n in range(9)], list_answer=Answer(500))

    def heal() -> None:
        board.list_answer = Answer(500) if board.lists == 1 else None

    board.before_list = heal
    with reading(board) as reader:
        assert run(flow(), reader.client) == 7
