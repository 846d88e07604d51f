"""Waits for the conversation of a call that was placed, and ends the task as it went."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.tasks.calls.outcome import (
    OnTimeout,
    end_as_it_ended,
    end_timed_out,
    push_outcome,
    warn_unproven,
)
from formant_provider.tasks.calls.waiting import WaitOptions, trigger_for, watch_for
from formant_provider.tasks.waiting import defer_wait, wait_here

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.models import CallRequest
    from formant_provider.core.calls.placement import Placement
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.calls.placing import PlacingOptions
    from formant_provider.triggers.conversation import WaitEnd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallWait:
    """How a task waits for the conversation of its call."""

    hook: FormantHook
    options: WaitOptions
    placing: PlacingOptions
    timeout_s: float
    on_timeout: OnTimeout

    def wait(
        self,
        call: CallRequest,
        placement: Placement,
        receipt: dict[str, Any],
        context: Context,
        *,
        deferrable: bool,
    ) -> dict[str, Any]:
        """Wait, here or in the triggerer; return the result."""
        from formant_provider.tasks.failures import WAITING_FOR_A_CALL, ending_the_task

        watch = watch_for(self.hook, call, placement, receipt, self.options)
        deadline = max(pendulum.now("UTC"), placement.since) + timedelta(seconds=self.timeout_s)
        log.info("Waiting until %s for the conversation of trace_id %s.", deadline, watch.trace_id)
        trigger = trigger_for(self.hook, call.agent_id, watch, deadline, receipt)
        if deferrable:
            defer_wait(context["task"], trigger, deadline)
        with ending_the_task(WAITING_FOR_A_CALL, self.hook):
            end = wait_here(self.hook, trigger)
        return self.conclude(end, context)

    def conclude(self, end: WaitEnd, context: Context) -> dict[str, Any]:
        """End the task as the conversation, the time or an error has it."""
        from formant_provider.tasks.failures import WAITING_FOR_A_CALL, end_unconfirmed, ending_the_task

        with ending_the_task(WAITING_FOR_A_CALL, self.hook):
            end.raise_error()
            if end.conversation_id is None:
                if end.receipt["placement"] == "unconfirmed":
                    warn_unproven(end)
                    end_unconfirmed(self.placing.on_unconfirmed)
                else:
                    end_timed_out(self.on_timeout, end)
                return end.receipt
            result = push_outcome(
                self.hook,
                end,
                context,
                self.options,
                push=bool(getattr(context["task"], "do_xcom_push", True)),
            )
        end_as_it_ended(self.options, result, context, redial_on=self.placing.redial_on)
        return result
