"""What a poll costs, what does not hold it up, and what is remembered."""

from __future__ import annotations

import gc
import weakref
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS
from formant_provider.api.errors import AuthenticationFailed, ServerError
from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.paging import PAGE_SIZE
from formant_provider.sandbox import Fault
from support.feeds import Board, number, outcome_of, reading, row
from support.ledgers import NOON
from support.scripted_server import Answer


@pytest.mark.parametrize("in_list", [True, False])
def test_many_waiters_cost_one_list_and_one_detail_for_each_that_ended(in_list: bool, world: Any) -> None:
    """Calls in progress and those known to have ended cost nothing; a trace id in the list saves the rest."""
    w = world(trace_id_in_list=in_list)
    calls = [w.place(f"{n % 100:02}") for n in range(10, 90)]
    waiters = [w.join(call) for call in calls]
    assert w.poll(60) == {"lists": 1, "details": 0}
    assert w.poll(100) == {"lists": 1, "details": 0 if in_list else len(calls)}
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]


def test_details_that_a_poll_leaves_are_read_by_the_next_which_follows_soon(world: Any) -> None:
    """Some waits end early so, and none waits for the interval when there is more to read."""
    w = world()
    w.feed.details_of = lambda listed: listed - 15
    waiters = [w.join(w.place(f"{n:02}"), poll_interval_s=60.0) for n in range(10, 50)]
    assert w.poll(200) == {"lists": 1, "details": 25}
    assert sum(waiter.outcome is not None for waiter in waiters) == 25
    assert w.feed.pause_s(w.sandbox.now()) == 1.0
    assert w.poll(1) == {"lists": 1, "details": 15}
    assert all(waiter.outcome for waiter in waiters)
    w.join(w.place("10"), poll_interval_s=60.0)
    assert w.feed.pause_s(w.sandbox.now()) == 60.0


def test_a_detail_is_read_once_for_all_polls(world: Any) -> None:
    """Ended conversations of other people's calls to a recipient are not read again and again."""
    w = world()
    mine = w.join(trace_id="t-of-nobody", recipient=number("01"))
    for _ in range(3):
        w.place("01")
    w.place("02")
    assert w.poll(60) == {"lists": 1, "details": 3}
    for _ in range(3):
        assert w.poll(30) == {"lists": 1, "details": 0}
    w.place("01")
    assert w.poll(60) == {"lists": 1, "details": 1}
    assert mine.record is None


def test_pages_are_read_back_to_the_oldest_waiter_alone(world: Any) -> None:
    """When the oldest has left, less is read."""
    w = world(rate_limit=None)
    old = w.join(trace_id="t-1")
    for _ in range(250):
        w.place("10")
        w.sandbox.advance(2)
    new = w.join(trace_id="t-2")
    assert w.poll()["lists"] == 3
    w.feed.leave(old)
    assert w.poll()["lists"] == 1
    w.feed.leave(new)
    assert w.poll() == {"lists": 0, "details": 0}


def test_a_call_that_is_scheduled_costs_nothing_until_it_is_due(world: Any) -> None:
    """Nothing is asked before its time, and others are not read farther back for it."""
    w = world()
    call = w.place(scheduled_for=NOON + timedelta(hours=2))
    waiter = w.join(call)
    assert w.feed.due_at() == call.starts_at - timedelta(minutes=1)
    assert w.poll(3600) == {"lists": 0, "details": 0}
    assert waiter.looks == 0
    assert w.poll(3600 - 60)["lists"] == 1
    assert waiter.looks == 1
    w.poll(300)
    assert outcome_of(waiter) == call.conversation_id


def test_who_is_served_is_not_looked_for_again(world: Any) -> None:
    """Between being served and leaving, a waiter costs nothing and is told once."""
    w = world()
    told = []
    call = w.place()
    waiter = w.feed.join(w.watch(call), on_done=lambda _: told.append(1))
    w.poll(200)
    assert w.feed.due_at() is None
    assert w.poll(30) == {"lists": 0, "details": 0}
    assert told == [1]
    assert waiter.looks == 1


@pytest.mark.parametrize("ending", ["08", "09"])
def test_a_record_that_is_late_is_waited_for(ending: str, world: Any) -> None:
    """It may appear a minute after the end, or never."""
    w = world()
    call = w.place(ending)
    waiter = w.join(call)
    w.poll(143)
    assert waiter.record is None
    w.poll(60)
    assert outcome_of(waiter) == (call.conversation_id if ending == "09" else None)


@pytest.mark.parametrize(
    "fault", [Fault.NOT_FOUND, Fault.ERROR_500_BEFORE, Fault.ERROR_503_AFTER, Fault.DROP_AFTER, Fault.GARBAGE]
)
def test_a_detail_that_cannot_be_read_is_read_in_the_next_poll(fault: Fault, world: Any) -> None:
    """And the others are served meanwhile."""
    w = world()
    calls = [w.place(f"{n}") for n in range(10, 13)]
    waiters = [w.join(call) for call in calls]
    w.sandbox.inject(GET_CONVERSATION, fault)
    assert w.poll(200) == {"lists": 1, "details": 3}
    assert [waiter.outcome is None for waiter in waiters].count(True) == 1
    assert w.poll(30) == {"lists": 1, "details": 1}
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]


@pytest.mark.parametrize("in_list", [True, False])
def test_a_key_that_is_refused_is_said(in_list: bool, world: Any) -> None:
    """401 for the list or a detail is nothing that goes by itself."""
    w = world()
    w.join(w.place())
    w.sandbox.advance(200)
    w.sandbox.api_key = "changed" if in_list else w.sandbox.api_key
    if in_list:
        with pytest.raises(AuthenticationFailed):
            w.poll()
        return
    board = Board([row("c-1")], details={"c-1": Answer(401)})
    with reading(board) as reader:
        reader.join("t-1")
        with pytest.raises(AuthenticationFailed):
            reader.poll()


def test_a_list_that_cannot_be_read_leaves_everything_as_it_was(world: Any) -> None:
    """A poll that was interrupted was no look, and what it had learnt is kept."""
    w = world()
    call = w.place()
    waiter = w.join(call)
    w.sandbox.inject(LIST_CONVERSATIONS, Fault.ERROR_500_BEFORE)
    with pytest.raises(ServerError):
        w.poll(200)
    assert waiter.looks == 0
    w.poll()
    assert outcome_of(waiter) == call.conversation_id


@pytest.mark.parametrize("lagging", ["in_progress", None, "strange"])
def test_a_list_that_is_ahead_of_the_detail_is_not_believed_alone(lagging: str | None) -> None:
    """While the detail says the call continues, it is read again."""
    board = Board([row("c-1")], details={"c-1": {"trace_id": "t-1", "status": lagging}})
    with reading(board) as reader:
        waiter = reader.join("t-1")
        reader.poll()
        reader.poll(30)
        assert waiter.record is None
        board.details = {"c-1": {"trace_id": "t-1", "status": "completed"}}
        reader.poll(30)
    assert outcome_of(waiter) == "c-1"
    assert board.asked_details == ["c-1"] * 3


@pytest.mark.parametrize("where", ["list", "detail"])
@pytest.mark.parametrize(
    "odd",
    [
        {"status": ["completed"]},
        {"status": {}},
        {"trace_id": ["t-1"]},
        {"contact_number": {"e164": 1}},
        {"start_timestamp": 1e300},
        {"status": "busy", "end_timestamp": 1e300},
        {"status": "busy", "end_timestamp": 1773867341766000},
        {"status": "busy", "end_timestamp": "noon"},
    ],
    ids=str,
)
def test_a_record_with_fields_of_wrong_types_spoils_nobody_s_wait(odd: dict[str, Any], where: str) -> None:
    """What is no text or no time is taken as missing, in the list and in a detail."""
    board = Board([row("odd", trace_id=None), row("good", 1)], details={"good": {"trace_id": "t-2"}})
    if where == "list":
        board.rows[0] |= odd
    else:
        board.details["odd"] = odd
    settling = Endings(settle_for=timedelta(hours=1))
    with reading(board) as reader:
        reader.join("t-1", endings=settling)
        waiter = reader.join("t-2")
        reader.poll()
        reader.poll(4000)
    assert outcome_of(waiter) == "good"


def test_an_unknown_word_is_waited_on_and_logged_once(world: Any, caplog: Any) -> None:
    """Many polls and many who wait make one line, which names the word and what to do."""
    w = world()
    calls = [w.place("07") for _ in range(3)]
    waiters = [w.join(call) for call in calls]
    for _ in range(3):
        assert w.poll(60) == {"lists": 1, "details": 0}
    assert not any(waiter.record for waiter in waiters)
    lines = [line for line in caplog.messages if "voicemail_reached" in line]
    assert len(lines) == 1
    assert "terminal_statuses" in lines[0]


def test_words_for_what_goes_on_are_not_logged(world: Any, caplog: Any) -> None:
    """A call in progress is nothing to report."""
    w = world()
    w.join(w.place())
    w.poll(60)
    assert caplog.messages == []


def test_a_word_that_the_user_calls_final_ends_his_wait_alone(world: Any) -> None:
    """Another who did not name it waits on."""
    w = world()
    calls = [w.place("07"), w.place("07")]
    further = w.join(calls[0], endings=Endings(further=frozenset({"voicemail_reached"})))
    plain = w.join(calls[1])
    w.poll(60)
    assert outcome_of(further) == calls[0].conversation_id
    assert plain.record is None


def test_what_is_remembered_holds_nothing_that_was_said(world: Any) -> None:
    """Results and transcripts are not kept in memory by the thousand."""
    w = world()
    waiter = w.join(w.place())
    w.poll(200)
    assert waiter.outcome.results is None
    assert waiter.outcome.transcript is None
    assert waiter.outcome.duration_seconds == 142


def held(feed: Any) -> int:
    """Count what a feed holds, at any depth of its own containers."""
    return sum(len(value) for value in vars(feed).values() if isinstance(value, dict | list | set))


def test_who_leaves_is_forgotten(world: Any) -> None:
    """With the last of them goes all that was read for them."""
    w = world()
    empty = held(w.feed)
    waiters = [w.join(w.place(f"{n}")) for n in range(10, 30)]
    w.poll(200)
    assert held(w.feed) >= len(waiters)
    for waiter in waiters:
        w.feed.leave(waiter)
    assert held(w.feed) <= len(waiters)  # whose each conversation was is known until it is not listed
    for _ in range(100):
        w.place("10")
    w.sandbox.advance(600)
    last = w.join(trace_id="t-1")
    w.poll()
    w.feed.leave(last)
    assert held(w.feed) == empty
    references = [weakref.ref(waiter) for waiter in waiters]
    del waiters, waiter, last
    gc.collect()
    assert not any(reference() for reference in references)


def test_what_is_remembered_does_not_grow_while_somebody_always_waits(world: Any) -> None:
    """Only conversations that are still looked at are kept."""
    w = world()
    never = w.join(trace_id="t-of-nobody", recipient=number("02"))
    for _ in range(130):
        waiter = w.join(w.place("02"))
        w.poll(30)
        assert waiter.outcome
        w.feed.leave(waiter)
        never_before, never = never, w.join(trace_id="t-of-nobody", recipient=number("02"))
        w.feed.leave(never_before)
        w.sandbox.advance(600)
    w.poll()
    # Whoever waits, and for each record on the page its detail, and whose it is.
    assert held(w.feed) <= 1 + 2 * PAGE_SIZE


def test_without_an_agent_nothing_is_kept_of_those_who_left() -> None:
    """Details of conversations that nobody waits for any more are dropped."""
    board = Board([row(f"c-{n}") for n in range(20)])
    with reading(board, agent_id=None) as reader:
        reader.join(conversation_id="c-never", recipient=None)
        for n in range(20):
            waiter = reader.join(conversation_id=f"c-{n}", recipient=None)
            reader.poll(30)
            assert outcome_of(waiter) == f"c-{n}"
            reader.feed.leave(waiter)
        reader.poll(30)
        assert held(reader.feed) == 1


def test_the_most_impatient_sets_the_interval(world: Any) -> None:
    """And when it leaves, the next one does."""
    w = world()
    w.join(trace_id="t-1", poll_interval_s=60.0)
    hasty = w.join(trace_id="t-2", poll_interval_s=5.0)
    assert w.feed.interval_s() == 5
    w.feed.leave(hasty)
    assert w.feed.interval_s() == 60
