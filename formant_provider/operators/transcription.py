"""The operator that has an audio file transcribed."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from formant_provider.api.transcription_models import FAILURES, TranscriptFormat
from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.options import flag, one_of, refuse_literals, statuses, time_to_wait
from formant_provider.tasks.results import a_result_in_any_case, push, push_result
from formant_provider.tasks.run import TaskRun
from formant_provider.tasks.task_hook import HoldsHook
from formant_provider.tasks.waiting import deferrable_or_default

if TYPE_CHECKING:
    from airflow.sdk import Context


class FormantTranscribeOperator(HoldsHook, BaseOperator):
    """Have an audio file of any storage transcribed, once, and write what was said to a file.

    The vendor takes no idempotency key for a transcription job, and has no list of jobs. So the task writes
    its intent into Airflow's task state store (3.3 and later) before it submits, and the id of the job after
    that: a retry, a clear and a further try after a killed worker continue to wait for the same job. When a
    job may have been accepted and its id is not known, the task fails without retries and submits nothing
    more, unless ``resubmit_if_unconfirmed`` says so.

    The audio is copied to the worker's disk, and uploaded from there in pieces. The result is a JSON file
    with ``job_id``, ``status``, ``engine``, ``language``, ``text``, ``utterances`` (as the API has them),
    ``audio`` (its URI) and ``request_key``. It appears when it is complete, in place of an older one.

    XCom: ``return_value``, a dict of ``job_id``, ``status``, ``reason``, ``output_uri`` and ``size`` of the
    file (``None`` until it is written), ``language`` and ``map_index``. ``job_id`` has its own key as well.
    What was said is in the file alone.

    Vendor page: https://docs.formantai.com/api-reference/transcription

    :param audio: the file: a URI of any storage that Airflow knows, such as
        ``s3://connection@bucket/talk.wav``, or an absolute path. (templated)
    :param output_uri: the file for the result, as ``audio``. Name in it what tells it from that of other
        audio, or one replaces the other. (templated)
    :param languages: what is spoken: codes such as ``hi-IN``, in a list or with commas between them, or
        ``"unknown"``, which finds out. ``None`` leaves it to the vendor. (templated)
    :param diarize: whether speakers are told apart. ``None`` leaves it to the vendor.
    :param format: ``"standard"`` or ``"code_mixed"``. ``None`` leaves it to the vendor.
    :param idempotency_key: a word of your own for this job. With another one the audio is submitted again,
        when the task is cleared; a row of a mapped task, and a task in a loop, needs
        ``resubmit_if_unconfirmed`` for that. ``None`` means one job for each DAG run and task, or row, or
        iteration. (templated)
    :param failure_statuses: statuses with which a job ends besides ``completed``: the vendor documents none.
        Any other status is waited for, until ``timeout``.
    :param resubmit_if_unconfirmed: whether to submit what may have been submitted before. If it was, the
        audio is transcribed, and billed, twice.
    :param deferrable: whether to wait in the triggerer; ``None``: as ``[operators] default_deferrable`` says.
    :param poll_interval: time between two polls, in seconds or as a ``timedelta``.
    :param timeout: how long a try waits, in seconds or as a ``timedelta``; then the task fails without
        retries. Clear it to wait again.
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :raises ValueError: at parse time, for an option that is invalid.
    """

    template_fields: Sequence[str] = (
        "audio",
        "output_uri",
        "languages",
        "idempotency_key",
        "formant_conn_id",
        "region",
    )
    literal_fields = ("region",)
    ui_color = "#d9efe3"

    def __init__(
        self,
        *,
        audio: str,
        output_uri: str,
        languages: str | Sequence[str] | None = None,
        diarize: bool | None = None,
        format: TranscriptFormat | None = None,  # noqa: A002 - the vendor's name
        idempotency_key: str | None = None,
        failure_statuses: Collection[str] = FAILURES,
        resubmit_if_unconfirmed: bool = False,
        deferrable: bool | None = None,
        poll_interval: float | timedelta = 15,
        timeout: float | timedelta = 3600,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audio, self.output_uri, self.languages = audio, output_uri, languages
        self.diarize = diarize if diarize is None else flag("diarize", diarize)
        self.format = format if format is None else one_of("format", format, get_args(TranscriptFormat))
        self.idempotency_key = idempotency_key
        self.failure_statuses = tuple(sorted(statuses("failure_statuses", failure_statuses)))
        self.resubmit_if_unconfirmed = flag("resubmit_if_unconfirmed", resubmit_if_unconfirmed)
        self.deferrable, self._stopped = deferrable_or_default(deferrable), False
        self.poll_interval_s = time_to_wait("poll_interval", poll_interval)
        self.timeout_s = time_to_wait("timeout", timeout)
        self.formant_conn_id, self.region = formant_conn_id, region
        refuse_literals(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit the audio once, push the id of the job, wait for it, and write the result."""
        from formant_provider.tasks.failures import TRANSCRIBING, ending_the_task
        from formant_provider.tasks.ledger import TRANSCRIPTIONS_ENTRY, noting_nothing_sent
        from formant_provider.tasks.transcriptions.completion import became, blank, wait
        from formant_provider.tasks.transcriptions.submitting import Submitter

        run = TaskRun(context, own_name=self.idempotency_key is not None)
        with (
            a_result_in_any_case(context, lambda: blank(run), became, apart=["job_id"]),
            tempfile.TemporaryDirectory(prefix="formant-audio-") as folder,
            ending_the_task(TRANSCRIBING, self.hook),
            noting_nothing_sent(run, TRANSCRIPTIONS_ENTRY),
        ):
            job = Submitter(self, run, Path(folder), is_stopped=lambda: self._stopped).submit()
        push(context, "job_id", job.job_id)
        receipt = {**blank(run), "job_id": job.job_id}
        push_result(context, receipt)  # whatever becomes of the rest of the task
        return wait(self, receipt, run)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the wait for the job in the triggerer."""
        from formant_provider.tasks.transcriptions.completion import conclude
        from formant_provider.triggers.transcription import TranscriptionEnd

        run = TaskRun(context, own_name=self.idempotency_key is not None)
        return conclude(self, TranscriptionEnd.from_event(event), run)

    def on_kill(self) -> None:
        """Submit nothing more. A job that was submitted goes on: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Nothing more is submitted. A job that was submitted goes on.")
