"""Many who wait in one event loop. Clocks are real here, and so short that nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import InvalidInput
from formant_provider.core.conversations.feed import Feed
from formant_provider.core.conversations.waiters import Waiter
from formant_provider.core.polling.async_poller import Poller
from formant_provider.core.polling.pacing import RateLimiter
from formant_provider.core.polling.waits import utc_now
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.calls import Call
from support.feeds import AGENT, ONCE, Waiting

SOON, LATER = 0.05, 30.0
LONG_OVER = 200


class Triggerer:
    """A poller in an event loop, and the sandbox it looks at, whose clock begins with the real time."""

    def __init__(self, sandbox: Sandbox, world: Waiting) -> None:
        self.sandbox = sandbox
        self.world = world
        self.api_key = sandbox.api_key
        self.opened: list[FormantClient] = []
        self.openings = 0
        self.fails_to_open: Exception | None = None
        self.read_timeout_s = 30.0
        self.poller: Poller[Waiter]

    async def open_client(self) -> FormantClient:
        self.openings += 1
        await asyncio.sleep(0)
        if self.fails_to_open:
            raise self.fails_to_open
        config = ClientConfig(self.sandbox.base_url, self.api_key, read_timeout_s=self.read_timeout_s)
        self.opened.append(FormantClient(config, retry_policy=ONCE))
        return self.opened[-1]

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a story in an event loop of its own, and see that nothing is left behind."""

        async def whole() -> None:
            self.poller = Poller(
                Feed(AGENT, utc_now),
                RateLimiter(utc_now, lambda: 0.0),
                self.open_client,
                (InvalidInput, LookupError),
            )
            await asyncio.wait_for(story(), 60)
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


@contextmanager
def triggerers() -> Iterator[Callable[..., Triggerer]]:
    """Start sandboxes on a frozen clock, and a poller for each."""
    with ExitStack() as running:

        def start(**settings: Any) -> Triggerer:
            sandbox = Sandbox(**{"speed": 0, "rate_limit": None, "record_appears": "start", **settings})
            running.enter_context(sandbox)
            config = ClientConfig(sandbox.base_url, sandbox.api_key)
            return Triggerer(sandbox, Waiting(sandbox, running.enter_context(FormantClient(config))))

        yield start


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """End tasks, whatever they wait for."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
