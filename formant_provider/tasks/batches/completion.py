"""Waits for a batch call that was placed, and ends the task: with a report, and as its user chose."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import pendulum
from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.tasks.batches.page import BatchPage
from formant_provider.tasks.batches.placing import build_batch
from formant_provider.tasks.batches.report import write_report
from formant_provider.tasks.batches.waiting import (
    batch_result,
    batch_trigger_for,
    end_by_threshold,
    stands_still,
)
from formant_provider.tasks.results import push_result
from formant_provider.tasks.telling import tell
from formant_provider.tasks.waiting import defer_wait, wait_here

if TYPE_CHECKING:
    from formant_provider.core.batches.placement import BatchPlacement
    from formant_provider.tasks.batches.fields import BatchTask
    from formant_provider.tasks.run import TaskRun
    from formant_provider.triggers.batch import BatchEnd

log = logging.getLogger(__name__)

# Travels with the receipt while the task is deferred, and is no part of the result.
_ROW = "row"


def wait(task: BatchTask, placement: BatchPlacement, receipt: dict[str, Any], run: TaskRun) -> dict[str, Any]:
    """Wait until the batch call is over, here or in the triggerer; return the result."""
    from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task

    watch = task.waiting.watch(placement.batch_id, placement.total_recipients)
    deadline = pendulum.now("UTC") + timedelta(seconds=task.timeout_s)
    log.info("Waiting until %s for batch call %s.", deadline, placement.batch_id)
    trigger = batch_trigger_for(task.hook, watch, deadline, {**receipt, _ROW: _row_of(task, run)})
    if task.deferrable:
        defer_wait(task, trigger, deadline)
    with ending_the_task(WAITING_FOR_A_BATCH_CALL, task.hook):
        end = wait_here(task.hook, trigger)
    return conclude(task, end, run)


def conclude(task: BatchTask, end: BatchEnd, run: TaskRun) -> dict[str, Any]:
    """Write the report, and end the task as the batch call, the timeout or an error requires."""
    from formant_provider.core.batches.request import marker_in
    from formant_provider.tasks.failures import WAITING_FOR_A_BATCH_CALL, ending_the_task

    waited_as = end.receipt.get(_ROW)
    end = replace(end, receipt={name: value for name, value in end.receipt.items() if name != _ROW})
    # By the name it was placed under; the API may have given it another one.
    placed_as, described = marker_in(end.receipt.get("name")), build_batch(task, run).marker
    if run.is_mapped and placed_as not in {None, described}:
        raise AirflowFailException(_of_another("This row of a mapped task", end.batch_id))
    if run.is_mapped and waited_as not in {None, _row_of(task, run)}:
        what = "results_uri" if placed_as else "This row of a mapped task, or its results_uri,"
        raise AirflowFailException(_of_another(what, end.batch_id))
    with ending_the_task(WAITING_FOR_A_BATCH_CALL, task.hook):
        end.raise_error()
        result = batch_result(task.hook, end)
        if task.results_uri is not None:
            is_complete = end.is_over and not stands_still(result)
            page = None
            if task.summary_uri is not None:
                page = BatchPage(str(task.summary_uri), task.name, is_complete=is_complete)
            result |= write_report(
                task.hook,
                result,
                str(task.results_uri),
                task.report_options,
                marker=placed_as or described,
                is_complete=is_complete,
                page=page,
            )
    tell(run.context, result)
    if end.is_over:
        end_by_threshold(task.waiting, result, run.context)
    else:
        _end_timed_out(task.on_timeout, result, run)
    return result


def _row_of(task: BatchTask, run: TaskRun) -> str:
    """Return by what a row of a mapped task is known again: whom it calls, and where its report goes.

    A digest: the name of a file may hold a phone number, and this is stored with the trigger.
    """
    return str(uuid5(UUID(build_batch(task, run).key), str(task.results_uri)))


def _of_another(what: str, batch_id: int) -> str:
    text = (
        f"{what} has changed during the wait, and batch call {batch_id} is that of the row before: nothing is"
        " written. Clear the task with the list as it was: it calls nobody, and reports on that batch call."
    )
    if "results_uri" in what:
        text += (
            " A template of the present time is another one after each wait; one of the run, as ts, is not."
        )
    return text


def _end_timed_out(choice: str, result: dict[str, Any], run: TaskRun) -> None:
    text = (
        f"The time to wait is up, and batch call {result['batch_id']} is not over. It continues, and"
        " nobody is called again by this task. Clear the task to wait again."
    )
    if choice == "fail":
        push_result(run.context, result)
        raise AirflowFailException(text)
    log.warning("%s", text)
