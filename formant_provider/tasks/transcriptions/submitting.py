"""Submits the job of a task: brings together the audio, the ledger, and what the user chose."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from formant_provider.hooks.storage.paths import to_file
from formant_provider.tasks.storage.files import open_to_read
from formant_provider.tasks.storage.uris import in_words
from formant_provider.tasks.waiting import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from formant_provider.api.errors import FormantError
    from formant_provider.core.transcriptions.request import TranscriptionRequest
    from formant_provider.core.transcriptions.submission import JobReceipt
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.run import TaskRun

log = logging.getLogger(__name__)

# What the result of a job is recognised by.
KEY_FIELD = "request_key"


class TranscriptionTask(Protocol):
    """What the operator's helpers read of it: its rendered fields, and its options."""

    audio: str
    output_uri: str
    languages: str | Sequence[str] | None
    diarize: bool | None
    format: Any
    idempotency_key: str | None
    failure_statuses: tuple[str, ...]
    resubmit_if_unconfirmed: bool
    deferrable: bool
    poll_interval_s: float
    timeout_s: float

    @property
    def hook(self) -> FormantHook:
        """The hook of the task."""


@dataclass
class Submitter:
    """Submits the job of a task, once, unless the task is stopped before the upload."""

    task: TranscriptionTask
    run: TaskRun
    folder: Path
    is_stopped: Callable[[], bool]

    def submit(self) -> JobReceipt:
        """Submit the job, or find out that it was submitted already."""
        from formant_provider.core.transcriptions.submission import (
            Submission,
            SubmissionPolicy,
            TranscriptionIntent,
        )
        from formant_provider.tasks.ledger import ledger_for

        task, run = self.task, self.run
        to_file("output_uri", task.output_uri)  # before anything is sent
        request = build(task, run, self._fetch_audio)
        policy = SubmissionPolicy(task.resubmit_if_unconfirmed, self._others_may_have(request.key))
        ledger = ledger_for(run, TranscriptionIntent, request.key)
        with task.hook.get_conn() as client:
            return Submission(
                request, client, ledger, policy, now, lambda: self._find_result(request.key), self._check
            ).run()

    def _others_may_have(self, key: str) -> bool:
        """Whether another task instance of this run may have submitted the same.

        A row knows what was sent from its position, and a list may come back in another order. Where other
        audio was at this position before, it has, whether Airflow tells of a clear or not.
        """
        from formant_provider.tasks.ledger import TRANSCRIPTIONS_ENTRY, keys_in

        run = self.run
        if run.was_cleared and run.may_follow_another:
            return True
        return run.is_mapped and any(known != key for known in keys_in(run, TRANSCRIPTIONS_ENTRY))

    def _fetch_audio(self) -> Path:
        """Copy the audio to this machine's disk, so that nothing was sent when its storage fails."""
        from formant_provider.api.errors import InputNotFound, InvalidInput

        place, name = to_file("audio", self.task.audio)
        copy = self.folder / f"audio{Path(name).suffix}"
        try:
            with open_to_read(place / name) as file, copy.open("wb") as target:
                shutil.copyfileobj(file, target)
        except FileNotFoundError:
            raise InputNotFound("audio", f"there is no file {in_words(self.task.audio)}") from None
        except IsADirectoryError:
            raise InvalidInput("audio", "is a folder") from None
        if not copy.stat().st_size:
            raise InvalidInput("audio", "is an empty file")
        return copy

    def _find_result(self, key: str) -> JobReceipt | None:
        """Return the job whose result lies where this one's is to be, if that is the same."""
        from formant_provider.core.transcriptions.submission import JobReceipt

        folder, name = to_file("output_uri", self.task.output_uri)
        file: Any = folder / name
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            written = json.loads(file.read_bytes())
            if written[KEY_FIELD] == key:
                return JobReceipt(str(written["job_id"]))
        return None

    def _check(self) -> FormantError | None:
        from formant_provider.api.errors import SendAborted

        return SendAborted("The task was stopped before the upload") if self.is_stopped() else None


def build(
    task: TranscriptionTask, run: TaskRun, fetch_audio: Callable[[], Path] = Path
) -> TranscriptionRequest:
    """Return the job that the rendered fields of a task describe.

    :param fetch_audio: makes the file that is uploaded; left out where only the key is of interest.
    """
    from formant_provider.core.transcriptions.request import build_transcription

    request = build_transcription(
        audio=str(task.audio).strip(),
        languages=task.languages,
        diarize=task.diarize,
        format=task.format,
        idempotency_key=task.idempotency_key,
        fetch_audio=fetch_audio,
        task=run.task_id,
    )
    return replace(request, key=run.key_in_loop(request.key))
