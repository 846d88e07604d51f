"""From the fields a user fills in to one transcription job.

Vendor page: https://docs.formantai.com/api-reference/transcription
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from formant_provider.api.errors import InvalidInput
from formant_provider.api.transcription_models import TranscriptFormat
from formant_provider.core import validation
from formant_provider.core.keys import key_for_transcription

DETECT = "unknown"
_CODE = re.compile(r"[a-z]{2,3}-[A-Z]{2}")


@dataclass(frozen=True)
class TranscriptionRequest:
    """One transcription job, ready to be submitted.

    :param key: the same for every try of the same job; it is not sent.
    :param languages: as the API takes them; ``None`` leaves them to the vendor.
    :param fetch_audio: makes the file that is uploaded and returns its path; called only when it has to be
        sent. What it raises ends the submission, and nothing was sent.
    """

    key: str
    languages: str | None
    diarize: bool | None
    format: TranscriptFormat | None
    fetch_audio: Callable[[], str | os.PathLike[str]]


def build_transcription(
    *,
    audio: str,
    languages: Any,
    diarize: Any,
    format: Any,  # noqa: A002 - the vendor's name
    idempotency_key: Any,
    fetch_audio: Callable[[], str | os.PathLike[str]],
    task: tuple[str, str, str],
) -> TranscriptionRequest:
    """Check every field of the operator, rendered, and derive the key.

    :param audio: the URI of the file. Another file is another job.
    :param task: DAG id, run id and task id.
    :raises InvalidInput: with the name of the field at fault.
    """
    dag_id, run_id, task_id = task
    key = key_for_transcription(
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        audio=audio,
        name=validation.to_optional_text("idempotency_key", idempotency_key),
    )
    return TranscriptionRequest(
        key, to_languages(languages), to_diarize(diarize), to_format(format), fetch_audio
    )


def to_languages(value: object) -> str | None:
    """Return the languages as the API takes them, given as a list, or as text with commas."""
    if value is None:
        return None
    codes = [str(code) for code in validation.to_items("languages", value)]
    if codes == [DETECT]:
        return DETECT
    if not codes or not all(_CODE.fullmatch(code) for code in codes):
        raise InvalidInput("languages", f"must be codes such as hi-IN, or {DETECT!r} alone")
    return ",".join(dict.fromkeys(codes))


def to_diarize(value: object) -> bool | None:
    """Return the switch; text is refused, since ``"False"`` would count as true."""
    if value is not None and not isinstance(value, bool):
        raise InvalidInput("diarize", "must be True, False or None")
    return value


def to_format(value: Any) -> TranscriptFormat | None:
    """Return the word for the form of the text."""
    words = get_args(TranscriptFormat)
    if value is not None and value not in words:
        raise InvalidInput("format", f"must be one of {', '.join(words)}, or None")
    word: TranscriptFormat | None = value
    return word
