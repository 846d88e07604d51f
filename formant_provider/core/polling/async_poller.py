"""Polls for many waiters in one event loop, which it never blocks: requests are sent by threads.

Each poller has a thread of its own while it asks, so one whose server hangs holds up no other, and nothing
else in this event loop. Questions for news, one a second for each poller, share a few threads that stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic

from formant_provider.api.errors import InvalidInput
from formant_provider.core.polling.loop import OpenClient, Pause, Polling, Step, Steps
from formant_provider.core.polling.news import Answer, AskNews
from formant_provider.core.polling.pacing import RateLimiter
from formant_provider.core.polling.waits import BaseFeed, WaiterT, utc_now

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

# The longest sleep by one clock alone: the wall clock may be set, and a machine be put to sleep.
LONGEST_SLEEP_S = 60.0
# So many go on in one pass of the event loop: what Airflow does after a wait takes some tenths of a ms.
TOLD_AT_ONCE = 20
# A store that hangs must not keep polls from the vendor: after so long it counts as one that does not answer.
NEWS_TIMEOUT_S = 10.0
# A store that hangs holds one thread for each poller, and must leave some to the others.
_NEWS_THREADS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="formant-news")


class Poller(Generic[WaiterT]):
    """Serves all who wait at one feed. It polls while somebody waits, and rests when nobody does.

    Belongs to one event loop, and is the only one that polls its feed.

    :param limiter: shared by all pollers with the same API key.
    :param open_client: returns a client that sends every request once; called anew for every poll, so that a
        connection that was changed is used.
    """

    def __init__(
        self,
        feed: BaseFeed[WaiterT],
        limiter: RateLimiter,
        open_client: Callable[[], Awaitable[FormantClient]],
        lasting: tuple[type[Exception], ...] = (InvalidInput,),
    ) -> None:
        self._feed = feed
        self._polling = Polling(feed, limiter, utc_now, lasting)
        self._open_client = open_client
        self._changed = asyncio.Event()
        self._futures: dict[WaiterT, asyncio.Future[None]] = {}
        self._ended: deque[tuple[WaiterT, Exception | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._on_done = self._tell  # made once: a bound method for each would be kept by each
        self._task: asyncio.Task[None] | None = None
        self._asked: Future[Answer | str] | None = None

    async def wait(self, watch: Any, deadline: datetime) -> WaiterT:
        """Wait until what is watched is over or the time is up; what came of it is in the waiter.

        :raises Exception: as for :func:`~formant_provider.core.polling.loop.wait_for`.
        """
        waiter = self._feed.join(watch, self._on_done)
        waiter.deadline = deadline
        future = self._futures[waiter] = asyncio.get_running_loop().create_future()
        self._watch_deadlines([waiter])
        self._wake()
        try:
            await future
        finally:
            del self._futures[waiter]
            self._feed.leave(waiter)
            self._rest()
        if waiter.error:
            raise waiter.error
        return waiter

    def _watch_deadlines(self, waiters: Iterable[WaiterT]) -> None:
        """Come back when the first of them gives up, by the wall clock: a machine may be put to sleep.

        One timer serves all: a timer for each would take as much memory as the rest of a wait.
        """
        loop, now, soonest_s = asyncio.get_running_loop(), utc_now(), math.inf
        for waiter in waiters:
            left_s = (waiter.gives_up_at() - now).total_seconds()
            # A first look lets the deadline count again, so none is waited for too long.
            soonest_s = min(soonest_s, left_s, LONGEST_SLEEP_S if waiter.looks else 1.0)
        at = loop.time() + soonest_s
        if at < math.inf and (self._timer is None or at < self._timer.when()):
            self._stop_timer()
            self._timer = loop.call_at(at, self._end_overdue)

    def _end_overdue(self) -> None:
        self._timer, now = None, utc_now()
        for waiter in self._futures:
            if waiter.gives_up_at() <= now:
                self._tell(waiter)
        self._watch_deadlines(waiter for waiter in self._futures if waiter.gives_up_at() > now)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self, waiter: WaiterT, error: Exception | None = None) -> None:
        """Let one go on whose wait is over, or whom an error has ended; after those who were told before."""
        self._ended.append((waiter, error))
        if len(self._ended) == 1:
            asyncio.get_running_loop().call_soon(self._tell_some)

    def _tell_some(self) -> None:
        """Let some go on in each pass of the event loop: if all did at once, others would have to wait."""
        for _ in range(min(TOLD_AT_ONCE, len(self._ended))):
            waiter, error = self._ended.popleft()
            future = self._futures.get(waiter)
            if future is None or future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
        if self._ended:
            asyncio.get_running_loop().call_soon(self._tell_some)

    def _wake(self) -> None:
        self._changed.set()
        if self._task is None or self._task.done():
            # A context of its own: what is logged of a poll is not one waiter's alone.
            self._task = asyncio.create_task(self._poll(), context=contextvars.Context())

    def _rest(self) -> None:
        if not self._futures and self._task:
            self._task.cancel()
            self._task = None
            self._stop_timer()

    async def _poll(self) -> None:
        """Poll until nobody waits; an error that does not pass is everybody's."""
        try:
            with contextlib.closing(self._polling.steps()) as steps:
                await self._carry_out(steps)
        except Exception as error:  # whatever it is, those who wait must be told
            for waiter in self._futures:
                self._tell(waiter, error)

    async def _carry_out(self, steps: Steps) -> None:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                await self._sleep(step)
                step = next(steps)
            elif isinstance(step, AskNews):
                step = steps.send(await self._answer_to(step))
            else:
                step = await self._request(step, steps)

    async def _request(self, step: Step, steps: Steps) -> Step:
        """Carry out a step and what follows up to the next pause, in one thread, which is then given up."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="formant-poll")
        try:
            while not isinstance(step, Pause | AskNews):
                if isinstance(step, OpenClient):
                    step = steps.send(await self._opened())
                else:
                    step = steps.send(await loop.run_in_executor(thread, step))
        finally:
            thread.shutdown(wait=False)
        return step

    async def _answer_to(self, question: AskNews) -> Answer | str:
        """Ask, unless the last question is under way yet: a store that hangs is asked one thing at a time."""
        if self._asked is None or self._asked.done():
            self._asked = _NEWS_THREADS.submit(question.ask)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.wrap_future(self._asked), NEWS_TIMEOUT_S)
        return f"The call store has not answered within {NEWS_TIMEOUT_S:g} s"

    async def _opened(self) -> FormantClient | Exception:
        try:
            return await self._open_client()
        except Exception as error:  # a secrets backend may raise anything
            return error

    async def _sleep(self, pause: Pause) -> None:
        """Sleep, but no longer than until somebody joins, unless the pause is fixed."""
        if pause.is_fixed:
            await asyncio.sleep(pause.seconds)
            return
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), min(pause.seconds, LONGEST_SLEEP_S))
