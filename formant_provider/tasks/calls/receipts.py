"""The half of the operator that leaves a result: of a call that was placed, and of one that was not."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.tasks.calls.outcome import APART, push_ids
from formant_provider.tasks.calls.placing import PlacesACall
from formant_provider.tasks.dry_run import DRY_RUN, checked, tell_openings
from formant_provider.tasks.privacy import reveal
from formant_provider.tasks.references import recipient_in, reference_or_none
from formant_provider.tasks.results import (
    a_result_in_any_case,
    not_called,
    of_row,
    push_apart,
    push_result,
    storable,
)
from formant_provider.tasks.run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.core.calls.placement import Placement

RECEIPT_FIELDS = ("agent_id", "trace_id", "conversation_id", "status", "scheduled_for")


class LeavesAReceipt(PlacesACall):
    """Mixed into an operator that places a call, hands on its receipt."""

    reference: Any
    wait_for_completion: bool

    def hand_on(self, placement: Placement, context: Context) -> dict[str, Any]:
        """Hand downstream what is known of a call that was placed; return the receipt."""
        receipt = placement.receipt
        result = {name: storable(getattr(receipt, name, None)) for name in RECEIPT_FIELDS}
        if receipt is not None:
            self.log.info(
                "The call is %s: status %s, trace_id %s, conversation_id %s.",
                placement.result,
                receipt.status,
                receipt.trace_id,
                receipt.conversation_id or "not given yet",
            )
        result |= {"placement": placement.result.value, **self.of_row(context)}
        push_ids(self.hook, result, context)
        if self.wait_for_completion or receipt is None:  # whatever becomes of the rest of the task
            push_result(context, result)
        return result

    def rehearse(self, context: Context) -> dict[str, Any]:
        """Do all that comes before the call is sent, and return when it would ring, or why it would not.

        :raises FormantError: as placing it would, unless the task would be skipped for it.
        """
        from formant_provider.api.models import utc_text
        from formant_provider.core.hours.openings import Openings
        from formant_provider.core.validation import refuse_past
        from formant_provider.tasks.ledger import note_nothing_sent

        call, now = self.build_call(context), pendulum.now("UTC")

        def ring_at() -> datetime:
            moment = when(call.scheduled_for, now)
            refuse_past(moment, now=now)
            return moment or now

        with self.ready_to_place(call, context) as (_, when):
            rings_at, reason = checked(ring_at)
        note_nothing_sent(TaskRun(context))
        hours_of = self.calling_window.hours if self.calling_window else None
        openings = Openings(hours_of, now, at=call.scheduled_for)
        result = {
            **dict.fromkeys((*RECEIPT_FIELDS, "placement")),
            **self.of_row(context),
            "agent_id": call.agent_id,
            "scheduled_for": utc_text(rings_at) if rings_at and rings_at != now else None,
            "status": DRY_RUN,
            "reason": reason,
            "by_opening": tell_openings(openings, [call.recipient], at=call.scheduled_for),
        }
        push_apart(context, result, APART)
        return result

    def leaving_a_result(self, context: Context, *, skipped: str = "skipped") -> AbstractContextManager[None]:
        """Leave a result also when nobody is called.

        :param skipped: the reason of a skip that is none of ours.
        """

        def nothing() -> dict[str, Any]:
            return {**dict.fromkeys((*RECEIPT_FIELDS, "placement")), **self.of_row(context)}

        return a_result_in_any_case(context, nothing, partial(not_called, skipped=skipped), apart=APART)

    def of_row(self, context: Context) -> dict[str, Any]:
        """Return by what this result is told from those of other rows."""
        recipient = recipient_in(reveal(self.parameters))
        return of_row(context, reference_or_none(self.reference, recipient))
