"""The columns of an export and a report, and how rows become a file: JSON Lines, CSV or Parquet.

The columns have the vendor's names and units. ``started_at`` and ``ended_at`` are added: the moments of the
vendor's epoch milliseconds.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import date, datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

from formant_provider.api.errors import InvalidInput
from formant_provider.core.conversations.statuses import iso_text, moment

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation

FileFormat = Literal["jsonl", "csv", "parquet"]
# How much of a number a file shows: all of it, its last digits, or nothing, without a column for it.
NumberDisplay = Literal["full", "masked", "none"]

# The format that the end of a file's name stands for.
SUFFIXES: Mapping[str, FileFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_KNOWN = f"must end in one of {', '.join(SUFFIXES)}, all but the last also with .gz behind"
# JSON Lines are often named so, but so is a single JSON document: file_format must say which.
_AMBIGUOUS: Mapping[str, FileFormat] = {".json": "jsonl"}
# Formats that are not written here; a file of that name would be misread.
_OTHER_FORMATS = re.compile(r"\.(avro|bz2|feather|lz4|ods|orc|snappy|tsv|xlsx?|xz|zip|zst)")
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
# The recipient, in an export.
CONTACT_NUMBER = "contact_number"
# All other columns, such as those of the contacts, are text.
KINDS: Mapping[str, str] = {**COLUMNS, "row_number": "integer"}
_MOMENTS = {"started_at": "start_timestamp", "ended_at": "end_timestamp"}
_ROWS_AT_ONCE = 1000


class FileForm(NamedTuple):
    """How rows become a file; gzip is for all but Parquet, which is compressed in itself."""

    file_format: FileFormat
    compressed: bool


def form_of(field: str, uri: object, file_format: FileFormat | None = None, *, remedy: str = "") -> FileForm:
    """Return how a file is written, as the end of its name says.

    :param file_format: the format that the user gives; ``None`` goes by the name alone.
    :param remedy: what helps besides another name, if the name says nothing.
    """
    name = str(uri).strip().lower()
    plain = name.removesuffix(".gz")
    suffix = "".join(re.findall(r"\.[^./]*$", plain))
    if _OTHER_FORMATS.fullmatch(suffix):
        raise InvalidInput(field, f"{_KNOWN}; {suffix} cannot be written")
    named = SUFFIXES.get(suffix) or (file_format and _AMBIGUOUS.get(suffix))
    chosen = file_format or named
    if chosen is None:
        raise InvalidInput(field, f"{_KNOWN}{remedy}")
    if named not in {None, chosen}:
        raise InvalidInput(field, f"ends in {suffix}, and file_format is {chosen!r}; change one of them")
    if chosen == "parquet" and name != plain:
        raise InvalidInput(field, f"{_KNOWN}: Parquet is compressed in itself")
    return FileForm(chosen, name != plain)


def check_format(file_format: str) -> None:
    """Refuse a format whose library is not installed."""
    with suppress(ImportError, ValueError):
        if file_format != "parquet" or importlib.util.find_spec("pyarrow"):
            return
    raise InvalidInput(
        "file_format", "parquet needs pyarrow here: pip install 'airflow-provider-formant[parquet]'"
    )


def shown_number(number: str | None, recipients: NumberDisplay) -> str | None:
    """Return as much of a number as a file may show.

    :param recipients: ``"masked"`` leaves the last four digits, fewer of a number with less than eight, and
        an asterisk for each one before.
    """
    if number is None or recipients == "full":
        return number
    digits = re.sub(r"\D", "", number) if recipients == "masked" else ""
    hidden = max(len(digits) - 4, (len(digits) + 1) // 2)
    return "*" * hidden + digits[hidden:]


def write_rows(
    file: IO[bytes],
    rows: Iterable[dict[str, Any]],
    columns: Sequence[str],
    form: FileForm,
    kinds: Mapping[str, str] = KINDS,
) -> None:
    """Write rows as they come in.

    :param kinds: what each column holds; one that is not in it holds text.
    """
    file_format, compressed = form
    if file_format == "parquet":
        _write_parquet(file, rows, columns, kinds)
        return
    # Without its own name and time in it, the same rows make the same file.
    packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if compressed else nullcontext(file)
    with packed as lines:
        if file_format == "csv":
            _write_csv(lines, rows, columns)
        else:
            lines.writelines(as_json(cells) + b"\n" for cells in rows)


def writable(text: str) -> str:
    """Return a text that UTF-8 can hold: a lone surrogate, which JSON can, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def as_json(value: Any) -> bytes:
    """Write a value as JSON in UTF-8; a moment becomes ISO 8601 text in UTC, and so does a date."""
    return json.dumps(value, ensure_ascii=False, default=_date_text).encode(
        "utf-8", "replace"
    )  # see writable


def row(
    record: Conversation, columns: Sequence[str], *, recipients: NumberDisplay = "masked"
) -> dict[str, Any]:
    """Return the value of a record for each column; ``None`` if it has none of the column's kind."""
    cells = {name: _cell(record, name) for name in columns}
    if CONTACT_NUMBER in cells:
        cells[CONTACT_NUMBER] = shown_number(cells[CONTACT_NUMBER], recipients)
    return cells


def read_rows(file: IO[bytes], columns: Sequence[str], form: FileForm) -> Iterator[tuple[Any, ...]]:
    """Read some columns of a file that :func:`write_rows` wrote, row by row."""
    if form.file_format == "parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(columns=list(columns)):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
        return
    plain: Any = gzip.GzipFile(fileobj=file) if form.compressed else file
    text = io.TextIOWrapper(plain, "utf-8", newline="")
    rows = csv.DictReader(text) if form.file_format == "csv" else map(json.loads, text)
    for cells in rows:
        yield tuple(cells[name] for name in columns)


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
    if isinstance(value, date):
        return _date_text(value)
    return as_json(value).decode() if isinstance(value, list | dict | bool) else value


def _date_text(value: date) -> str:
    return iso_text(value) if isinstance(value, datetime) else value.isoformat()


def _write_parquet(
    file: IO[bytes], rows: Iterable[dict[str, Any]], columns: Sequence[str], kinds: Mapping[str, str]
) -> None:
    import pyarrow
    import pyarrow.parquet

    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "date": pyarrow.date32(),
        "moment": pyarrow.timestamp("ms", tz="UTC"),
        "json": pyarrow.string(),
    }
    schema = pyarrow.schema([(name, types[kinds.get(name, "text")]) for name in columns])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for some in _batches(_flat(cells, kinds) for cells in rows):
            writer.write_table(pyarrow.Table.from_pylist(some, schema=schema))


def _flat(cells: dict[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Write nested values as JSON text: the shape is the agent's, and a column needs one type."""
    for name, value in cells.items():
        if kinds.get(name) == "json" and value is not None:
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
        return writable(text)
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return moment(value) if kind == "moment" else int(value)
    return None
