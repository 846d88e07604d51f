"""Many who wait in one event loop. Clocks are real here, and so short that nobody notices."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS
from formant_provider.sandbox import Fault
from support.feeds import outcome_of
from support.triggerer import LATER, LONG_OVER, SOON, cancelled


def test_polls_keep_their_interval(triggerer: Any) -> None:
    """Many who wait for what does not come ask as often as one."""
    t = triggerer()
    calls = [t.world.place() for _ in range(20)]
    begun = time.monotonic()

    async def story() -> None:
        waiters = await asyncio.gather(*(t.wait(call, 0.1, timeout_s=0.55) for call in calls))
        assert not any(waiter.outcome for waiter in waiters)
        assert min(waiter.looks for waiter in waiters) >= 2

    t.run(story)
    assert 2 <= t.lists <= (time.monotonic() - begun) / 0.1 + 1


def test_who_joins_during_a_poll_is_served_by_the_next(triggerer: Any) -> None:
    """And who was there is not held up."""
    t = triggerer()
    first, second = t.world.place(), t.world.place()
    t.sandbox.advance(LONG_OVER)
    t.sandbox.inject(GET_CONVERSATION, Fault.HANG_AFTER, seconds=0.1)

    async def story() -> None:
        one = t.wait(first)
        await t.until(lambda: t.details == 1)
        two = t.wait(second)
        assert outcome_of(await one) == first.conversation_id
        assert outcome_of(await two) == second.conversation_id

    t.run(story)
    assert t.lists == 2


def test_who_joins_an_idle_poller_waits_for_the_interval_of_the_hastiest(triggerer: Any) -> None:
    """A newcomer shortens the pause that is going on."""
    t = triggerer()
    slow, quick = t.world.place(), t.world.place("02")

    async def story() -> None:
        waiting = t.wait(slow, LATER, timeout_s=5)
        await t.until(lambda: t.lists == 1)
        t.sandbox.advance(10)
        assert outcome_of(await t.wait(quick, SOON)) == quick.conversation_id
        await cancelled(waiting)

    t.run(story)
    assert t.lists == 2


def test_who_leaves_during_a_poll_is_not_missed(triggerer: Any) -> None:
    """The others are served by the same poll."""
    t = triggerer()
    calls = [t.world.place(), t.world.place()]
    t.sandbox.advance(LONG_OVER)
    t.sandbox.inject(LIST_CONVERSATIONS, Fault.HANG_AFTER, seconds=0.1)

    async def story() -> None:
        leaving, staying = [t.wait(call) for call in calls]
        await t.until(lambda: t.lists == 1)
        leaving.cancel()
        assert outcome_of(await staying) == calls[1].conversation_id
        assert leaving.cancelled()

    t.run(story)
    assert t.lists == 1


def test_nobody_waits_and_nothing_is_asked(triggerer: Any) -> None:
    """When the last one has left the poller rests, and the next one finds the interval going on."""
    t = triggerer()
    call = t.world.place("02")
    t.sandbox.advance(10)

    async def story() -> None:
        await t.wait(call, 0.3)
        before = t.lists, t.details
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1 + 1
        assert (t.lists, t.details) == before == (1, 1)
        again = t.wait(call, 0.3)
        await asyncio.sleep(0.15)
        assert t.lists == 1
        assert outcome_of(await again) == call.conversation_id

    t.run(story)
    assert t.lists == 2


def test_the_interval_of_who_left_is_forgotten(triggerer: Any) -> None:
    """When the hastiest has gone, the others are looked for as seldom as they asked."""
    t = triggerer()
    calls = [t.world.place(), t.world.place()]

    async def story() -> None:
        patient, hasty = t.wait(calls[0], LATER), t.wait(calls[1], 0.02)
        await t.until(lambda: t.lists >= 3)
        hasty.cancel()
        await asyncio.sleep(0.05)
        before = t.lists
        await asyncio.sleep(0.1)
        assert t.lists == before
        await cancelled(patient, hasty)

    t.run(story)


def test_a_wait_that_is_cancelled_is_forgotten(triggerer: Any) -> None:
    """Also in the middle of a request, whose answer is nobody's then."""
    t = triggerer()
    call = t.world.place()
    t.sandbox.inject(LIST_CONVERSATIONS, Fault.HANG_AFTER, seconds=0.1)

    async def story() -> None:
        waiting = t.wait(call)
        await t.until(lambda: t.lists == 1)
        await cancelled(waiting)
        await asyncio.sleep(0.2)
        assert t.lists == 1
        t.sandbox.advance(LONG_OVER)
        assert outcome_of(await t.wait(call)) == call.conversation_id

    t.run(story)
    assert len(t.opened) == 2


def test_the_time_is_up(triggerer: Any) -> None:
    """A wait ends at its deadline, without an error and without an outcome."""
    t = triggerer()
    call = t.world.place()

    async def story() -> None:
        begun = time.monotonic()
        waiter = await t.wait(call, LATER, timeout_s=0.2)
        assert waiter.outcome is None
        # Before the first look the deadline is noticed once a second.
        assert 0.15 < time.monotonic() - begun < 1.5

    t.run(story)


def test_a_scheduled_call_is_not_asked_for_early(triggerer: Any) -> None:
    """While the only one waits for a call to come, nothing is asked; a newcomer is served at once."""
    t = triggerer()
    to_come = t.world.place(scheduled_for=datetime.now(UTC) + timedelta(hours=1))
    call = t.world.place("02")
    t.sandbox.advance(10)

    async def story() -> None:
        waiting = t.wait(to_come)
        await asyncio.sleep(0.1)
        assert t.lists == 0
        assert outcome_of(await t.wait(call)) == call.conversation_id
        await cancelled(waiting)

    t.run(story)
    assert t.lists == 1


def test_clients_are_closed_when_polls_rest(triggerer: Any) -> None:
    """One client at a time, and none while nothing is asked."""
    t = triggerer()
    call = t.world.place()

    async def story() -> None:
        await t.wait(call, 0.05, timeout_s=0.3)

    t.run(story)
    assert len(t.opened) == t.lists >= 2
