"""Holds what both waiting triggers share: how they run, one poller for each event loop, and the result."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from formant_provider.api.telemetry import WAITS_ENDED, WAITS_STARTED
from formant_provider.hooks.formant import FormantHook
from formant_provider.hooks.telemetry.measuring import count

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.api.telemetry import Metric
    from formant_provider.core.polling.async_poller import Poller
    from formant_provider.core.polling.pacing import RateLimiter
    from formant_provider.core.polling.waits import BaseFeed, Now


@dataclass(frozen=True, kw_only=True)
class WaitResult:
    """How a wait ended: what a trigger's event holds, and nothing private.

    :param error: what kept it from ending well: the name of an error's class, and its text.
    :param receipt: what the task knew when it began to wait.
    """

    error: tuple[str, str] | None = None
    receipt: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @abstractmethod
    def of(cls, waiter: Any, receipt: Mapping[str, Any]) -> Self:
        """Return what a wait came to."""

    def to_event(self) -> TriggerEvent:
        """Return the event that a trigger fires."""
        return TriggerEvent(asdict(self))  # type: ignore[no-untyped-call]  # Airflow's

    @classmethod
    def from_event(cls, payload: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_event` wrote."""
        return cls(**payload)

    def raise_error(self) -> None:
        """Raise what kept the wait from ending well, if anything did.

        :raises FormantError: of the kind that it was in the triggerer.
        """
        from formant_provider.api.errors import named

        if self.error:
            raise named(*self.error)


class WaitingTrigger(BaseTrigger):
    """Fires when what is waited for is over, or when the time is up.

    May be started again anywhere: the deadline is a moment, and nothing else is remembered. The arguments lie
    in Airflow's database, so class paths and names of arguments stay as they are.
    """

    # What is not ended when the wait is: the vendor has no cancel.
    continues: ClassVar[str]
    result: ClassVar[type[WaitResult]]
    # Those who wait for conversations of one agent share a poll; for batch calls all of a connection do.
    agent_id: int | None = None

    def __init__(
        self,
        formant_conn_id: str,
        region: str | None,
        watch: dict[str, Any],
        deadline: str,
        receipt: dict[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        # What is the same for many is held once, and the rest as text, which takes a third of a mapping.
        self.formant_conn_id = sys.intern(formant_conn_id)
        self.region = region
        self.deadline = deadline
        self._watch, self._receipt = json.dumps(watch), json.dumps(receipt)

    @property
    def watch(self) -> dict[str, Any]:
        """What is waited for, as plain values."""
        return dict(json.loads(self._watch))

    @property
    def receipt(self) -> dict[str, Any]:
        """What the task knew when it began to wait."""
        return dict(json.loads(self._receipt))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids, counts, moments and the mark of a recipient."""
        names = ("formant_conn_id", "region", "watch", "deadline", "receipt")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire whatever happens: a trigger that fails would use up none of the task's retries."""
        self._count(WAITS_STARTED)
        try:
            if not _LOADED.is_set():
                await asyncio.to_thread(_load)
            self._say("Waiting until %s for %s.", self.deadline, self.subject)
            # Awaited here and not in a method of a subclass: a thousand waits would hold a frame more each.
            waiter = await _shared_poller(self).wait(self.watched(), datetime.fromisoformat(self.deadline))
            result, outcome = self.ended(waiter), "over" if waiter.is_done else "timeout"
        except asyncio.CancelledError:
            self._count(WAITS_ENDED, outcome="cancelled")
            raise
        except Exception as error:
            result, outcome = self.failed(_describe(error, self.formant_conn_id)), "error"
        self._count(WAITS_ENDED, outcome=outcome)
        yield result.to_event()

    async def on_kill(self) -> None:
        """Log that the wait ends here, not why: Airflow also calls this when it moves a wait elsewhere."""
        self._say("This triggerer stops waiting for %s. %s", self.subject, self.continues)

    def _say(self, text: str, *values: object) -> None:
        """Log, by the one logger of the class.

        ``self.log`` would make one for each trigger. Not called in :meth:`run` itself: a logger looks up who
        called it, and the frame that it looks at is kept for as long as that runs.
        """
        self.logger().info(text, *values)

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is waited for, for the log."""

    @abstractmethod
    def feed(self, now: Now) -> BaseFeed[Any]:
        """Return what is polled for all who wait for the same."""

    @abstractmethod
    def watched(self) -> Any:
        """Return what is waited for at that feed."""

    def _count(self, metric: Metric, **tags: str) -> None:
        count(self.formant_conn_id, metric, agent_id=self.agent_id, where="triggerer", **tags)

    def ended(self, waiter: Any) -> WaitResult:
        """Return how a wait ended."""
        return self.result.of(waiter, self.receipt)

    def failed(self, error: tuple[str, str]) -> WaitResult:
        """Return how a wait ended that an error kept from ending well."""
        return self.result(error=error, receipt=self.receipt)


def _describe(error: Exception, conn_id: str) -> tuple[str, str]:
    """Return the name of an error's class, and a text that may be stored."""
    from formant_provider.api.errors import FormantError

    kind = type(error).__name__
    if isinstance(error, FormantError):
        return kind, str(error)
    if kind == "AirflowNotFoundException":
        return kind, (
            f"The trigger does not find the connection {conn_id!r} ({kind}). A trigger that runs inline, as"
            " in airflow dags test, finds connections in the environment only: set"
            f" AIRFLOW_CONN_{conn_id.upper()}, or deferrable=False. A triggerer needs the connection too,"
            " from the same secrets backends as the workers"
        )
    # The text of an error that is not ours may hold anything.
    return kind, f"The wait was interrupted ({kind})"


_LOADED = threading.Event()


def _load() -> None:
    """Import what polls need, in a thread: in the event loop it would hold up all other triggers."""
    for name in _NEEDED:
        import_module(f"formant_provider.{name}")
    _LOADED.set()


_NEEDED = (
    "api.client",
    "api.config",
    "core.batches.feed",
    "core.conversations.feed",
    "core.polling.async_poller",
    "core.transcriptions.feed",
)


@dataclass
class _Shared:
    """What the triggers of one event loop share."""

    pollers: dict[tuple[object, ...], Poller[Any]] = field(default_factory=dict)
    limiters: dict[tuple[str, str | None], RateLimiter] = field(default_factory=dict)


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()


def _shared_poller(trigger: WaitingTrigger) -> Poller[Any]:
    """Return the one poller of this event loop for what is waited for with a trigger's connection."""
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.polling.async_poller import Poller
    from formant_provider.core.polling.pacing import RateLimiter
    from formant_provider.core.polling.waits import utc_now

    shared = _BY_LOOP.setdefault(asyncio.get_running_loop(), _Shared())
    place = (trigger.formant_conn_id, trigger.region)
    key = (*place, type(trigger), trigger.agent_id)
    if key not in shared.pollers:
        hook, once = FormantHook(*place), RetryPolicy(max_attempts=1)
        limiter = shared.limiters.setdefault(place, RateLimiter(utc_now))
        feed = trigger.feed(utc_now)

        async def open_client() -> FormantClient:
            client = await hook.aget_conn(once)
            if feed.hears:  # the store's connection is read with each client, as it may have been changed
                feed.news = await hook.aget_news()
            return client

        shared.pollers[key] = Poller(feed, limiter, open_client, hook.lasting_errors())
    return shared.pollers[key]
