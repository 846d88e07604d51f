"""A worker that waits on the sandbox's clock, as the only one or for many, and notes its pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.core.polling.loop import Polling, wait_for
from formant_provider.core.polling.pacing import RateLimiter
from formant_provider.core.polling.waits import BaseFeed
from formant_provider.sandbox import Sandbox
from support.feeds import ONCE
from support.ledgers import NOON
from support.scripted_server import Answer, ScriptedServer

HOUR = 3600.0


class Worker:
    """Polls one feed."""

    def __init__(self, feed: BaseFeed[Any], sandbox: Sandbox, jitter: float = 0.0) -> None:
        self.feed = feed
        self.sandbox = sandbox
        self.polling = Polling(feed, RateLimiter(sandbox.now, lambda: jitter), sandbox.now)
        self.base_url = sandbox.base_url
        self.pauses: list[float] = []

    def open_client(self) -> FormantClient:
        config = ClientConfig(self.base_url, self.sandbox.api_key)
        return FormantClient(config, retry_policy=ONCE)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.sandbox.advance(seconds)

    def wait_for(self, waiter: Any, timeout_s: float = HOUR) -> Any:
        now = self.sandbox.now
        deadline = now() + timedelta(seconds=timeout_s)
        wait_for(waiter, self.polling, self.open_client, deadline=deadline, now=now, sleep=self.sleep)
        return waiter

    def asked_at(self, endpoint: str | None = None) -> list[float]:
        """Return when requests arrived, in seconds since noon."""
        seen = [each for each in self.sandbox.requests if endpoint in {None, each.endpoint}]
        return [(each.at - NOON).total_seconds() for each in seen]

    @contextmanager
    def answered_by(self, answer: Callable[[Any], Answer]) -> Iterator[None]:
        """Let a script answer instead of the sandbox."""
        with ScriptedServer(answer) as server:
            self.base_url = server.base_url
            yield
