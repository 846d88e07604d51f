"""When a placed call rings: when it is not allowed, asked for a later time, or placed before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formant_provider.api.client import CREATE_CALL
from formant_provider.api.errors import CallNotAllowed, CallOutcomeUnknown, InvalidInput, SendAborted
from formant_provider.calling_window import CallingWindow
from formant_provider.core.calls.placement import Result
from formant_provider.core.hours.opening_hours import Hours, allowed_at
from formant_provider.core.ledger import Sent
from formant_provider.sandbox import Fault
from support.ledgers import CALL, NOON, NUMBER, MemoryLedger, Start, Tries, call_to, starting

HOUR = 3600
MORNING = NOON + timedelta(hours=21)  # of the next day
# Open when a try begins at noon, for one hour.
LUNCH = CallingWindow("09:00", "13:00", timezone="UTC").hours(NUMBER)

When = Callable[[datetime | None, datetime], datetime | None]


def within(hours: Hours, on_closed: str = "schedule") -> When:
    return lambda asked, now: allowed_at(hours, asked, now=now, on_closed=on_closed)


def never(_asked: datetime | None, _now: datetime) -> None:
    raise CallNotAllowed("It is late", reason="late")


def in_doubt(start: Start, fault: Fault, **tries: Any) -> Tries:
    """A call that was sent at noon, without a clear answer; now it is three o'clock."""
    task = start(sends=1, lookup_timeout_s=0, **tries)
    task.sandbox.inject(CREATE_CALL, fault)
    assert task.fail(when=within(LUNCH)).maybe_placed
    task.sandbox.advance(3 * HOUR)
    return task


def test_what_is_not_allowed_is_not_sent(start: Start) -> None:
    """Nothing leaves, and the next try knows that nothing did."""
    task = start()
    error = task.fail(when=never)
    assert isinstance(error, CallNotAllowed)
    assert (error.maybe_placed, task.keys, task.ledger.last.sent) == (False, [], Sent.NEVER)
    assert task.place().result is Result.PLACED


def test_a_ledger_that_cannot_be_written_does_not_hide_why(start: Start) -> None:
    """That nothing was sent is good to know, and no condition for sending nothing."""
    task = start(ledger=MemoryLedger(fails_at=[1]))
    assert isinstance(task.fail(when=never), CallNotAllowed)


@pytest.mark.parametrize("when", [never, within(LUNCH, "skip"), within(LUNCH, "fail")])
def test_a_doubt_is_looked_into_when_a_call_is_not_allowed(when: When, start: Start) -> None:
    """An earlier try may have placed a call: the call is looked for and found, and nothing is sent."""
    task = in_doubt(start, Fault.DROP_AFTER)
    assert task.place(when=when).result is Result.FOUND
    assert (task.rings, len(task.keys)) == (1, 1)


def test_a_doubt_is_sent_again_for_the_next_opening(start: Start) -> None:
    """With the same key: if nothing came of the first send, the phone rings in the morning."""
    task = in_doubt(start, Fault.DROP_BEFORE)
    placement = task.place(when=within(LUNCH))
    assert (placement.result, placement.since) == (Result.PLACED, MORNING)
    assert len(set(task.keys)) == 1
    assert [call.starts_at for call in task.sandbox.calls] == [MORNING]


def test_a_doubt_that_was_placed_at_once_is_found_at_its_time(start: Start) -> None:
    """The vendor refuses the send for the morning, and the call is looked for from noon on."""
    task = in_doubt(start, Fault.DROP_AFTER)
    placement = task.place(when=within(LUNCH))
    assert (placement.result, placement.since, task.rings) == (Result.FOUND, NOON, 1)
    assert placement.receipt is not None
    assert (placement.receipt.status, placement.receipt.scheduled_for) == ("initiated", None)


def test_a_call_that_was_moved_is_waited_for_at_its_new_time(start: Start) -> None:
    """Its answer was lost, so it is unconfirmed; its conversation begins in the morning and not before."""
    task = start(lookup_timeout_s=5)
    task.sandbox.advance(3 * HOUR)
    task.sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    placement = task.place(when=within(LUNCH))
    assert (placement.result, placement.since) == (Result.UNCONFIRMED, MORNING)
    again = task.place(when=within(LUNCH))
    assert (again.result, again.since) == (Result.UNCONFIRMED, MORNING)
    task.sandbox.advance(22 * HOUR)
    found = task.place(when=within(LUNCH))
    assert found.result is Result.FOUND
    assert [call.starts_at for call in task.sandbox.calls] == [MORNING]


def test_a_stranger_s_call_is_found_at_the_time_it_was_placed(start: Start) -> None:
    """Another task with the same name rang at noon: ours, meant for the morning, does not look there only."""
    task = start(taken_since=NOON - timedelta(hours=1))
    with task.client() as client:
        client.create_call(CALL)
    task.sandbox.advance(3 * HOUR)
    assert task.place(when=within(LUNCH)).result is Result.FOUND
    assert task.rings == 1


def test_hours_that_end_between_two_sends_end_the_try(start: Start) -> None:
    """The last minute has begun when the second send is due: it is aborted, and the retry waits."""
    task = start(oversleeps_s=HOUR)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    error = task.fail(when=within(LUNCH))
    assert isinstance(error, SendAborted)
    assert (len(task.keys), task.ledger.last.sent) == (1, Sent.REFUSED)
    task.place(when=within(LUNCH))
    assert [call.starts_at for call in task.sandbox.calls] == [MORNING]


def test_a_moment_that_passes_between_two_sends_ends_the_try(start: Start) -> None:
    """The opening that was asked for is gone; nothing is sent for the past."""
    task = start(oversleeps_s=22 * HOUR)
    task.sandbox.advance(3 * HOUR)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    assert isinstance(task.fail(when=within(LUNCH)), SendAborted)
    assert task.place(when=within(LUNCH)).since > MORNING
    assert task.rings == 1


def test_hours_that_never_come_are_refused_unless_in_doubt(start: Start) -> None:
    """The input is wrong, and nothing is sent; with a doubt the call is looked for all the same."""
    closed = CallingWindow(
        holidays=[MORNING.date() + timedelta(days=n) for n in range(-1, 40)], timezone="UTC"
    )
    when = within(closed.hours(NUMBER))
    assert isinstance(start().fail(when=when), InvalidInput)
    assert in_doubt(start, Fault.DROP_AFTER).place(when=when).result is Result.FOUND


def test_a_further_call_waits_for_the_hours_too(start: Start) -> None:
    """After a busy line the next try rings again, within the hours."""
    task = start(call=call_to("02"), redial_on=frozenset({"busy"}))
    task.place(when=within(LUNCH))
    task.sandbox.advance(3 * HOUR)
    task.place(when=within(LUNCH))
    assert [call.starts_at for call in task.sandbox.calls] == [NOON, MORNING]


FAULTS = [None, Fault.DROP_AFTER, Fault.DROP_BEFORE, Fault.RATE_LIMIT, Fault.ERROR_503_AFTER]
steps = st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 2000)), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(
    steps=steps,
    on_closed=st.sampled_from(["schedule", "skip", "fail"]),
    asked=st.none() | st.integers(0, 50).map(lambda hours: NOON + timedelta(hours=hours)),
    oversleeps_s=st.sampled_from([0, 1800]),
)
def test_no_phone_ever_rings_outside_the_hours(
    steps: list[tuple[Fault | None, int]], on_closed: str, asked: datetime | None, oversleeps_s: int
) -> None:
    """Whatever fails and however late the next try comes: one ring at most, and within the hours."""
    with starting() as start:
        task = start(call=call_to("00", scheduled_for=asked), lookup_timeout_s=0, oversleeps_s=oversleeps_s)
        for fault, minutes in steps:
            if fault:
                task.sandbox.inject(CREATE_CALL, fault)
            with suppress(CallNotAllowed, InvalidInput, SendAborted, CallOutcomeUnknown):
                task.place(when=within(LUNCH, on_closed))
            task.sandbox.advance(minutes * 60)
        moments = [call.starts_at for call in task.sandbox.calls]
        assert len(moments) <= 1
        assert all(LUNCH.opening(moment, moment) for moment in moments)


def test_what_was_placed_is_not_judged(start: Start) -> None:
    """With a receipt in the ledger a further try gives it back, however late it is."""
    task = start()
    first = task.place()
    assert task.place(when=never) == first


def test_a_doubt_that_is_not_cleared_up_is_not_denied(start: Start) -> None:
    """Skipping would deny a call that may have been placed: it fails, and says so."""
    task = in_doubt(start, Fault.DROP_BEFORE)
    error = task.fail(when=never)
    assert isinstance(error, CallOutcomeUnknown)
    assert (error.maybe_placed, task.rings) == (True, 0)


@pytest.mark.parametrize("when", [never, within(LUNCH, "skip"), within(LUNCH, "fail")])
def test_a_further_call_that_is_held_back_leaves_the_last_one_s_receipt(when: When, start: Start) -> None:
    """Nobody is called again, and the call that was placed is not denied."""
    task = start(call=call_to("02"), redial_on=frozenset({"busy"}))
    first = task.place(when=within(LUNCH))
    task.sandbox.advance(3 * HOUR)
    assert task.place(when=when) == first
    assert task.rings == 1
