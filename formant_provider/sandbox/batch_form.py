"""The multipart form of POST /v1/batch-call, checked strictly."""

from __future__ import annotations

import re
import weakref
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.requests import Request

from formant_provider.sandbox.batch_file import Rows, read_rows
from formant_provider.sandbox.forms import Part, Upload, receive
from formant_provider.sandbox.request_schemas import field_path
from formant_provider.sandbox.responses import invalid

FIELDS = ("agent_id", "name", "file")


@dataclass(frozen=True, kw_only=True)
class CreateBatch:
    """The content of a valid form."""

    agent_id: int
    name: str
    rows: Rows


async def receive_upload(request: Request) -> Upload[CreateBatch]:
    """Receive the form of a batch call, valid or not."""
    return await receive(request, _read)


def _read(parts: list[Part]) -> CreateBatch:
    content = _create_batch(*_fields(parts))
    # The file is read again whenever somebody looks at the rows, so it lives as long as they do.
    weakref.finalize(content.rows, content.rows.file.close)
    return content


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
