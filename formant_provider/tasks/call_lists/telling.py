"""Says how far a call list has come: in the log, and in metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pendulum

if TYPE_CHECKING:
    from formant_provider.core.call_lists.board import Board
    from formant_provider.core.call_lists.progress import Progress
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.run import TaskRun

log = logging.getLogger(__name__)


def tell_progress(progress: Progress, board: Board, hook: FormantHook, run: TaskRun) -> None:
    """Take in how a list stands, log it in one line, and set the gauges of the list."""
    from formant_provider.api.telemetry import LIST_GAUGES

    tally, (dag_id, _, task_id) = board.tally(), run.task_id
    log.info("%s.", progress.line(tally, pendulum.now("UTC")))
    for metric in LIST_GAUGES:
        value = getattr(tally, metric.name.rpartition(".")[2])
        hook.telemetry.gauge(metric, value, dag_id=dag_id, task_id=task_id)
