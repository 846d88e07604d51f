"""The half of the campaign's operator that waits until it is over, reports, and ends the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import pendulum
from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.tasks.batches.placing import PlacesABatch
from formant_provider.tasks.batches.report import write_report
from formant_provider.tasks.batches.waiting import (
    BatchOptions,
    batch_trigger_for,
    end_by_threshold,
    hand_on_batch,
    stands_still,
    wait_for_batch,
)
from formant_provider.tasks.results import push_result
from formant_provider.tasks.waiting import GRACE, until

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.core.batches.placement import BatchPlacement
    from formant_provider.triggers.batch import BatchEnd

OnBatchTimeout = Literal["fail", "return"]


class WaitsForTheEnd(PlacesABatch):
    """Mixed into an operator that places a batch call, waits for it if that is wished."""

    waiting: BatchOptions
    timeout_s: float
    on_timeout: str
    deferrable: bool

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after the wait for the campaign in the triggerer."""
        from formant_provider.triggers.batch import BatchEnd

        end = BatchEnd.from_event(event)
        # Trigger events of an earlier version have no names of rows.
        receipt = {**end.receipt, **self.of_row(context), **end.receipt}
        return self._conclude(replace(end, receipt=receipt), context)

    def wait_for_end(
        self, placement: BatchPlacement, receipt: dict[str, Any], context: Context
    ) -> dict[str, Any]:
        """Wait until the campaign is over, here or in the triggerer."""
        from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task
        from formant_provider.triggers.batch import BatchEnd

        watch = self.waiting.watch(placement.batch_id, placement.total_recipients)
        deadline = pendulum.now("UTC") + timedelta(seconds=self.timeout_s)
        if self.deferrable:
            self.defer(
                trigger=batch_trigger_for(self.hook, watch, deadline, receipt),
                method_name="execute_complete",
                timeout=until(deadline) + GRACE,
            )
        self.log.info("Waiting until %s for batch call %s.", deadline, placement.batch_id)
        with ending_the_task(WAITING_FOR_A_BATCH_CALL, self.hook):
            waiter = wait_for_batch(self.hook, watch, deadline)
        return self._conclude(BatchEnd.of(waiter, receipt), context)

    def _conclude(self, end: BatchEnd, context: Context) -> dict[str, Any]:
        """Write the report, and end the task as the campaign, the time or the trouble has it."""
        from formant_provider.core.batches.request import marker_in
        from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task

        with ending_the_task(WAITING_FOR_A_BATCH_CALL, self.hook):
            end.raise_trouble()
            result = hand_on_batch(self.hook, end)
        if self.results_uri is not None:
            is_complete = end.is_over and not stands_still(result)
            with ending_the_task(WAITING_FOR_A_BATCH_CALL, self.hook):
                result |= write_report(
                    self.hook,
                    result,
                    str(self.results_uri),
                    self.report_options,
                    # By the name it was placed under; the API may have given it another one.
                    marker=marker_in(end.receipt.get("name")) or self.marker(context),
                    is_complete=is_complete,
                )
        if not end.is_over:
            self._end_timed_out(result, context)
            return result
        end_by_threshold(self.waiting, result, context)
        return result

    def _end_timed_out(self, result: dict[str, Any], context: Context) -> None:
        text = (
            f"The time to wait is up, and batch call {result['batch_id']} is not over. It goes on; nobody is"
            " rung again by this task. Clear the task to wait once more"
        )
        if self.on_timeout == "fail":
            push_result(context, result)
            raise AirflowFailException(f"{text}.")
        self.log.warning("%s.", text)
