"""A multipart form as it comes in: parsed while it arrives, its file on disk, then checked to the letter."""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from formant_provider.sandbox.answers import Refusal, invalid
from formant_provider.sandbox.rows import Rows, read_rows
from formant_provider.sandbox.schema import field_path

FIELDS = ("agent_id", "name", "file")
_HEAD_BYTES = 500

Part = tuple[str, str | UploadFile]


@dataclass(frozen=True, kw_only=True)
class CreateBatch:
    """What POST /v1/batch-call asks for."""

    agent_id: int
    name: str
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A form that was received.

    :param request: what it asks for, or the refusal it gets.
    :param seen: its fields, a file by its name; None when it was no form.
    :param head: how its first file begins.
    """

    request: CreateBatch | Refusal
    seen: dict[str, Any] | None = None
    head: bytes = field(default=b"", repr=False)


async def receive_upload(request: Request) -> Upload:
    """Take a form in, whatever it is. Memory does not grow with its file, and nobody else has to wait."""
    stream = request.stream()
    try:
        parts = await _parts(request, stream)
    except Refusal as refusal:
        # Received in full all the same, as by a server that looks into it afterwards.
        async for _ in stream:
            pass
        return Upload(request=refusal)
    return await asyncio.to_thread(_upload, parts)


async def _parts(request: Request, stream: AsyncGenerator[bytes, None]) -> list[Part]:
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "multipart/form-data":
        raise invalid("Content-Type must be multipart/form-data")
    try:
        form = await MultiPartParser(request.headers, stream).parse()
    except (MultiPartException, FormParserError):
        raise invalid("body must be valid multipart/form-data") from None
    return form.multi_items()


def _upload(parts: list[Part]) -> Upload:
    seen = {name: value if isinstance(value, str) else value.filename for name, value in parts}
    files = [value.file for _, value in parts if isinstance(value, UploadFile)]
    head = files[0].read(_HEAD_BYTES) if files else b""
    try:
        asked = _create_batch(*_fields(parts))
    except Refusal as refusal:
        for file in files:
            file.close()
        return Upload(request=refusal, seen=seen, head=head)
    weakref.finalize(asked.rows, asked.rows.file.close)
    return Upload(request=asked, seen=seen, head=head)


def _fields(parts: list[Part]) -> list[str | UploadFile]:
    """Return the values of the fields, each of which must be there once, and none besides."""
    values = dict(parts)
    for name in values:
        if name not in FIELDS:
            raise invalid(f"{field_path((name,))} is not a known field")
    for name in FIELDS:
        if name not in values:
            raise invalid(f"{name} is required")
    if len(values) < len(parts):
        raise invalid("fields must not be repeated")
    return [values[name] for name in FIELDS]


def _create_batch(agent_id: str | UploadFile, name: str | UploadFile, file: str | UploadFile) -> CreateBatch:
    if not isinstance(agent_id, str) or not re.fullmatch(r"[0-9]{1,18}", agent_id):
        raise invalid("agent_id must be an integer")
    if not isinstance(name, str) or not name.strip():
        raise invalid("name must be a text that is not blank")
    if not isinstance(file, UploadFile) or not (file.filename or "").lower().endswith(".csv"):
        raise invalid("file must be a file whose name ends in .csv")
    return CreateBatch(agent_id=int(agent_id), name=name, rows=read_rows(file.file))
