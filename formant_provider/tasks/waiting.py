"""Waits for a conversation, in the worker or in the triggerer: what operators and sensors share."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

import pendulum
from airflow.providers.common.compat.sdk import conf

from formant_provider.tasks.options import one_of, seconds, statuses

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from formant_provider.api.models import CallRequest
    from formant_provider.core.calls.placement import Placement
    from formant_provider.core.conversations.feed import Feed
    from formant_provider.core.conversations.statuses import Endings
    from formant_provider.core.conversations.waiters import BaseWaiter, Waiter, Watch
    from formant_provider.core.polling.loop import Source
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.triggers.conversation import ConversationTrigger

OnUnsuccessful = Literal["fail", "skip", "succeed"]
SUCCESSFUL = ("completed",)
# How much later than we do Airflow gives up: a triggerer that was away must have its say first.
GRACE = timedelta(hours=1)
# A sensor's poke_interval of 0 means as often as possible; that is no way to ask an API.
SHORTEST_POLL_INTERVAL_S = 0.2


@dataclass(frozen=True)
class WaitOptions:
    """What a user chose of a wait, checked when the DAG file is parsed.

    :param poll_interval: between two looks, in seconds or as a ``timedelta``.
    :param success_statuses: outcomes that were hoped for.
    :param terminal_statuses: words that end a conversation besides those the vendor documents.
    :param settle_for: how long the record of an unsuccessful attempt must stay the newest of its recipient.
    :param on_unsuccessful: how the task ends after any other outcome.
    :param include_transcript: whether what was said is handed on.
    :raises ValueError: for what cannot be meant.
    """

    poll_interval: float | timedelta
    success_statuses: Collection[str]
    terminal_statuses: Collection[str]
    settle_for: float | timedelta
    on_unsuccessful: OnUnsuccessful
    include_transcript: bool

    def __post_init__(self) -> None:
        one_of("on_unsuccessful", self.on_unsuccessful, get_args(OnUnsuccessful))
        statuses("success_statuses", self.success_statuses)
        statuses("terminal_statuses", self.terminal_statuses)
        seconds("settle_for", self.settle_for)
        if self.poll_interval_s <= 0:
            raise ValueError(f"poll_interval must be above 0; not {self.poll_interval!r}")

    @property
    def poll_interval_s(self) -> float:
        """Seconds between two looks."""
        return seconds("poll_interval", self.poll_interval)

    @property
    def endings(self) -> Endings:
        """What ends the wait."""
        from formant_provider.core.conversations.statuses import Endings

        return Endings(
            successful=frozenset(self.success_statuses),
            further=frozenset(self.terminal_statuses),
            settle_for=timedelta(seconds=seconds("settle_for", self.settle_for)),
        )


def deferrable_or_default(deferrable: bool | None) -> bool:
    """Return whether to defer; ``None`` means as ``[operators] default_deferrable`` says."""
    default: bool = conf.getboolean("operators", "default_deferrable", fallback=False)
    return default if deferrable is None else deferrable


def until(deadline: datetime) -> timedelta:
    """Return the time that is left. Not pendulum's own kind of it: Airflow cannot send that."""
    return timedelta(seconds=(deadline - _now()).total_seconds())


def wait_here(hook: FormantHook, agent_id: int | None, watch: Watch, deadline: datetime) -> Waiter:
    """Wait in this process, as the only one who waits.

    :param deadline: aware; waited for by the wall clock.
    :raises RequestRefused: the API refuses to be asked, for good.
    """
    feed = conversations_of(agent_id)
    waiter = feed.join(watch)
    poll_here(hook, feed, waiter, deadline)
    return waiter


def conversations_of(agent_id: int | None) -> Feed:
    """Return what is polled for an agent's conversations."""
    from formant_provider.core.conversations.feed import Feed

    return Feed(agent_id, _now)


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
        Polling(feed, RateLimiter(_now), _now, hook.lasting_errors()),
        lambda: hook.get_conn(once),
        deadline=deadline,
        now=_now,
        sleep=time.sleep,
    )


class Look:
    """Looks at one feed, once at a time, and remembers what a next look need not ask again."""

    def __init__(self, hook: FormantHook, feed: Source) -> None:
        from formant_provider.core.polling.pacing import RateLimiter

        self._hook = hook
        self._feed = feed
        self._pace = RateLimiter(_now)

    @property
    def wait_s(self) -> float:
        """Seconds to wait at least before the next look, as the API asks."""
        return self._pace.wait_s()

    def once(self) -> None:
        """Look for all who wait at the feed. An error that may pass only puts the next look off.

        :raises FormantError: it would not pass.
        """
        from formant_provider.api.errors import FormantError
        from formant_provider.api.retry import RetryPolicy, may_repeat
        from formant_provider.core.flows import run

        try:
            with self._hook.get_conn(RetryPolicy(max_attempts=1)) as client:
                self._feed.use(client)
                run(self._feed.poll(), client)
                self._pace.on_success(client.quota)
        except FormantError as error:
            if not may_repeat(error):
                raise
            self._pace.on_error(error, self._feed.interval_s())
            log.warning("%s. Waiting on.", error)


def trigger_for(
    hook: FormantHook, agent_id: int | None, watch: Watch, deadline: datetime, receipt: dict[str, Any]
) -> ConversationTrigger:
    """Return the trigger that waits in the triggerer.

    :param receipt: what the task will have to know when it goes on; plain values, nothing private.
    """
    from formant_provider.triggers.conversation import ConversationTrigger

    return ConversationTrigger(
        formant_conn_id=hook.formant_conn_id,
        region=hook.region,
        agent_id=agent_id,
        watch=replace(watch, has_begun=watch.since <= _now()).to_json(),
        deadline=deadline.isoformat(),
        receipt=receipt,
    )


def _now() -> datetime:
    return pendulum.now("UTC")


def watch_for(
    hook: FormantHook,
    call: CallRequest,
    placement: Placement,
    receipt: Mapping[str, Any],
    options: WaitOptions,
) -> Watch:
    """Return what tells the conversation of a call that was placed from others."""
    from formant_provider.core.conversations.waiters import Watch

    trace_id = receipt["trace_id"]
    return Watch(
        since=placement.since,
        trace_id=trace_id,
        # The id on a receipt need not be that of the record: it is used when there is nothing better.
        conversation_id=None if trace_id else receipt["conversation_id"],
        recipient=hook.fingerprints(call.agent_id).mark(call.recipient),
        endings=options.endings,
        poll_interval_s=options.poll_interval_s,
        until=getattr(placement, "until", None),
    )
