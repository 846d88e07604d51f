"""The multipart form of POST /v1/batch-call: parsed while it arrives, then checked strictly."""

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

from formant_provider.sandbox.batch_file import Rows, read_rows
from formant_provider.sandbox.request_schemas import field_path, media_type
from formant_provider.sandbox.responses import ApiError, invalid

FIELDS = ("agent_id", "name", "file")
_HEAD_BYTES = 500

Part = tuple[str, str | UploadFile]


@dataclass(frozen=True, kw_only=True)
class CreateBatch:
    """The content of a valid form."""

    agent_id: int
    name: str
    rows: Rows


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A form that was received.

    :param request: its content, or the error it is answered with.
    :param seen: its fields, a file by its name; None when the body was not a form.
    :param head: the first bytes of its first file.
    """

    request: CreateBatch | ApiError
    seen: dict[str, Any] | None = None
    head: bytes = field(default=b"", repr=False)


async def receive_upload(request: Request) -> Upload:
    """Receive a form, valid or not. Its file goes to disk, and other requests do not wait for it."""
    stream = request.stream()
    try:
        parts = await _parts(request, stream)
    except ApiError as error:
        # The rest is read all the same, so that a client that is still sending gets to read the error.
        async for _ in stream:
            pass
        return Upload(request=error)
    return await asyncio.to_thread(_upload, parts)


async def _parts(request: Request, stream: AsyncGenerator[bytes, None]) -> list[Part]:
    if media_type(request.headers.get("Content-Type", "")) != "multipart/form-data":
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
        content = _create_batch(*_fields(parts))
    except ApiError as error:
        for file in files:
            file.close()
        return Upload(request=error, seen=seen, head=head)
    # The file is read again whenever somebody looks at the rows, so it lives as long as they do.
    weakref.finalize(content.rows, content.rows.file.close)
    return Upload(request=content, seen=seen, head=head)


def _fields(parts: list[Part]) -> list[str | UploadFile]:
    """Return the values of the three fields. Each must be there once, and no other."""
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
