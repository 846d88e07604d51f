"""Holds what both waiting triggers share: how they run, one poller for each event loop, and the result."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from formant_provider.hooks.formant import FormantHook

if TYPE_CHECKING:
    from formant_provider.core.polling.async_poller import Feed, Poller
    from formant_provider.core.polling.pacing import RateLimiter


@dataclass(frozen=True, kw_only=True)
class WaitResult:
    """How a wait ended: what a trigger's event holds, and nothing private.

    :param error: what kept it from ending well: the name of an error's class, and its text.
    :param receipt: what the task knew when it began to wait.
    """

    error: tuple[str, str] | None = None
    receipt: dict[str, Any] = field(default_factory=dict)

    def to_event(self) -> TriggerEvent:
        """Return the event that a trigger fires."""
        return TriggerEvent(asdict(self))  # type: ignore[no-untyped-call]  # Airflow's

    @classmethod
    def from_event(cls, payload: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_event` wrote, here or in an older version, which called the error otherwise."""
        return cls(**{"error" if name == "trouble" else name: value for name, value in payload.items()})

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

    def __init__(
        self,
        formant_conn_id: str,
        region: str | None,
        watch: dict[str, Any],
        deadline: str,
        receipt: dict[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.formant_conn_id = formant_conn_id
        self.region = region
        self.watch = watch
        self.deadline = deadline
        self.receipt = receipt

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids, counts, moments and the mark of a recipient."""
        names = ("formant_conn_id", "region", "watch", "deadline", "receipt")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire whatever happens: a trigger that fails would use up none of the task's retries."""
        self.log.info("Waiting until %s for %s.", self.deadline, self.subject)
        try:
            poller, watch = self.join()
            # Awaited here and not in a method of a subclass: a thousand waits would hold a frame more each.
            result = self.ended(await poller.wait(watch, datetime.fromisoformat(self.deadline)))
        except Exception as error:
            result = self.failed(_told(error, self.formant_conn_id))
        yield result.to_event()

    async def on_kill(self) -> None:
        """Log that the wait ends here, not why: Airflow also calls this when it moves a wait elsewhere."""
        self.log.info("This triggerer stops waiting for %s. %s", self.subject, self.continues)

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is waited for, for the log."""

    @abstractmethod
    def join(self) -> tuple[Poller[Any, Any], Any]:
        """Return the poller that all share who wait for the same, and what is watched there."""

    @abstractmethod
    def ended(self, waiter: Any) -> WaitResult:
        """Return how a wait ended."""

    @abstractmethod
    def failed(self, error: tuple[str, str]) -> WaitResult:
        """Return how a wait ended that an error kept from ending well."""


def _told(error: Exception, conn_id: str) -> tuple[str, str]:
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
    return (
        kind,
        f"The wait was interrupted ({kind})",
    )  # the text of an error that is not ours may hold anything


@dataclass
class _Shared:
    """What the triggers of one event loop share."""

    pollers: dict[tuple[str, str | None, object], Poller[Any, Any]] = field(default_factory=dict)
    limiters: dict[tuple[str, str | None], RateLimiter] = field(default_factory=dict)


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()


def shared_poller(
    trigger: WaitingTrigger, what: object, make_feed: Callable[[], Feed[Any, Any]]
) -> Poller[Any, Any]:
    """Return the one poller of this event loop for what is waited for with a trigger's connection.

    :param what: tells it from all else that is waited for.
    :param make_feed: makes its feed, the first time.
    """
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.polling.async_poller import Poller
    from formant_provider.core.polling.pacing import RateLimiter

    shared = _BY_LOOP.setdefault(asyncio.get_running_loop(), _Shared())
    place = (trigger.formant_conn_id, trigger.region)
    if (*place, what) not in shared.pollers:
        hook, once = FormantHook(*place), RetryPolicy(max_attempts=1)
        limiter = shared.limiters.setdefault(place, RateLimiter(lambda: datetime.now(UTC)))
        poller = Poller(make_feed(), limiter, lambda: hook.aget_conn(once), hook.lasting_errors())
        shared.pollers[*place, what] = poller
    return shared.pollers[*place, what]
