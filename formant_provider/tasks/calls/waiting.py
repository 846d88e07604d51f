"""Waits for the conversation of a call: what the operator and the sensor share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from formant_provider.tasks.options import flag, one_of, seconds, statuses
from formant_provider.tasks.waiting import now

if TYPE_CHECKING:
    from formant_provider.api.models import CallRequest
    from formant_provider.core.calls.placement import Placement
    from formant_provider.core.conversations.statuses import Endings
    from formant_provider.core.conversations.waiters import Watch
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.triggers.conversation import ConversationTrigger

OnUnsuccessful = Literal["fail", "skip", "succeed"]
SUCCESSFUL = ("completed",)


@dataclass(frozen=True)
class WaitOptions:
    """What a user chose of a wait, checked when the DAG file is parsed.

    :param poll_interval: between two looks, in seconds or as a ``timedelta``.
    :param success_statuses: the expected statuses.
    :param terminal_statuses: words that end a conversation besides those the vendor documents.
    :param settle_for: how long the record of an unsuccessful attempt must stay the newest of its recipient.
    :param on_unsuccessful: how the task ends after any other outcome.
    :param include_transcript: whether the result holds what was said.
    :param safety_poll_interval: between two looks while webhooks tell of the agent's calls, in seconds or as
        a ``timedelta``; ``poll_interval`` if that is longer.
    :raises ValueError: an option is invalid.
    """

    poll_interval: float | timedelta
    success_statuses: Collection[str]
    terminal_statuses: Collection[str]
    settle_for: float | timedelta
    on_unsuccessful: OnUnsuccessful
    include_transcript: bool
    safety_poll_interval: float | timedelta

    def __post_init__(self) -> None:
        one_of("on_unsuccessful", self.on_unsuccessful, get_args(OnUnsuccessful))
        statuses("success_statuses", self.success_statuses)
        statuses("terminal_statuses", self.terminal_statuses)
        seconds("settle_for", self.settle_for)
        flag("include_transcript", self.include_transcript)
        if self.poll_interval_s <= 0:
            raise ValueError(f"poll_interval must be above 0; not {self.poll_interval!r}")
        if self.safety_interval_s <= 0:
            raise ValueError(f"safety_poll_interval must be above 0; not {self.safety_poll_interval!r}")

    @property
    def poll_interval_s(self) -> float:
        """Seconds between two looks."""
        return seconds("poll_interval", self.poll_interval)

    @property
    def safety_interval_s(self) -> float:
        """Seconds between two looks while webhooks tell of the agent's calls."""
        return seconds("safety_poll_interval", self.safety_poll_interval)

    @property
    def endings(self) -> Endings:
        """What ends the wait."""
        from formant_provider.core.conversations.statuses import Endings

        return Endings(
            successful=frozenset(self.success_statuses),
            further=frozenset(self.terminal_statuses),
            settle_for=timedelta(seconds=seconds("settle_for", self.settle_for)),
        )


def trigger_for(
    hook: FormantHook, agent_id: int | None, watch: Watch, deadline: datetime, receipt: dict[str, Any]
) -> ConversationTrigger:
    """Return the trigger for a call; its receipt holds plain values and nothing private."""
    from formant_provider.triggers.conversation import ConversationTrigger

    return ConversationTrigger(
        formant_conn_id=hook.formant_conn_id,
        region=hook.region,
        agent_id=agent_id,
        watch=replace(watch, has_begun=watch.since <= now()).to_json(),
        deadline=deadline.isoformat(),
        receipt=receipt,
    )


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
        safety_interval_s=options.safety_interval_s,
        until=getattr(placement, "until", None),
    )
