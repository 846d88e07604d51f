"""What a row of an export or a report holds, and how rows become a file: JSON Lines, CSV or Parquet.

The columns have the vendor's names and units. Added are the two moments as such, which the vendor gives as
epoch milliseconds.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from formant_provider.api.errors import InvalidInput
from formant_provider.api.progress import moment

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation

FORMATS = ("jsonl", "csv", "parquet")
# Each column and its kind, in the order of a file that has them all.
COLUMNS: Mapping[str, str] = {
    "conversation_id": "text",
    "agent_id": "integer",
    "status": "text",
    "contact_number": "text",
    "trace_id": "text",
    "start_timestamp": "integer",
    "end_timestamp": "integer",
    "started_at": "moment",
    "ended_at": "moment",
    "duration_seconds": "integer",
    "failure_reason": "text",
    "results": "json",
    "transcript": "json",
}
DEFAULT_COLUMNS = tuple(name for name in COLUMNS if name != "transcript")
# Whom a campaign was to call; stands in front of the columns of what came of it.
RECIPIENT = "customer_phone"
_KINDS: Mapping[str, str] = {RECIPIENT: "text", **COLUMNS}
_MOMENTS = {"started_at": "start_timestamp", "ended_at": "end_timestamp"}
_ROWS_AT_ONCE = 1000


def check_format(file_format: str) -> None:
    """Refuse a format whose library is not installed.

    :raises InvalidInput: Parquet without pyarrow.
    """
    with suppress(ImportError, ValueError):
        if file_format != "parquet" or importlib.util.find_spec("pyarrow"):
            return
    raise InvalidInput(
        "file_format", "parquet needs pyarrow here: pip install 'airflow-provider-formant[parquet]'"
    )


def write_rows(
    file: IO[bytes],
    rows: Iterable[dict[str, Any]],
    columns: Sequence[str],
    *,
    file_format: str,
    compressed: bool,
) -> None:
    """Write rows, while they come in.

    :param rows: as :func:`row` makes them.
    :param columns: some of :data:`COLUMNS`, in the order they shall have, perhaps :data:`RECIPIENT` first.
    :param file_format: one of :data:`FORMATS`.
    :param compressed: in gzip; Parquet is compressed in itself.
    """
    if file_format == "parquet":
        _write_parquet(file, rows, columns)
        return
    # Without its own name and time in it, the same rows make the same file.
    packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if compressed else nullcontext(file)
    with packed as lines:
        if file_format == "csv":
            _write_csv(lines, rows, columns)
        else:
            lines.writelines(as_json(cells) + b"\n" for cells in rows)


def as_json(value: Any) -> bytes:
    """Write a value as JSON in UTF-8; a moment becomes ISO 8601 text in UTC."""
    # A lone half of a pair, which JSON can hold and UTF-8 cannot, becomes a question mark.
    return json.dumps(value, ensure_ascii=False, default=_iso).encode("utf-8", "replace")


def row(record: Conversation, columns: Sequence[str]) -> dict[str, Any]:
    """Return what a record holds for each column; ``None`` for what it does not tell in the column's kind."""
    return {name: _cell(record, name) for name in columns}


def _write_csv(
    file: IO[bytes] | gzip.GzipFile, rows: Iterable[dict[str, Any]], columns: Sequence[str]
) -> None:
    file.write(_csv_line(columns))
    for cells in rows:
        file.write(_csv_line([_csv_cell(cells[name]) for name in columns]))


def _csv_line(cells: Sequence[object]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return _iso(value)
    return as_json(value).decode() if isinstance(value, list | dict) else value


def _write_parquet(file: IO[bytes], rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "moment": pyarrow.timestamp("ms", tz="UTC"),
        "json": pyarrow.string(),
    }
    schema = pyarrow.schema([(name, kinds[_KINDS[name]]) for name in columns])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for some in _batches(map(_flat, rows)):
            writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))


def _flat(cells: dict[str, Any]) -> dict[str, Any]:
    """Write nested values as JSON text: their shape is the agent's, and a column needs one type for ever."""
    for name, value in cells.items():
        if _KINDS[name] == "json" and value is not None:
            cells[name] = as_json(value).decode()
    return cells


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        yield some


def _cell(record: Conversation, name: str) -> Any:
    value = getattr(record, _MOMENTS.get(name, name))
    kind = COLUMNS[name]
    if value is None or kind == "json":
        return value
    if kind == "text":
        text = value if isinstance(value, str) else json.dumps(value)
        return text.encode("utf-8", "replace").decode()
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return moment(value) if kind == "moment" else int(value)
    return None


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
