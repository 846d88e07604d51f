"""Says how far a call list has come: in the log, in metrics, and for the calls page. Nothing ends by it."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

import pendulum

from formant_provider.api.errors import FormantError

if TYPE_CHECKING:
    from formant_provider.core.call_lists.board import Board
    from formant_provider.core.call_lists.progress import Progress
    from formant_provider.core.call_lists.tally import Tally
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.store import Store
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


def tell_store(
    store: Store | None,
    run: TaskRun,
    tally: Tally,
    *,
    reference: object,
    resumes_at: datetime | None = None,
    status: str | None = None,
) -> None:
    """Tell the store of a list how it stands.

    :param store: ``None``: there is none, and nothing is told.
    :param reference: the user's name of the list.
    :param resumes_at: until when it waits, aware; ``None``: it does not.
    :param status: how it ended, in a word; ``None``: it has not.
    """
    if store is None:
        return
    from formant_provider.store.list_progress import tell_progress

    place = (*run.task_id, run.map_index)
    try:
        tell_progress(
            store,
            place,
            tally,
            reference=reference,
            now=pendulum.now("UTC"),
            resumes_at=resumes_at,
            status=status,
        )
    except Exception as error:  # whatever a database raises
        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        log.warning("The call store could not be told how the list stands, for the calls page: %s.", what)
