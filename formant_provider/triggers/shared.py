"""What all waits in the triggerer share: one poller for each event loop, and an event that tells the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from airflow.triggers.base import TriggerEvent

from formant_provider.hooks.formant import FormantHook

if TYPE_CHECKING:
    from formant_provider.core.polling.async_poller import Feed, Poller
    from formant_provider.core.polling.pacing import RateLimiter


@dataclass(frozen=True, kw_only=True)
class End:
    """How a wait ended: what a trigger's event holds, and nothing private.

    :param trouble: what hindered it: the name of an error's class, and its text.
    :param receipt: what the task knew when it began to wait.
    """

    trouble: tuple[str, str] | None = None
    receipt: dict[str, Any] = field(default_factory=dict)

    def to_event(self) -> TriggerEvent:
        """Return the event that a trigger fires."""
        return TriggerEvent(asdict(self))  # type: ignore[no-untyped-call]  # Airflow's

    @classmethod
    def from_event(cls, payload: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_event` wrote."""
        return cls(**payload)

    def raise_trouble(self) -> None:
        """Raise what hindered the wait, if anything did.

        :raises FormantError: of the kind that it was in the triggerer.
        """
        from formant_provider.api.errors import named

        if self.trouble:
            raise named(*self.trouble)


def trouble_of(error: Exception) -> tuple[str, str]:
    """Return the name of an error's class, and a text that may be stored."""
    from formant_provider.api.errors import FormantError

    kind = type(error).__name__
    # The text of an error that is not ours may hold anything.
    return kind, str(error) if isinstance(error, FormantError) else f"The wait was broken off ({kind})"


@dataclass
class _Shared:
    """What the triggers of one event loop share."""

    pollers: dict[tuple[str, str | None, object], Poller[Any, Any]] = field(default_factory=dict)
    paces: dict[tuple[str, str | None], RateLimiter] = field(default_factory=dict)


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()


def shared_poller(
    hook: FormantHook, what: object, make_feed: Callable[[], Feed[Any, Any]]
) -> Poller[Any, Any]:
    """Return the one poller of this event loop for what is waited for with this connection.

    :param what: tells it from all else that is waited for.
    :param make_feed: makes its feed, the first time.
    """
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.polling.async_poller import Poller
    from formant_provider.core.polling.pacing import RateLimiter

    shared = _BY_LOOP.setdefault(asyncio.get_running_loop(), _Shared())
    place, key = (hook.formant_conn_id, hook.region), (hook.formant_conn_id, hook.region, what)
    if key not in shared.pollers:
        pace = shared.paces.setdefault(place, RateLimiter(lambda: datetime.now(UTC)))
        once = RetryPolicy(max_attempts=1)
        shared.pollers[key] = Poller(make_feed(), pace, lambda: hook.aget_conn(once), hook.lasting_errors())
    return shared.pollers[key]
