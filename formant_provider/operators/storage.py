"""One conversation as files: recording, transcript, record."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
)

from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.options import one_of, seconds, some_of
from formant_provider.tasks.storage.tables import NumberDisplay
from formant_provider.tasks.storage.uris import in_words

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.tasks.storage.archive import Archive

Part = Literal["recording", "transcript", "record"]
OnMissing = Literal["fail", "skip"]


class FormantConversationToObjectStorageOperator(BaseOperator):
    """Write the recording, the transcript and the record of one conversation to files.

    The files are ``recording.wav`` (``.mp3`` or ``.ogg`` if the API says that it is one), ``transcript.json``
    and ``record.json``, in a folder of ``folder_uri`` with the name of the conversation. A further try writes
    them again. A file appears under its name when it is complete, in place of an older one. The recording is
    never in memory as a whole; a download that is interrupted starts again.

    A recording and a transcript may become available some time after the conversation, or never, and the API
    gives the same answer in both cases. So the task looks again for a while, and holds its worker. If nobody
    was connected it looks once. It waits for the API's rate limit besides, up to an hour for one request.

    XCom: ``return_value``, a dict of ``conversation_id``, ``status``, then ``recording``, ``transcript`` and
    ``record``, each the URI of its file or ``None``, and ``sizes``, the bytes of each file that was written.

    Redirects are never followed: they would send the API key to another server.

    Vendor page: https://docs.formantai.com/guides/retrieve-call-results

    :param conversation_id: the id of the conversation, from its record, a webhook or a wait for its end.
        (templated)
    :param folder_uri: the folder for all conversations: a URI of any storage that Airflow knows, such as
        ``s3://connection@bucket/calls``, or an absolute path. (templated)
    :param include: which files to write: any of ``recording``, ``transcript`` and ``record``.
    :param recipients: how much of the recipient's number the record shows: ``"full"``, ``"masked"`` (the last
        four digits) or ``"none"``, which leaves it out.
    :param wait_for: how long to wait for what is not available yet, in seconds or as a ``timedelta``; 0 means
        to look once.
    :param poll_interval: time between two polls, in seconds or as a ``timedelta``.
    :param on_missing: what the task does when something is still not available: ``"fail"`` (a retry looks
        again) or ``"skip"``, which leaves that file out. What is available is written either way. With
        ``"skip"``, the task is skipped if it wrote nothing at all.
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :raises ValueError: at parse time, for an invalid option.
    """

    template_fields: Sequence[str] = ("conversation_id", "folder_uri", "formant_conn_id", "region")
    ui_color = "#d9efe3"

    def __init__(
        self,
        *,
        conversation_id: str,
        folder_uri: str,
        include: Collection[Part] = ("recording", "transcript", "record"),
        recipients: NumberDisplay = "masked",
        wait_for: float | timedelta = 300,
        poll_interval: float | timedelta = 15,
        on_missing: OnMissing = "fail",
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conversation_id, self.folder_uri = conversation_id, folder_uri
        self.include = some_of("include", include, get_args(Part))
        self.recipients = one_of("recipients", recipients, get_args(NumberDisplay))
        self.wait_for_s = seconds("wait_for", wait_for)
        self.poll_interval_s = seconds("poll_interval", poll_interval)
        if not self.poll_interval_s:
            raise ValueError("poll_interval must be above 0")
        self.on_missing = one_of("on_missing", on_missing, get_args(OnMissing))
        self.formant_conn_id, self.region = formant_conn_id, region

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - nothing of the run goes in
        """Write what is available, wait for the rest; return where the files are."""
        from formant_provider.api.retry import PATIENT
        from formant_provider.hooks.storage.paths import to_folder
        from formant_provider.tasks.failures import READING, ending_the_task
        from formant_provider.tasks.storage.archive import Archive
        from formant_provider.tasks.storage.files import safe_name

        with ending_the_task(READING):
            conversation_id = self._checked_id()
            folder = to_folder("folder_uri", self.folder_uri) / safe_name(conversation_id)
            with FormantHook(self.formant_conn_id, self.region).get_conn(PATIENT) as client:
                archive = Archive(client, conversation_id, folder, self.include, self.recipients)
                self._gather(archive)
        if archive.missing:
            self._end_incomplete(archive)
        return self._result(archive)

    def _checked_id(self) -> str:
        from formant_provider.api.errors import InvalidInput
        from formant_provider.core.validation import to_optional_text

        text = to_optional_text("conversation_id", self.conversation_id)
        if text is None:
            raise InvalidInput(
                "conversation_id", "is missing; a receipt seldom holds one, it is known once the call is over"
            )
        return text

    def _gather(self, archive: Archive) -> None:
        waited_s = 0.0
        while True:
            last = waited_s >= self.wait_for_s
            if not archive.look(last=last) or last:
                return
            pause_s = min(self.poll_interval_s, self.wait_for_s - waited_s)
            missing = ", ".join(archive.missing)
            self.log.info("Not there yet: %s. Looking again in %.0f s.", missing, pause_s)
            time.sleep(pause_s)
            waited_s += pause_s

    def _end_incomplete(self, archive: Archive) -> None:
        """End a task that misses something as its user chose, or log what is missing and continue."""
        text = f"Not there: {', '.join(archive.missing)} of conversation {archive.conversation_id}."
        if self.on_missing == "fail" and archive.nobody_connected:
            raise AirflowFailException(f"{text} Nobody was connected, so there will be none.")
        if self.on_missing == "fail":
            raise AirflowException(f"{text} It may come later, or never. A retry of this task looks again.")
        if not archive.written:
            raise AirflowSkipException(text)
        self.log.warning("%s The task continues without it.", text)

    def _result(self, archive: Archive) -> dict[str, Any]:
        written = archive.written
        for part, file in written.items():
            self.log.info("Wrote the %s to %s, %s bytes.", part, in_words(file.uri), file.size)
        return {
            "conversation_id": archive.conversation_id,
            "status": archive.record.status if archive.record else None,
            **{part: written[part].uri if part in written else None for part in get_args(Part)},
            "sizes": {part: file.size for part, file in written.items()},
        }
