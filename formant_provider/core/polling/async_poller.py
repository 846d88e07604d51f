"""Polls for many waiters in one event loop, which it never blocks: requests are sent by threads.

Each poller has a thread of its own while it asks, so one whose server hangs holds up no other, and nothing
else in this event loop. Questions for news, one a second for each poller, share a few threads that stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
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
        self._task: asyncio.Task[None] | None = None
        self._asked: Future[Answer | str] | None = None

    async def wait(self, watch: Any, deadline: datetime) -> WaiterT:
        """Wait until what is watched is over or the time is up; what came of it is in the waiter.

        :raises Exception: as for :func:`~formant_provider.core.polling.loop.wait_for`.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = self._feed.join(watch, on_done=lambda: _settle(future))
        waiter.deadline = deadline
        self._futures[waiter] = future
        self._wake()
        try:
            await self._until(waiter, future, deadline)
        finally:
            del self._futures[waiter]
            self._feed.leave(waiter)
            self._rest()
        if waiter.error:
            raise waiter.error
        return waiter

    @staticmethod
    async def _until(waiter: WaiterT, future: asyncio.Future[None], deadline: datetime) -> None:
        """Wait by the wall clock, so that a machine that was put to sleep does not start the wait again."""
        began = utc_now()
        while not future.done():
            left_s = (waiter.gives_up_at(deadline, began) - utc_now()).total_seconds()
            if left_s <= 0:
                return
            # A first look lets the deadline count again, so none is waited for too long.
            await asyncio.wait([future], timeout=min(left_s, LONGEST_SLEEP_S if waiter.looks else 1.0))
        if future.done():
            future.result()

    def _wake(self) -> None:
        self._changed.set()
        if self._task is None or self._task.done():
            # A context of its own: what is logged of a poll is not one waiter's alone.
            self._task = asyncio.create_task(self._poll(), context=contextvars.Context())

    def _rest(self) -> None:
        if not self._futures and self._task:
            self._task.cancel()
            self._task = None

    async def _poll(self) -> None:
        """Poll until nobody waits; an error that does not pass is everybody's."""
        try:
            with contextlib.closing(self._polling.steps()) as steps:
                await self._carry_out(steps)
        except Exception as error:  # whatever it is, those who wait must be told
            for future in self._futures.values():
                if not future.done():
                    future.set_exception(error)

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


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
