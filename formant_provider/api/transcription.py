"""The requests of transcription jobs.

Vendor page: https://docs.formantai.com/api-reference/transcription
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from urllib.parse import quote

from formant_provider.api.errors import BadResponse, FormantError
from formant_provider.api.multipart import FilePart, Form
from formant_provider.api.transcription_models import TranscriptFormat, TranscriptionJob
from formant_provider.api.transport import Request

CREATE_JOB = "POST /v1/transcription/jobs"
GET_JOB = "GET /v1/transcription/jobs/{job_id}"
# The path of a file may be private; its ending says what it is.
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}")


def create_request(
    audio: BinaryIO,
    name: str,
    *,
    languages: str | None,
    diarize: bool | None,
    transcript_format: TranscriptFormat | None,
    before_send: Callable[[], FormantError | None] | None,
) -> Request:
    """Return the request that submits a job; what is ``None`` is left to the vendor.

    :param name: of the file, of which only the ending is sent.
    """
    fields = {
        "languages": languages,
        "diarize": None if diarize is None else str(diarize).lower(),
        "format": transcript_format,
    }
    return Request(
        CREATE_JOB,
        "/v1/transcription/jobs",
        form=Form({field: text for field, text in fields.items() if text is not None}, audio, _part(name)),
        is_bare=True,
        before_send=before_send,
        places_call=True,
        idempotent=False,
    )


def get_request(job_id: str) -> Request:
    """Return the request that reads a job."""
    return Request(GET_JOB, f"/v1/transcription/jobs/{quote(job_id, safe='')}", is_bare=True)


def job_of(answer: Mapping[str, Any], operation: str) -> TranscriptionJob:
    """Return the job of an answer."""
    job = TranscriptionJob.from_json(answer["data"])
    if job is None:
        text = f"{operation}: the answer has no id"
        raise BadResponse(text, operation=operation, maybe_placed=operation == CREATE_JOB)
    return job


def _part(name: str) -> FilePart:
    ending = _ENDING.fullmatch(name[name.rfind(".") :] if "." in name else "")
    file_name = f"audio{ending[0].lower() if ending else ''}"
    return FilePart("audio", file_name, mimetypes.guess_type(file_name)[0] or "application/octet-stream")
