"""What hinders those who wait in one event loop, and whom it does not."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import LIST_CONVERSATIONS
from formant_provider.api.errors import AuthenticationFailed, InvalidInput
from formant_provider.core.conversations.feed import Feed
from formant_provider.core.polling.async_poller import Poller
from formant_provider.core.polling.pacing import RateLimiter
from formant_provider.core.polling.waits import utc_now
from formant_provider.sandbox import Fault
from support.feeds import AGENT, outcome_of
from support.triggerer import LATER, LONG_OVER, Triggerer, cancelled

# Until its timeout.
HANGS_FOR_S = 4.0


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


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (None, (3, 3)),  # the key is refused
        (InvalidInput("password", "is missing"), (0, 5)),
        (LookupError("no such connection"), (0, 5)),
    ],
    ids=str,
)
def test_an_error_that_stays_reaches_everybody(
    error: Exception | None, asked: tuple[int, int], triggerer: Any
) -> None:
    """A key refused three times, or a connection gone five times in a row; who comes later tries anew."""
    t = triggerer()
    calls = [t.world.place("02") for _ in range(3)]
    t.sandbox.advance(10)
    t.fails_to_open, t.api_key = error, t.api_key if error else "wrong"

    async def story() -> None:
        outcomes = await asyncio.gather(*(t.wait(call, 0.01) for call in calls), return_exceptions=True)
        assert (
            outcomes == [error] * 3 if error else {type(each) for each in outcomes} == {AuthenticationFailed}
        )
        assert (t.lists, t.openings) == asked
        t.fails_to_open, t.api_key = None, t.sandbox.api_key
        assert outcome_of(await t.wait(calls[0], 0.01)) == calls[0].conversation_id

    t.run(story)


@pytest.mark.parametrize(
    ("error", "times"), [(RuntimeError("secret-4711"), 8), (LookupError("secret-4711"), 3)], ids=str
)
def test_a_connection_that_cannot_be_read_for_a_moment_ends_no_wait(
    error: Exception, times: int, triggerer: Any, caplog: Any
) -> None:
    """Where connections are kept may be away; all who wait continue, and nothing of it is in the log."""
    t = triggerer()
    calls = [t.world.place("02") for _ in range(20)]
    t.sandbox.advance(10)
    t.fails_to_open = error

    async def story() -> None:
        waits = [t.wait(call, 0.02 if times < 5 else 0.001) for call in calls]
        await t.until(lambda: t.openings == times)
        t.fails_to_open = None
        waiters = await asyncio.gather(*waits)
        assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id for call in calls]

    t.run(story)
    assert t.lists == 1
    assert type(error).__name__ in caplog.text
    assert "secret-4711" not in caplog.text


def test_a_first_look_after_the_deadline_may_take_its_time(triggerer: Any) -> None:
    """A 429 or a slow page is waited for, so a triggerer that was away still finds the conversation."""

    def look(fault: Fault, **options: Any) -> None:
        t = triggerer()
        t.read_timeout_s = 30.0
        call = t.world.place("02")
        t.sandbox.advance(10)
        t.sandbox.inject(LIST_CONVERSATIONS, fault, **options)

        async def story() -> None:
            assert outcome_of(await t.wait(call, LATER, timeout_s=-100)) == call.conversation_id

        t.run(story)

    with ThreadPoolExecutor() as at_once:  # either takes longer than ten seconds
        limited = at_once.submit(look, Fault.RATE_LIMIT, retry_after=12)
        slow = at_once.submit(look, Fault.HANG_AFTER, seconds=11)
    limited.result()
    slow.result()


def test_servers_that_hang_hold_up_no_other_poller(triggerer: Any) -> None:
    """Twelve agents of a host that hangs, and a healthy one in the same event loop: it is served at once."""
    hanging, healthy = triggerer(), triggerer()
    hanging.read_timeout_s = 3.0
    hanging.sandbox.inject(LIST_CONVERSATIONS, Fault.HANG_BEFORE, times=100, seconds=2)
    call = healthy.world.place("02")
    healthy.sandbox.advance(10)

    async def story() -> None:
        pollers = [Poller(Feed(AGENT, utc_now), RateLimiter(utc_now), hanging.open_client) for _ in range(12)]
        watch = hanging.world.watch(since=utc_now() - timedelta(hours=1), trace_id="t-1")
        later = utc_now() + timedelta(seconds=60)
        waits = [asyncio.create_task(poller.wait(watch, later)) for poller in pollers]
        await hanging.until(lambda: hanging.lists == 12)
        begun = time.monotonic()
        assert outcome_of(await healthy.wait(call)) == call.conversation_id
        assert time.monotonic() - begun < 1
        assert sum(thread.name.startswith("formant-poll") for thread in threading.enumerate()) <= 13
        await cancelled(*waits)

    healthy.run(story)


def test_a_poller_that_rests_holds_no_thread(triggerer: Any) -> None:
    """Neither between two polls, nor when nobody waits."""
    t = triggerer()
    call = t.world.place()

    async def story() -> None:
        waiting = t.wait(call, LATER)
        await t.until(lambda: t.lists == 1)
        await asyncio.sleep(0.2)
        assert not any(thread.name.startswith("formant-poll") for thread in threading.enumerate())
        await cancelled(waiting)

    t.run(story)


def longest_holds_s(t: Triggerer) -> tuple[float, float]:
    """For how long five hundred who wait and a server that hangs hold the loop: in CPU, and in all."""
    t.read_timeout_s = HANGS_FOR_S
    calls = [t.world.place(f"{n % 6:02}") for n in range(500)]
    t.sandbox.advance(LONG_OVER)
    t.sandbox.inject(LIST_CONVERSATIONS, Fault.HANG_BEFORE, seconds=2 * HANGS_FOR_S)
    cpu, gaps = list[float](), list[float]()

    async def tick() -> None:
        while True:
            used, begun = time.thread_time(), time.monotonic()
            await asyncio.sleep(0.005)
            cpu.append(time.thread_time() - used)
            gaps.append(time.monotonic() - begun)

    async def story() -> None:
        ticker = asyncio.create_task(tick())
        waiters = await asyncio.gather(*(t.wait(call, 0.05, timeout_s=15) for call in calls))
        assert all(waiter.outcome for waiter in waiters)
        await cancelled(ticker)

    t.run(story)
    assert len(gaps) > 50
    return max(cpu), max(gaps)


def test_a_server_that_hangs_does_not_block_the_event_loop(triggerer: Any) -> None:
    """With five hundred who wait and a server that holds its answers, the loop is never held for 0.2 s.

    That is CPU, since a busy machine takes more time for it. No request holds the loop: that would last until
    its timeout.
    """
    cpu_s, longest_s = longest_holds_s(triggerer())
    assert cpu_s < 0.2
    assert longest_s < HANGS_FOR_S
