"""Many who wait in one event loop. Clocks are real here, and so short that nobody notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import AuthenticationFailed, FormantError
from formant_provider.api.feed import Feed
from formant_provider.api.pace import Pace
from formant_provider.api.poller import Poller, utc_now
from formant_provider.api.waiters import Waiter, Watch
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.calls import Call
from support.feeds import AGENT, ONCE, Waiting, outcome_of

SOON, LATER = 0.05, 30.0
LONG_OVER = 200


class Triggerer:
    """A poller in an event loop, and the sandbox it looks at, whose clock begins with the real time."""

    def __init__(self, sandbox: Sandbox, world: Waiting) -> None:
        self.sandbox = sandbox
        self.world = world
        self.api_key = sandbox.api_key
        self.opened: list[FormantClient] = []
        self.fails_to_open: Exception | None = None
        self.read_timeout_s = 2.0
        self.poller: Poller[Watch, Waiter]

    async def open_client(self) -> FormantClient:
        await asyncio.sleep(0)
        if self.fails_to_open:
            raise self.fails_to_open
        config = ClientConfig(self.sandbox.base_url, self.api_key, 1.0, self.read_timeout_s)
        self.opened.append(FormantClient(config, retry_policy=ONCE))
        return self.opened[-1]

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a story in an event loop of its own, and see that nothing is left behind."""

        async def whole() -> None:
            self.poller = Poller(Feed(AGENT, utc_now), Pace(utc_now, lambda: 0.0), self.open_client)
            await asyncio.wait_for(story(), 20)
            await asyncio.sleep(0.01)
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(whole())

    def wait(
        self, call: Call, interval: float = SOON, timeout_s: float = 10.0, **fields: Any
    ) -> asyncio.Task[Waiter]:
        watch = self.world.watch(call, poll_interval_s=interval, **fields)
        return asyncio.create_task(self.poller.wait(watch, utc_now() + timedelta(seconds=timeout_s)))

    @property
    def lists(self) -> int:
        return sum(seen.endpoint == LIST_CONVERSATIONS for seen in self.sandbox.requests)

    @property
    def details(self) -> int:
        return sum(seen.endpoint == GET_CONVERSATION for seen in self.sandbox.requests)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
def triggerer() -> Iterator[Callable[..., Triggerer]]:
    with ExitStack() as running:

        def start(**settings: Any) -> Triggerer:
            sandbox = Sandbox(**{"speed": 0, "rate_limit": None, "record_appears": "start", **settings})
            running.enter_context(sandbox)
            config = ClientConfig(sandbox.base_url, sandbox.api_key)
            return Triggerer(sandbox, Waiting(sandbox, running.enter_context(FormantClient(config))))

        yield start


def test_many_who_wait_cost_one_poll(triggerer: Any) -> None:
    """A hundred calls that are over: one list, and one detail each."""
    t = triggerer()
    calls = [t.world.place(f"{n % 6:02}") for n in range(100)]
    t.sandbox.advance(LONG_OVER)

    async def story() -> None:
        waiters = await asyncio.gather(*(t.wait(call, LATER) for call in calls))
        assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]

    t.run(story)
    assert (t.lists, t.details) == (1, 100)


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
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

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
        patient.cancel()
        await asyncio.gather(patient, hasty, return_exceptions=True)

    t.run(story)


def test_a_call_whose_receipt_was_lost_is_recognised_by_its_recipient(triggerer: Any) -> None:
    """With the key of the client that polls."""
    t = triggerer()
    call = t.world.place("02")
    t.sandbox.advance(10)

    async def story() -> None:
        assert outcome_of(await t.wait(call, trace_id=None)) == call.conversation_id

    t.run(story)


def test_a_wait_that_is_cancelled_is_forgotten(triggerer: Any) -> None:
    """Also in the middle of a request, whose answer is nobody's then."""
    t = triggerer()
    call = t.world.place()
    t.sandbox.inject(LIST_CONVERSATIONS, Fault.HANG_AFTER, seconds=0.1)

    async def story() -> None:
        waiting = t.wait(call)
        await t.until(lambda: t.lists == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
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


def test_a_deadline_that_has_passed_leaves_one_look(triggerer: Any) -> None:
    """So a triggerer that was down for the rest of the wait still finds the conversation."""
    t = triggerer()
    over, running = t.world.place("02"), t.world.place()
    t.sandbox.advance(60)

    async def story() -> None:
        waiters = await asyncio.gather(*(t.wait(call, LATER, timeout_s=-100) for call in (over, running)))
        assert [outcome_of(waiter) for waiter in waiters] == [over.conversation_id, None]

    t.run(story)
    assert t.lists == 1


@pytest.mark.parametrize("fault", [Fault.ERROR_500_BEFORE, Fault.DROP_AFTER, Fault.GARBAGE])
def test_trouble_slows_down_and_fails_nobody(fault: Fault, triggerer: Any) -> None:
    """All who wait go on waiting, and are served when it is over."""
    t = triggerer()
    calls = [t.world.place("02") for _ in range(5)]
    t.sandbox.advance(10)
    t.sandbox.inject(LIST_CONVERSATIONS, fault, times=4)

    async def story() -> None:
        waiters = await asyncio.gather(*(t.wait(call, 0.01) for call in calls))
        assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]

    t.run(story)
    assert t.lists == 5


def test_no_request_leaves_before_the_time_that_was_named(triggerer: Any) -> None:
    """Whoever joins or leaves meanwhile."""
    t = triggerer()
    calls = [t.world.place("02") for _ in range(10)]
    t.sandbox.advance(10)
    t.sandbox.inject(LIST_CONVERSATIONS, Fault.RATE_LIMIT, retry_after=1)

    async def story() -> None:
        waiting = []
        begun = time.monotonic()
        for call in calls:
            waiting.append(t.wait(call, 0.01))
            await asyncio.sleep(0.04)
        waiting.pop(0).cancel()
        assert t.lists == 1
        await asyncio.gather(*waiting)
        assert time.monotonic() - begun >= 1

    t.run(story)
    # The poll that was refused looks for the first one alone, who was there when it began.
    assert t.lists == 3


def test_an_error_that_stays_reaches_everybody(triggerer: Any) -> None:
    """A key that is refused three times fails all who wait, and not who comes with a good key later."""
    t = triggerer()
    calls = [t.world.place("02") for _ in range(3)]
    t.sandbox.advance(10)
    t.api_key = "wrong"

    async def story() -> None:
        outcomes = await asyncio.gather(*(t.wait(call, 0.01) for call in calls), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [AuthenticationFailed] * 3
        assert t.lists == 3
        t.api_key = t.sandbox.api_key
        assert outcome_of(await t.wait(calls[0], 0.01)) == calls[0].conversation_id

    t.run(story)


def test_a_key_that_was_changed_is_used_by_the_next_poll(triggerer: Any) -> None:
    """Each poll opens a client of its own; one refusal is no failure."""
    t = triggerer()
    call = t.world.place("02")
    t.sandbox.advance(10)
    t.api_key = "old"

    async def story() -> None:
        waiting = t.wait(call, 0.02)
        await t.until(lambda: t.lists == 1)
        t.api_key = t.sandbox.api_key
        assert outcome_of(await waiting) == call.conversation_id

    t.run(story)
    assert len(t.opened) >= 2


@pytest.mark.parametrize("error", [FormantError("no such connection"), ValueError("odd")])
def test_a_client_that_cannot_be_opened_is_everybody_s_error(error: Exception, triggerer: Any) -> None:
    """Whatever it is; who comes later tries anew."""
    t = triggerer()
    calls = [t.world.place("02") for _ in range(3)]
    t.sandbox.advance(10)
    t.fails_to_open = error

    async def story() -> None:
        outcomes = await asyncio.gather(*(t.wait(call) for call in calls), return_exceptions=True)
        assert outcomes == [error] * 3
        t.fails_to_open = None
        assert outcome_of(await t.wait(calls[0])) == calls[0].conversation_id

    t.run(story)


def test_a_server_that_hangs_does_not_block_the_event_loop(triggerer: Any) -> None:
    """With five hundred who wait and a server that holds its answers, the loop is never held for 0.2 s."""
    t = triggerer()
    t.read_timeout_s = 0.5
    calls = [t.world.place(f"{n % 6:02}") for n in range(500)]
    t.sandbox.advance(LONG_OVER)
    t.sandbox.inject(LIST_CONVERSATIONS, Fault.HANG_BEFORE, seconds=3)
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0.005)
            gaps.append(time.monotonic() - begun)

    async def story() -> None:
        ticker = asyncio.create_task(tick())
        waiters = await asyncio.gather(*(t.wait(call, 0.05, timeout_s=15) for call in calls))
        ticker.cancel()
        assert all(waiter.outcome for waiter in waiters)
        await asyncio.gather(ticker, return_exceptions=True)

    t.run(story)
    assert len(gaps) > 50
    assert max(gaps) < 0.2


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
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

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
