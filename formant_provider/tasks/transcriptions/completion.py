"""Waits for a transcription job that was submitted, writes its result, and ends the task."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.tasks.results import not_called, push_result, storable
from formant_provider.tasks.storage.uris import in_words
from formant_provider.tasks.transcriptions.submitting import KEY_FIELD, TranscriptionTask, build
from formant_provider.tasks.waiting import defer_wait, now, wait_here

if TYPE_CHECKING:
    from formant_provider.api.transcription_models import TranscriptionJob
    from formant_provider.tasks.run import TaskRun
    from formant_provider.triggers.transcription import TranscriptionEnd, TranscriptionTrigger

log = logging.getLogger(__name__)

# In the receipt of a wait: the key of the job. A mapped list may have changed when the task goes on.
_KEY = "request_key"


def blank(run: TaskRun) -> dict[str, Any]:
    """Return the result of a task of which nothing is known yet."""
    names = ("job_id", "status", "reason", "output_uri", "size", "language")
    return {**dict.fromkeys(names), "map_index": run.map_index}


def became(error: Exception) -> tuple[str | None, str]:
    """Return status and reason of a task that ends before its job is known to be submitted."""
    status, reason = not_called(error, skipped="skipped")
    return "not_submitted" if status == "not_placed" else status, reason


def wait(task: TranscriptionTask, receipt: dict[str, Any], run: TaskRun) -> dict[str, Any]:
    """Wait until the job is over, here or in the triggerer; return the result."""
    from formant_provider.tasks.failures import WAITING_FOR_A_TRANSCRIPTION, ending_the_task

    deadline = now() + timedelta(seconds=task.timeout_s)
    log.info("Waiting until %s for transcription job %s.", deadline, receipt["job_id"])
    trigger = _trigger(task, {**receipt, _KEY: build(task, run).key}, deadline)
    if task.deferrable:
        defer_wait(task, trigger, deadline)
    with ending_the_task(WAITING_FOR_A_TRANSCRIPTION, task.hook):
        end = wait_here(task.hook, trigger)
    return conclude(task, end, run)


def _trigger(task: TranscriptionTask, receipt: dict[str, Any], deadline: datetime) -> TranscriptionTrigger:
    from formant_provider.core.transcriptions.feed import TranscriptionWatch
    from formant_provider.triggers.transcription import TranscriptionTrigger

    watch = TranscriptionWatch(receipt["job_id"], task.failure_statuses, task.poll_interval_s)
    return TranscriptionTrigger(
        formant_conn_id=task.hook.formant_conn_id,
        region=task.hook.region,
        watch=watch.to_json(),
        deadline=deadline.isoformat(),
        receipt=receipt,
    )


def conclude(task: TranscriptionTask, end: TranscriptionEnd, run: TaskRun) -> dict[str, Any]:
    """Write the result of a job that was completed; end the task for any other.

    :raises AirflowFailException: it has failed, or is not over; a retry would submit nothing.
    """
    from formant_provider.api.retry import LAST_READ
    from formant_provider.api.transcription_models import COMPLETED
    from formant_provider.tasks.failures import WAITING_FOR_A_TRANSCRIPTION, ending_the_task

    key = build(task, run).key
    is_another = end.receipt.pop(_KEY, key) != key
    result = {**end.receipt, "status": end.status}
    with ending_the_task(WAITING_FOR_A_TRANSCRIPTION, task.hook):
        end.raise_error()
        if end.is_over and end.status == COMPLETED and not is_another:
            with task.hook.get_conn(LAST_READ) as client:
                job = client.get_transcription_job(end.job_id)
            return result | _write(task, job, key)
    push_result(run.context, result)
    raise AirflowFailException(_of_another(end) if is_another else _what_to_do(end))


def _of_another(end: TranscriptionEnd) -> str:
    return (
        f"The audio of this task has changed while it waited, and transcription job {end.job_id} is of the"
        " audio before: nothing is written. A row of a mapped task comes to that when its list changes."
        " Clear the task with the audio as it was: it submits nothing, and writes the result of that job."
    )


def _what_to_do(end: TranscriptionEnd) -> str:
    if end.is_over:
        return (
            f"The transcription job {end.job_id} has ended as {end.status!r}. A retry would submit nothing."
            " To have the audio transcribed again, give the task another idempotency_key and clear it."
        )
    return (
        f"The time to wait is up, and the transcription job {end.job_id} is not over; its status is"
        f" {end.status!r}. It continues. Clear the task to wait again: it submits nothing. If that status"
        " is an end, name it in failure_statuses."
    )


def _write(task: TranscriptionTask, job: TranscriptionJob, key: str) -> dict[str, Any]:
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.hooks.storage.writing import write_file

    folder, name = to_file("output_uri", task.output_uri)
    content: Mapping[str, Any] = {**asdict(job), "audio": str(task.audio), KEY_FIELD: key}

    def fill(file: IO[bytes]) -> str:
        text = json.dumps(storable(content), ensure_ascii=False, indent=2)
        file.write(f"{text}\n".encode())
        return name

    written = write_file(folder, fill)
    log.info("Wrote the transcription to %s, %s bytes.", in_words(written.uri), written.size)
    return {"output_uri": written.uri, "size": written.size, "language": storable(job.language)}
