"""Transcription jobs: submitted, read, and waited for."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from abc import abstractmethod
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from formant_provider.api.transcription_models import TranscriptionJob
from formant_provider.hooks.methods.calls import id_of
from formant_provider.hooks.storage.errors import without_numbers_in_errors
from formant_provider.hooks.storage.paths import file_at

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient


class TranscriptionMethods:
    """Submits audio, and reads what was said in it.

    The vendor takes no idempotency key for a transcription job, and has no list of jobs: **who submits audio
    twice pays twice.** So a job is submitted again only where it was certainly not accepted. A retry of the
    task submits again; :class:`~formant_provider.operators.transcription.FormantTranscribeOperator` does not.
    """

    @abstractmethod
    def get_conn(self) -> FormantClient:
        """Return a client."""

    @abstractmethod
    def reread(self) -> object:
        """Read the connection anew."""

    def transcribe(
        self,
        *,
        audio: str,
        languages: str | list[str] | None = None,
        diarize: bool | None = None,
        format: str | None = None,  # noqa: A002 - the vendor's name
        timeout: float = 600.0,
        poll_interval: float = 5.0,
    ) -> TranscriptionJob:
        """Have an audio file transcribed, wait until that is done, and return what was said.

        The result is private.

        Vendor page: https://docs.formantai.com/api-reference/transcription

        :param audio: the file: an absolute path, or a URI of any storage that Airflow knows.
        :param languages: what is spoken: codes such as hi-IN, in a list or with commas, or unknown.
        :param diarize: whether speakers are told apart.
        :param format: standard or code_mixed.
        :param timeout: how long to wait, in seconds.
        :param poll_interval: time between two polls, in seconds.
        :return: the job, with ``text`` and ``utterances``.
        :raises InvalidInput: a field is wrong; nothing was sent.
        :raises TranscriptionUnsuccessful: the job has failed, is not over in time, or may not be read. It
            has the ``job_id``: a job that was submitted is never lost.
        :raises FormantError: of any kind; ``maybe_placed`` says whether a job may have been accepted.
        """
        timeout_s, interval_s = _seconds("timeout", timeout), _seconds("poll_interval", poll_interval)
        job = self.create_transcription_job(audio=audio, languages=languages, diarize=diarize, format=format)
        return self._wait_for(job, time.monotonic() + timeout_s, interval_s)

    def create_transcription_job(
        self,
        *,
        audio: str,
        languages: str | list[str] | None = None,
        diarize: bool | None = None,
        format: str | None = None,  # noqa: A002 - the vendor's name
    ) -> TranscriptionJob:
        """Submit an audio file to be transcribed, and do not wait. The result is read by the id of the job.

        :param audio: the file: an absolute path, or a URI of any storage that Airflow knows.
        :param languages: what is spoken: codes such as hi-IN, in a list or with commas, or unknown.
        :param diarize: whether speakers are told apart.
        :param format: standard or code_mixed.
        :return: the job, with its ``job_id``.
        :raises InvalidInput: a field is wrong; nothing was sent.
        :raises FormantError: of any kind; ``maybe_placed`` says whether it may have been accepted.
        :raises OSError: the file cannot be read; nothing was sent.
        """
        from formant_provider.core.transcriptions.request import to_diarize, to_format, to_languages

        chosen: dict[str, Any] = {"languages": to_languages(languages), "diarize": to_diarize(diarize)}
        chosen["format"] = to_format(format)
        source: Any = file_at("audio", audio)
        with tempfile.TemporaryDirectory(prefix="formant-audio-") as folder:
            copy = Path(folder) / f"audio{Path(source.name).suffix}"
            with without_numbers_in_errors(), source.fs.open(source.path, "rb") as file:
                _copy(copy, file)
            with self.get_conn() as client:
                return client.create_transcription_job(copy, **chosen)

    def get_transcription_job(self, *, job_id: str) -> TranscriptionJob:
        """Read a transcription job: its status, and once it is completed what was said.

        :param job_id: the id of the job.
        :raises NotFound: there is none by this id.
        """
        name = id_of("job_id", job_id)
        with self.get_conn() as client:
            return client.get_transcription_job(name)

    def _wait_for(self, job: TranscriptionJob, deadline: float, interval_s: float) -> TranscriptionJob:
        from formant_provider.api.errors import FormantError, NotFound, TranscriptionUnsuccessful
        from formant_provider.api.retry import may_repeat
        from formant_provider.api.transcription_models import COMPLETED, FAILURES
        from formant_provider.core.polling.loop import REFUSALS_TO_BELIEVE

        refusals = 0
        while job.status not in FAILURES and (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(interval_s, left_s))
            try:
                job = self.get_transcription_job(job_id=job.job_id)
            except FormantError as error:
                # It may not be known everywhere yet; and what passes ends no wait for what was paid for.
                if isinstance(error, NotFound) or may_repeat(error):
                    continue
                refusals += 1
                if refusals >= REFUSALS_TO_BELIEVE:
                    raise TranscriptionUnsuccessful(job.job_id, job.status) from error
                with suppress(Exception):  # a secrets backend may raise anything
                    self.reread()
                continue
            refusals = 0
            if job.status == COMPLETED:
                return job
        raise TranscriptionUnsuccessful(job.job_id, job.status)


def _copy(place: Path, file: IO[bytes]) -> None:
    with place.open("wb") as target:
        shutil.copyfileobj(file, target)


def _seconds(field: str, value: object) -> float:
    """Return a time to wait; asked before anything is sent, since what was submitted is paid for."""
    from formant_provider.api.errors import InvalidInput

    span = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(span, bool) or not isinstance(span, int | float) or not 0 < span < math.inf:
        raise InvalidInput(field, "must be a number of seconds above 0, or a timedelta")
    return float(span)
