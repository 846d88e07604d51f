"""Waits in the worker or in the triggerer, whatever is waited for: what operators and sensors share."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from formant_provider.core.conversations.waiters import BaseWaiter
    from formant_provider.core.polling.loop import Source
    from formant_provider.hooks.formant import FormantHook

log = logging.getLogger(__name__)

# How much later than we do Airflow gives up: a triggerer that was away must be able to report first.
GRACE = timedelta(hours=1)
# A sensor's poke_interval of 0 means as often as possible; that is no way to poll an API.
SHORTEST_POLL_INTERVAL_S = 0.2


def deferrable_or_default(deferrable: bool | None) -> bool:
    """Return whether to defer; ``None`` means as ``[operators] default_deferrable`` says."""
    default: bool = conf.getboolean("operators", "default_deferrable", fallback=False)
    return default if deferrable is None else deferrable


def until(deadline: datetime) -> timedelta:
    """Return the time that is left. Not pendulum's own kind of it: Airflow cannot send that."""
    return timedelta(seconds=(deadline - now()).total_seconds())


def defer_wait(
    task: Any, trigger: BaseTrigger, deadline: datetime, method_name: str = "execute_complete"
) -> None:
    """Defer a task until a trigger fires, and log what that needs.

    :raises TaskDeferred: always; the task continues in its method of this name.
    """
    log.info(
        "Waiting until %s in the triggerer, in %s. A triggerer has to run for that (airflow triggerer);"
        " without one the task stays deferred for %s more.",
        deadline,
        type(trigger).__name__,
        GRACE,
    )
    task.defer(trigger=trigger, method_name=method_name, timeout=until(deadline) + GRACE)


def poll_here(hook: FormantHook, feed: Source, waiter: BaseWaiter, deadline: datetime) -> None:
    """Poll until the wait of this waiter has ended, or until the deadline.

    :raises RequestRefused: the API refuses to be asked, for good.
    """
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.polling.loop import Polling, wait_for
    from formant_provider.core.polling.pacing import RateLimiter

    once = RetryPolicy(max_attempts=1)
    wait_for(
        waiter,
        Polling(feed, RateLimiter(now), now, hook.lasting_errors()),
        lambda: hook.reread().get_conn(once),
        deadline=deadline,
        now=now,
        sleep=time.sleep,
    )


class Look:
    """Looks at one feed, once at a time, and remembers what the next look need not read again."""

    def __init__(self, hook: FormantHook, feed: Source) -> None:
        from formant_provider.core.polling.pacing import RateLimiter

        self._hook = hook
        self._feed = feed
        self._limiter = RateLimiter(now)

    @property
    def wait_s(self) -> float:
        """Seconds to wait at least before the next look, as the API asks."""
        return self._limiter.wait_s()

    def once(self) -> None:
        """Look for all who wait at the feed. An error that may pass only puts the next look off.

        :raises FormantError: it would not pass.
        """
        from formant_provider.api.errors import FormantError
        from formant_provider.api.retry import RetryPolicy, may_repeat
        from formant_provider.core.flows import run

        try:
            with self._hook.reread().get_conn(RetryPolicy(max_attempts=1)) as client:
                self._feed.use(client)
                run(self._feed.poll(), client)
                self._limiter.on_success(client.quota)
        except FormantError as error:
            if not may_repeat(error):
                raise
            self._limiter.on_error(error, self._feed.interval_s())
            log.warning("%s. Waiting continues.", error)


def now() -> datetime:
    """Return the current time, aware."""
    return pendulum.now("UTC")
