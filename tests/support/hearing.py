"""Feeds that hear: a sandbox on a moved clock, a call store that holds its webhooks, and a poller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.core.polling.loop import OpenClient, Pause
from formant_provider.core.polling.news import AskNews
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.calls import Attempt
from formant_provider.store.store import Store
from formant_provider.store.webhook_events import record
from formant_provider.store.webhook_news import WebhookNews
from support.feeds import AGENT, ONCE, Waiting
from support.ledgers import NOON
from support.webhook_events import delivery, webhook
from support.worker import Worker


def told_of(call: Attempt, status: str | None = None, **changed: Any) -> dict[str, Any]:
    """Return the webhook that the vendor sends when an attempt has ended.

    :param changed: as for :func:`~support.webhook_events.webhook`.
    """
    status = status or call.ending.status
    fields = {
        "agent_id": call.agent_id,
        "conversation_id": call.conversation_id,
        "trace_id": call.trace_id,
        "status": status,
        "to_phone": call.customer_phone,
        "started_at": call.starts_at.isoformat(),
        "ended_at": call.ends_at.isoformat(),
        **changed,
    }
    name = f"{fields['conversation_id']}/{fields['started_at']}"
    return webhook(changed.pop("event_id", name), f"call.{status}", **fields)


def retry(number: int = 1, *, is_final: bool | None = None, next_at: Any = None) -> dict[str, Any]:
    """Return what an event says of redials."""
    return {
        "attempt_number": number,
        "is_final_attempt": is_final,
        "max_attempts": 3,
        "next_retry_at": next_at.isoformat() if next_at else None,
    }


class Hearing(Waiting):
    """A feed that a worker polls, with news from a store."""

    def __init__(self, sandbox: Sandbox, client: FormantClient, store: Store) -> None:
        super().__init__(sandbox, client)
        self.store = store
        self.is_down = False
        self.feed.news = WebhookNews(self._open)
        self.feed.use(client)
        self.worker = Worker(self.feed, sandbox)
        self.answers = 0

    def _open(self) -> Store:
        self.answers += 1
        if self.is_down:
            raise OSError("secret-4711")
        return self.store

    def tell(self, *events: dict[str, Any]) -> None:
        """Let webhooks arrive now."""
        record(self.store, [delivery(event, received_at=self.sandbox.now()) for event in events])

    def heard_before(self) -> None:
        """Let some other call of the agent have been told of: its targets are set up."""
        self.tell(webhook("earlier", conversation_id="earlier", trace_id="earlier", agent_id=AGENT))

    def let_pass(self, seconds: float, each_second: Callable[[], None] = lambda: None) -> None:
        """Let a poller run for so long; whatever it is to do takes no time."""
        end = self.sandbox.now() + timedelta(seconds=seconds)
        steps = self.worker.polling.steps()
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                left = (end - self.sandbox.now()).total_seconds()
                if left <= 0:
                    break
                self.sandbox.advance(min(step.seconds, left))
                each_second()
                step = next(steps)
            elif isinstance(step, OpenClient):
                step = steps.send(self.worker.open_client())
            else:
                step = steps.send(step.ask() if isinstance(step, AskNews) else step())
        steps.close()

    def requests(self) -> dict[str, int]:
        """How often the vendor was asked."""
        seen: Sequence[str | None] = [each.endpoint for each in self.sandbox.requests]
        return {"lists": seen.count(LIST_CONVERSATIONS), "details": seen.count(GET_CONVERSATION)}


@contextmanager
def hearings(store: Store) -> Iterator[Callable[..., Hearing]]:
    """Start sandboxes at noon, and a feed for each that hears from this store."""
    with ExitStack() as running:

        def start(**settings: Any) -> Hearing:
            chosen = {"speed": 0, "start_at": NOON, "rate_limit": None, "record_appears": "start", **settings}
            sandbox = running.enter_context(Sandbox(**chosen))
            config = ClientConfig(sandbox.base_url, sandbox.api_key)
            client = running.enter_context(FormantClient(config, retry_policy=ONCE))
            return Hearing(sandbox, client, store)

        yield start
