"""The multipart form of POST /v1/transcription/jobs, checked strictly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.requests import Request

from formant_provider.sandbox.forms import Part, Upload, receive
from formant_provider.sandbox.request_schemas import field_path
from formant_provider.sandbox.responses import invalid

FIELDS = ("audio", "languages", "diarize", "format")
DETECT = "unknown"
LANGUAGES = frozenset(
    f"{language}-IN" for language in ("hi", "bn", "kn", "ml", "mr", "pa", "ta", "te", "en", "gu", "as", "ur")
)
"""The languages that the vendor's page names."""

_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class CreateJob:
    """The content of a valid form. Of the audio its size and checksum are kept.

    :param languages: those to expect; empty means that the language is found out.
    """

    file_name: str
    content_type: str
    size: int
    sha256: str
    languages: tuple[str, ...]
    diarize: bool
    format: str


async def receive_audio(request: Request) -> Upload[CreateJob]:
    """Receive the form of a transcription job, valid or not."""
    return await receive(request, _read)


def _read(parts: list[Part]) -> CreateJob:
    values = dict(parts)
    for name in values:
        if name not in FIELDS:
            raise invalid(f"{field_path((name,))} is not a known field")
    if len(values) < len(parts):
        raise invalid("fields must not be repeated")
    audio = values.get("audio")
    if not isinstance(audio, UploadFile):
        raise invalid("audio is required, as a file")
    texts = {name: _text(name, values.get(name)) for name in FIELDS[1:]}
    languages = _languages(texts["languages"] or DETECT)
    diarize = _one_of("diarize", texts["diarize"] or "false", ("true", "false")) == "true"
    form = _one_of("format", texts["format"] or "standard", ("standard", "code_mixed"))
    size, sha256 = _measure(audio)
    return CreateJob(
        file_name=audio.filename or "",
        content_type=audio.content_type or "",
        size=size,
        sha256=sha256,
        languages=languages,
        diarize=diarize,
        format=form,
    )


def _text(name: str, value: str | UploadFile | None) -> str | None:
    if isinstance(value, UploadFile):
        raise invalid(f"{name} must be text")
    return value


def _one_of(name: str, value: str, words: tuple[str, ...]) -> str:
    if value not in words:
        raise invalid(f"{name} must be one of {', '.join(words)}")
    return value


def _languages(text: str) -> tuple[str, ...]:
    if text == DETECT:
        return ()
    codes = tuple(text.split(","))
    if not set(codes) <= LANGUAGES:
        raise invalid(f"languages must be {DETECT}, or a list of {', '.join(sorted(LANGUAGES))}")
    return codes


def _measure(audio: UploadFile) -> tuple[int, str]:
    """Return size and checksum of the audio, and forget it."""
    digest, size = hashlib.sha256(), 0
    with audio.file as file:
        file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    if not size:
        raise invalid("audio must not be empty")
    return size, digest.hexdigest()
