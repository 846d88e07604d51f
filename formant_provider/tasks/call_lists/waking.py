"""What a worker does when it takes up a list: it reads it, works on it, and gives it back or ends it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.tasks.call_lists.deadline import Deadline
from formant_provider.tasks.call_lists.dry_run import dry_run_result
from formant_provider.tasks.call_lists.ending import (
    FINISHED,
    end,
    leaving_a_result,
    result_of,
)
from formant_provider.tasks.call_lists.outputs import refuse_shared_files
from formant_provider.tasks.call_lists.results import write_progress, write_results
from formant_provider.tasks.call_lists.running import ListRun, now
from formant_provider.tasks.call_lists.telling import tell_progress, tell_store
from formant_provider.tasks.dry_run import is_dry_run
from formant_provider.tasks.failures import WORKING_OFF_A_LIST, ending_the_task
from formant_provider.tasks.references import reference_or_none, to_reference
from formant_provider.tasks.results import of_row, push_result
from formant_provider.tasks.run import TaskRun
from formant_provider.tasks.storage.uris import in_words
from formant_provider.tasks.waiting import defer_wait

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.core.call_lists.board import Board
    from formant_provider.tasks.call_lists.fields import CallListTask

log = logging.getLogger(__name__)


def wake(
    task: CallListTask,
    context: Context,
    deadline: datetime | None,
    *,
    dry_run: object,
    stopped: Callable[[], bool],
) -> dict[str, Any]:
    """Work on a list until its end; the task is deferred where there is nothing to do for a while.

    :param deadline: after it nothing is placed; ``None`` in the first wake of a try.
    :param stopped: whether this process is to end.
    :return: the result of the task.
    """
    with (
        leaving_a_result(context, lambda: of_row(context, reference_or_none(task.reference))),
        ending_the_task(WORKING_OFF_A_LIST, task.hook),
        tempfile.TemporaryDirectory(prefix="formant-list-") as folder,
    ):
        task.refuse_missing()
        task.reference = to_reference(task.reference)
        return _work_off(task, context, Path(folder), deadline, is_dry=is_dry_run(dry_run), stopped=stopped)


def _work_off(
    task: CallListTask,
    context: Context,
    folder: Path,
    deadline: datetime | None,
    *,
    is_dry: bool,
    stopped: Callable[[], bool],
) -> dict[str, Any]:
    from formant_provider.core.call_lists.board import Board

    limit = Deadline.of(TaskRun(context), deadline, task.timeout_s)
    with Board(folder, task.following.success_statuses) as board:
        run = ListRun(task, context, board, folder, limit, stopped, deadline is not None, show=lambda _: None)
        run.show = lambda shown: _show(run, shown)
        refuse_shared_files(task, run.run)
        run.read()
        if is_dry:
            return dry_run_result(run, of_row(context, task.reference))
        run.restore()
        rest = run.go()
        if stopped():
            _raise_stopped()
        if rest is not None:
            tell_progress(run.progress, board, task.hook, run.run)
            moment = min(rest.until, limit.until) if limit.until > now() else rest.until
            _tell(run, resumes_at=moment)
            _defer(task, moment, limit.until)
        return _finish(run, context)


def _defer(task: Any, moment: datetime, deadline: datetime) -> None:
    from formant_provider.triggers.wait import WaitTrigger

    trigger = WaitTrigger(moment.isoformat(), deadline.isoformat())
    defer_wait(task, trigger, moment, "execute_after_wait")


def _raise_stopped() -> None:
    from formant_provider.api.errors import SendAborted

    raise SendAborted("The list was stopped before its end; what was placed is written down")


def _show(run: ListRun, board: Board) -> None:
    """Tell the call store how the list stands, and the file that the user has named; nothing ends by it."""
    _tell(run)
    uri = run.task.progress_uri
    if uri is None:
        return
    try:
        write_progress(uri, board.results(), run.task.result_options, has_parts=run.has_parts)
    except Exception as error:  # whatever its storage raises
        log.warning("The progress could not be written to progress_uri (%s).", type(error).__name__)


def _tell(run: ListRun, *, resumes_at: datetime | None = None, status: str | None = None) -> None:
    store, tally, reference = run.ledgers.store, run.board.tally(), run.task.reference
    tell_store(store, run.run, tally, reference=reference, resumes_at=resumes_at, status=status)


def _finish(run: ListRun, context: Context) -> dict[str, Any]:
    task, board = run.task, run.board
    status, why = (run.work.ended_early if run.work else None) or (FINISHED, None)
    _show(run, board)
    tell_progress(run.progress, board, task.hook, run.run)
    uris: dict[str, str | None] = {"results_uri": None, "summary_uri": None}
    result = partial(result_of, board, of_row(context, task.reference), status=status, uris=uris)
    with _leaving_counts(run, context, result):
        uris["results_uri"] = _write_results(run)
        uris["summary_uri"] = _write_summary(run)
    _tell(run, status=status)
    return end(task, result(), context, why=why)


@contextmanager
def _leaving_counts(run: ListRun, context: Context, result: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Leave the counts of a list when a file of it cannot be written: its calls are over all the same.

    :raises AirflowFailException: a retry would call people, since it would not know that the time is up.
    """
    try:
        yield
    except Exception as error:  # whatever its storage raises
        push_result(context, result())
        if not run.deadline.is_known_to_a_retry:
            raise AirflowFailException(
                f"A file of this list could not be written ({type(error).__name__}), and its time is up."
                " Clear this task to write the file, and to call those who were not called."
            ) from error
        log.error(
            "A file of this list could not be written. Its calls are over, and are not placed again: a retry"
            " of this task, or a clear, writes the file."
        )
        raise


def _write_results(run: ListRun) -> str | None:
    task = run.task
    if task.results_uri is None:
        return None
    rows = run.board.results()
    written = write_results(task.hook, task.results_uri, rows, task.result_options, has_parts=run.has_parts)
    log.info("What came of each row is in %s.", in_words(written.uri))
    return written.uri


def _write_summary(run: ListRun) -> str | None:
    from formant_provider.tasks.summaries.summary import Summary
    from formant_provider.tasks.summaries.writing import write_summary

    task = run.task
    if task.summary_uri is None:
        return None
    summary = Summary(task.following.success_statuses)
    for row in run.board.results():
        summary.add(row)
    title = str(task.reference or "")
    where = write_summary(
        task.summary_uri, summary, title=title or f"Calls of {run.run.task_id[2]}", made_at=now()
    )
    log.info("A page about the list is in %s.", in_words(where))
    return where
