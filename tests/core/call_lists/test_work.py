"""A list is worked off: what is due is placed, what was placed is followed, and nothing is left under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.errors import AuthenticationFailed, StoreUnavailable, Superseded
from formant_provider.core.call_lists.attempting import AttemptRule
from formant_provider.core.call_lists.board import Board
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL, LIST
from support.list_rows import add_call, number
from support.list_work import ListBook, ListWorld, now

Start = Callable[..., ListWorld]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over in a moment."""
    with Sandbox(call_speed=3000, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def start(tmp_path: Path, sandbox: Sandbox) -> Iterator[Start]:
    """Makes a list of so many people, all of whom are due."""
    with Board(tmp_path, {"completed"}) as board:

        def make(people: int, first: int = 110, **options: Any) -> ListWorld:
            for row in range(first, first + people):
                add_call(board, row)
            return ListWorld(board, sandbox, **options)

        yield make


def after(times: int, do: Callable[[], Any]) -> Callable[[], None]:
    """Return what does something when it is called for that time."""
    calls: list[None] = []

    def count() -> None:
        calls.append(None)
        if len(calls) == times:
            do()

    return count


def placed(world: ListWorld) -> set[str]:
    """The numbers of those of whom it is written down that they were called."""
    return {number(int(key.removeprefix("key "))) for key in world.book.receipts()}


def test_everybody_who_is_due_is_called_once_and_followed(start: Start, sandbox: Sandbox) -> None:
    """At its end a list is over, and all of it is written down."""
    world = start(20)
    assert world.run() is None
    assert world.statuses() == ["completed"] * 20
    assert sandbox.rings == {number(row): 1 for row in range(110, 130)}
    assert len(world.book.receipts()) == len(world.book.written) == 20
    assert world.book.flushes == 1


def test_no_more_are_prepared_than_a_crash_may_cost(start: Start, sandbox: Sandbox) -> None:
    """The ledger says how many; each is prepared before it is sent, and once (the ledger here looks)."""
    world = start(20, book=ListBook(at_once=3))
    assert world.run() is None
    assert len(world.book.prepared) == len(sandbox.rings) == 20


def test_whoever_was_not_reached_is_called_again_when_it_is_due(start: Start, sandbox: Sandbox) -> None:
    """The worker waits for what is due soon."""
    rule = AttemptRule(2, {"no_answer": timedelta(seconds=6)})
    world = start(1, first=101, rule=rule, redial_on={"no_answer"})
    assert world.run() is None
    assert sandbox.rings == {number(101): 2}
    assert [attempt.number for _, attempt in world.book.written] == [1, 2]


def test_what_is_due_later_gives_the_worker_back(start: Start) -> None:
    """Until then; who is due now is called before."""
    world = start(3)
    later = now() + timedelta(hours=1)
    world.board.wait(2, round(later.timestamp() * 1000), 1)
    rest = world.run()
    assert rest is not None
    assert abs(rest.until - later) < timedelta(seconds=1)
    assert world.statuses() == ["completed", "waiting", "completed"]


def test_a_call_whose_time_has_not_come_is_neither_prepared_nor_sent(start: Start, sandbox: Sandbox) -> None:
    """The calling hours open in an hour."""
    later = now() + timedelta(hours=1)
    world = start(3, when=lambda _asked, _now: later)
    rest = world.run()
    assert rest is not None
    assert abs(rest.until - later) < timedelta(seconds=1)
    assert (world.book.prepared, sandbox.requests) == ([], [])


def test_a_list_that_is_stopped_sends_nothing_more(start: Start, sandbox: Sandbox) -> None:
    """What was sent is written down, and what was prepared may be sent by the next try."""
    world = start(30, concurrency=2)
    world.book.asides["claim"] = after(5, lambda: setattr(world, "is_stopped", True))
    assert world.run() is None
    assert 4 <= len(sandbox.rings) <= 6
    assert placed(world) == set(sandbox.rings)
    assert world.statuses().count("waiting") == 30 - len(sandbox.rings)
    assert world.book.flushes == 1


def test_a_held_list_sends_nothing_and_rests(start: Start, sandbox: Sandbox) -> None:
    """It looks again when it wakes."""
    world = start(3, held="somebody")
    rest = world.run()
    assert rest is not None
    assert rest.until > now() + timedelta(seconds=50)
    assert (world.book.prepared, sandbox.requests) == ([], [])
    assert world.work.hold == "somebody"


def test_a_list_that_is_held_meanwhile_follows_what_it_has_placed(start: Start, sandbox: Sandbox) -> None:
    """Nobody further is called, and no attempt is lost."""
    world = start(30, concurrency=2)
    world.book.asides["claim"] = after(5, lambda: setattr(world, "held", "somebody"))
    assert world.run() is not None
    called = len(sandbox.rings)
    assert 4 <= called <= 6
    assert sorted(world.statuses()) == ["completed"] * called + ["waiting"] * (30 - called)
    assert len(world.book.written) == called


def test_a_list_that_is_over_follows_what_it_has_placed(start: Start) -> None:
    """All others are left out, with the reason."""
    world = start(6)
    soon = round((now() + timedelta(seconds=20)).timestamp() * 1000)
    for place in range(3, 7):
        world.board.wait(place, soon, 1)
    world.book.asides["note"] = lambda: setattr(world, "over", ("stopped", "enough"))
    assert world.run() is None
    assert world.work.ended_early == ("stopped", "enough")
    assert world.statuses() == ["completed"] * 2 + ["rejected"] * 4
    assert dict(world.board.tally().by_reason) == {"stopped": 4}


def test_a_store_that_is_down_is_waited_for(start: Start, sandbox: Sandbox) -> None:
    """Nothing is sent that is not written down."""
    world, sent = start(3), []
    world.book.fails["prepare"] = [StoreUnavailable("The store is away")] * 2
    world.book.asides["prepare"] = lambda: sent.append(len(sandbox.rings))
    assert world.run() is None
    assert sent == [0, 0, 0]
    assert world.statuses() == ["completed"] * 3


def test_what_a_store_could_not_take_is_written_later(start: Start) -> None:
    """Ends of calls that were not noted are, at the latest when the list is over."""
    world = start(3)
    world.book.fails["note"] = [StoreUnavailable("The store is away")] * 3
    assert world.run() is None
    assert sorted(key for key, _ in world.book.written) == ["key 110", "key 111", "key 112"]


def test_a_list_that_another_try_has_taken_over_ends(start: Start, sandbox: Sandbox) -> None:
    """It sends nothing more."""
    world = start(6, book=ListBook(at_once=2))
    world.book.asides["prepare"] = after(
        2, lambda: world.book.fails.setdefault("prepare", [Superseded("A newer try has taken over")])
    )
    with pytest.raises(Superseded):
        world.run()
    assert len(sandbox.rings) <= 2
    assert placed(world) == set(sandbox.rings)


def test_a_fault_of_ours_leaves_nothing_under_way(start: Start, sandbox: Sandbox) -> None:
    """It ends the list; requests that have left are waited for, and what came of them is written down."""
    world = start(20)
    broken: list[Exception] = [LookupError("a fault of ours")]
    world.book.asides["claim"] = after(6, lambda: world.book.fails.setdefault("claim", broken))
    with pytest.raises(LookupError):
        world.run()
    assert placed(world) == set(sandbox.rings)
    assert world.book.flushes == 1
    assert all(seen.status for seen in sandbox.requests), "a request was left without its answer"


def test_a_list_that_cannot_be_read_ends_with_what_is_known(start: Start, sandbox: Sandbox) -> None:
    """The API refuses to tell of ends, for good: calls that were placed are not forgotten."""
    world = start(4, api_keys=[sandbox.api_key, "a wrong key"])
    with pytest.raises(AuthenticationFailed):
        world.run()
    assert placed(world) == set(sandbox.rings)
    assert world.book.flushes == 1


def test_a_key_that_was_changed_is_read_anew(start: Start, sandbox: Sandbox) -> None:
    """The list goes on with the one that is in force now."""
    world = start(5, api_keys=["an old key", sandbox.api_key])
    assert world.run() is None
    assert world.statuses() == ["completed"] * 5
    assert world.rereads >= 1


def test_a_key_that_stays_refused_ends_the_list(start: Start, sandbox: Sandbox) -> None:
    """After three refusals; nobody was called, and everybody waits for the next try."""
    world = start(5, api_keys=["a wrong key"])
    with pytest.raises(AuthenticationFailed):
        world.run()
    assert not sandbox.rings
    assert world.statuses() == ["waiting"] * 5


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.ERROR_503_BEFORE, Fault.DROP_AFTER], ids=str)
def test_an_error_of_one_request_costs_nobody_a_call(fault: Fault, start: Start, sandbox: Sandbox) -> None:
    """All wait a moment, and everybody is called once."""
    sandbox.inject(CALL, fault)
    world = start(6)
    assert world.run() is None
    assert world.statuses() == ["completed"] * 6
    assert set(sandbox.rings.values()) == {1}
    assert world.board.tally().calls == 6


def test_polls_that_fail_cost_nobody_an_end(start: Start, sandbox: Sandbox) -> None:
    """They are repeated later."""
    sandbox.inject(LIST, Fault.ERROR_503_BEFORE, times=2)
    world = start(3)
    assert world.run() is None
    assert world.statuses() == ["completed"] * 3


def test_a_row_that_the_api_refuses_stops_no_other(start: Start, sandbox: Sandbox) -> None:
    """An agent that does not exist: the row says so, and the ledger knows for a further try."""
    world = start(4)
    world.board.assign(2, 999)
    assert world.run() is None
    assert world.statuses() == ["completed", "rejected", "completed", "completed"]
    [refused] = [attempt for _, attempt in world.book.written if attempt.status == "refused"]
    assert refused.in_try == 1
    assert len(sandbox.rings) == 3


def test_how_a_list_stands_is_told_while_it_goes_on(start: Start) -> None:
    """Whoever tells decides how often."""
    world = start(2)
    world.run()
    assert world.tells >= 1


def test_calls_of_an_earlier_wake_are_followed(start: Start, sandbox: Sandbox) -> None:
    """Nothing is sent for them."""
    placed = sandbox.place(number(110))
    world = start(1)
    since = (now() - timedelta(seconds=5)).isoformat()
    ids = {"trace_id": placed.trace_id, "conversation_id": None}
    world.board.place(1, {"since": since, "until": None, **ids})
    assert world.run() is None
    assert world.statuses() == ["completed"]
    assert CALL not in {seen.endpoint for seen in sandbox.requests}


def test_a_limit_that_one_poll_uses_up_does_not_stop_a_list(tmp_path: Path) -> None:
    """What a poll has read is kept until the limit lets it go on, though the worker may wait less."""
    with (
        Sandbox(call_speed=3000, rate_limit=6, rate_window_seconds=2) as sandbox,
        Board(tmp_path, {"completed"}) as board,
    ):
        for row in range(110, 120):
            add_call(board, row)
        world = ListWorld(board, sandbox, longest_wait=timedelta(seconds=0.5))
        wakes = 0
        while (rest := world.run()) is not None and wakes < 20:
            time.sleep(max((rest.until - now()).total_seconds(), 0))
            world, wakes = ListWorld(board, sandbox, longest_wait=timedelta(seconds=0.5)), wakes + 1
        assert (rest, world.statuses()) == (None, ["completed"] * 10)
        assert sandbox.rings == {number(row): 1 for row in range(110, 120)}
