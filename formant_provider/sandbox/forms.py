"""Multipart forms: received while they arrive, the files in them on disk, before anything is checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from formant_provider.sandbox.request_schemas import media_type
from formant_provider.sandbox.responses import ApiError, invalid

_HEAD_BYTES = 500

T = TypeVar("T")
Part = tuple[str, str | UploadFile]


@dataclass(frozen=True, kw_only=True)
class Upload(Generic[T]):
    """A form that was received.

    :param request: its content, or the error it is answered with.
    :param seen: its fields, a file by its name; None when the body was not a form.
    :param head: the first bytes of its first file.
    """

    request: T | ApiError
    seen: dict[str, Any] | None = None
    head: bytes = field(default=b"", repr=False)


async def receive(request: Request, read: Callable[[list[Part]], T]) -> Upload[T]:
    """Receive a form, valid or not. Its file goes to disk, and other requests do not wait for it.

    :param read: returns the content, and may keep the files open; raises ``ApiError``.
    """
    stream = request.stream()
    try:
        parts = await _parts(request, stream)
    except ApiError as error:
        # The rest is read all the same, so that a client that is still sending gets to read the error.
        async for _ in stream:
            pass
        return Upload(request=error)
    return await asyncio.to_thread(_upload, parts, read)


async def _parts(request: Request, stream: AsyncGenerator[bytes, None]) -> list[Part]:
    if media_type(request.headers.get("Content-Type", "")) != "multipart/form-data":
        raise invalid("Content-Type must be multipart/form-data")
    try:
        form = await MultiPartParser(request.headers, stream).parse()
    except (MultiPartException, FormParserError):
        raise invalid("body must be valid multipart/form-data") from None
    return form.multi_items()


def _upload(parts: list[Part], read: Callable[[list[Part]], T]) -> Upload[T]:
    seen = {name: value if isinstance(value, str) else value.filename for name, value in parts}
    files = [value.file for _, value in parts if isinstance(value, UploadFile)]
    head = files[0].read(_HEAD_BYTES) if files else b""
    try:
        content = read(parts)
    except ApiError as error:
        for file in files:
            file.close()
        return Upload(request=error, seen=seen, head=head)
    return Upload(request=content, seen=seen, head=head)
