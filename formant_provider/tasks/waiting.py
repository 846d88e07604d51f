"""Waits in the worker or in the triggerer, whatever is waited for: what operators and sensors share."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.providers.common.compat.sdk import conf

from formant_provider.tasks.options import flag

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from formant_provider.api.client import FormantClient
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.polling.waits import BaseFeed
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.triggers.shared import WaitingTrigger

log = logging.getLogger(__name__)

# How much later than we do Airflow gives up: a triggerer that was away must be able to report first.
GRACE = timedelta(hours=1)
# A sensor's poke_interval of 0 means as often as possible; that is no way to poll an API.
SHORTEST_POLL_INTERVAL_S = 0.2
# A key that is refused may have been changed a moment ago, and the new one not be everywhere yet.
_REFUSED_AGAIN_AFTER_S = (1.0, 4.0)


def deferrable_or_default(deferrable: bool | None) -> bool:
    """Return whether to defer; ``None`` means as ``[operators] default_deferrable`` says.

    :raises ValueError: it is no switch.
    """
    default: bool = conf.getboolean("operators", "default_deferrable", fallback=False)
    return default if deferrable is None else flag("deferrable", deferrable)


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


def wait_here(hook: FormantHook, trigger: WaitingTrigger) -> Any:
    """Wait in this process for what a trigger would wait for, as the only one; return how it ended.

    :raises RequestRefused: the API refuses to be asked, for good.
    """
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.polling.loop import Polling, wait_for
    from formant_provider.core.polling.pacing import RateLimiter

    feed, once = trigger.feed(now), RetryPolicy(max_attempts=1)
    waiter = feed.join(trigger.watched())
    with _counted(hook, trigger) as counted:
        wait_for(
            waiter,
            Polling(feed, RateLimiter(now), now, hook.lasting_errors()),
            lambda: _open_client(hook, feed, once),
            deadline=datetime.fromisoformat(trigger.deadline),
            now=now,
            sleep=time.sleep,
        )
        counted["outcome"] = "over" if waiter.is_done else "timeout"
    return trigger.ended(waiter)


@contextmanager
def _counted(hook: FormantHook, trigger: WaitingTrigger) -> Iterator[dict[str, str]]:
    """Count a wait in this process; how it ended is put into what this yields."""
    from formant_provider.api.telemetry import WAITS_ENDED, WAITS_STARTED

    ended = {"outcome": "error"}
    hook.telemetry.count(WAITS_STARTED, agent_id=trigger.agent_id, where="worker")
    try:
        yield ended
    finally:
        hook.telemetry.count(WAITS_ENDED, agent_id=trigger.agent_id, where="worker", **ended)


def _open_client(hook: FormantHook, feed: BaseFeed[Any], policy: RetryPolicy) -> FormantClient:
    """Open a client, and let the feed know whom to ask for news, with the connection as it is now."""
    client = hook.reread().get_conn(policy)
    if feed.hears:
        feed.news = hook.get_news()
    return client


class Look:
    """Looks once at a time for what a trigger would wait for; keeps what the next look need not read again.

    :ivar waiter: the only one who waits.
    """

    def __init__(self, hook: FormantHook, trigger: WaitingTrigger) -> None:
        from formant_provider.core.polling.pacing import RateLimiter

        self._hook = hook
        self._trigger = trigger
        self._feed = trigger.feed(now)
        self._limiter = RateLimiter(now)
        self._polled_at: datetime | None = None
        self._gone = 0
        self.waiter = self._feed.join(trigger.watched())

    def end(self) -> Any:
        """Return how the wait ended."""
        return self._trigger.ended(self.waiter)

    @property
    def wait_s(self) -> float:
        """Seconds to wait at least before the next look, as the API asks."""
        return self._limiter.wait_s()

    def once(self) -> None:
        """Look. An error that may pass only puts the next look off.

        :raises FormantError: it would not pass.
        """
        from formant_provider.api.errors import FormantError, RequestRefused
        from formant_provider.api.retry import may_repeat

        pauses = iter(_REFUSED_AGAIN_AFTER_S)
        while True:
            try:
                self._poll()
                break
            except FormantError as error:
                if may_repeat(error):
                    self._limiter.on_error(error, self._feed.interval_s())
                    log.warning("%s. Waiting continues.", error)
                    break
                # The next look may be in another process, which does not know of this refusal.
                pause_s = next(pauses, None) if isinstance(error, RequestRefused) else None
                if pause_s is None:
                    raise
                log.warning("%s. It is asked again in %.0f s.", error, pause_s)
                time.sleep(pause_s)
        if self.waiter.error:
            raise self.waiter.error

    def _poll(self) -> None:
        from formant_provider.api.telemetry import POLLS
        from formant_provider.core.flows import run

        opened = self._opened()
        if opened is None:
            return
        with opened as client:
            self._feed.use(client)
            if not self._has_heard():
                client.telemetry.count(POLLS, agent_id=self._feed.agent_id)
                run(self._feed.poll(), client)
                self._polled_at = now()
                self._limiter.on_success(client.quota)

    def _opened(self) -> FormantClient | None:
        """Open a client; ``None`` for a connection that was there, and cannot be read for a moment."""
        from formant_provider.api.retry import RetryPolicy
        from formant_provider.core.polling.loop import GONE_TO_BELIEVE

        try:
            client = _open_client(self._hook, self._feed, RetryPolicy(max_attempts=1))
        except Exception as error:  # a secrets backend may raise anything
            self._gone = self._gone + 1 if isinstance(error, self._hook.lasting_errors()) else 0
            if self._polled_at is None or self._gone >= GONE_TO_BELIEVE:
                raise
            log.warning("The connection cannot be read (%s). Waiting continues.", type(error).__name__)
            return None
        self._gone = 0
        return client

    def _has_heard(self) -> bool:
        """Ask for news; return whether they will do for this look."""
        question = self._feed.ask()
        if question is None:
            return False
        self._feed.hear(question.ask())
        if self.waiter.is_done:
            return True
        if self._polled_at is None:
            return False
        next_at = self._polled_at + timedelta(seconds=self._feed.pause_s(self._polled_at))
        return self._feed.interval_s() < self._feed.pause_s(self._polled_at) and now() < next_at


def now() -> datetime:
    """Return the current time, aware."""
    return pendulum.now("UTC")
