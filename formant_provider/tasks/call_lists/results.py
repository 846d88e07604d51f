"""Writes what came of a call list: one row for each row of the list, in the order of the list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, get_args

from formant_provider.core.call_lists.result_columns import (
    RESULTS_STATUS,
    UNREAD,
    ResultColumn,
    cells_of,
    parse_result_columns,
)
from formant_provider.core.contacts.row_list import REFERENCE, CarriedColumns
from formant_provider.core.conversations.statuses import iso_text, moment
from formant_provider.core.hours.zone_database import zone
from formant_provider.tasks.carried import RECIPIENT, check_carried, refuse_phone_column
from formant_provider.tasks.options import one_of
from formant_provider.tasks.storage.tables import NumberDisplay, form_of, shown_number, writable, write_rows

if TYPE_CHECKING:
    from formant_provider.core.call_lists.calls import Attempt, RowResult
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.hooks.storage.writing import Written
    from formant_provider.tasks.call_lists.records import AttemptRecords

# Each column and its kind, in the order of the file, but for the columns that are carried from the contacts,
# which stand behind the reference. All of those are text.
_BEFORE: Mapping[str, str] = {"row_number": "integer", "part": "text", RECIPIENT: "text", REFERENCE: "text"}
_AFTER: Mapping[str, str] = {
    "status": "text",
    "reason": "text",
    "detail": "text",
    "agent_id": "integer",
    "attempts": "integer",
    "attempt_list": "json",
    "trace_id": "text",
    "conversation_id": "text",
    "started_at": "moment",
    "ended_at": "moment",
    "local_started_at": "text",
    "time_zone": "text",
    "duration_seconds": "integer",
}
# Names that no other column can have.
RESERVED = frozenset({*_BEFORE, *_AFTER, RESULTS_STATUS})
_FILE = "the file of results"


@dataclass(frozen=True)
class ResultOptions:
    """Options of the files of results, which are documented at the operator.

    :raises ValueError: when the DAG file is parsed, with the name of the option.
    """

    recipients: NumberDisplay = "masked"
    reference_column: str | None = None
    keep_columns: Sequence[str] = ()
    result_columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("recipients", self.recipients, get_args(NumberDisplay))
        check_carried(self.reference_column, self.keep_columns, RESERVED, _FILE)
        parse_result_columns(self.result_columns)
        if taken := sorted({*RESERVED, *self.keep_columns} & set(self.result_columns)):
            raise ValueError(
                f"result_columns cannot name {', '.join(taken)}: {_FILE} has a column of that name"
            )

    @property
    def carried(self) -> CarriedColumns:
        """What is carried from the contacts to the file."""
        return CarriedColumns(self.reference_column, tuple(self.keep_columns))

    def refuse_phone_column(self, phone_column: str) -> None:
        """Refuse to carry the numbers to the file a second time, and unmasked."""
        refuse_phone_column(self.carried, phone_column, _FILE)

    def kinds(self, *, has_parts: bool) -> Mapping[str, str]:
        """Return what each column of the file holds, in their order."""
        left_out = {*(() if has_parts else ("part",)), *((RECIPIENT,) if self.recipients == "none" else ())}
        before = {name: kind for name, kind in _BEFORE.items() if name not in left_out}
        return {**before, **dict.fromkeys(self.keep_columns, "text"), **_AFTER}

    def result_kinds(self) -> Mapping[str, str]:
        """Return what each of the result columns holds, which follow the others; empty if there are none."""
        kinds = {column.name: column.kind for column in parse_result_columns(self.result_columns)}
        return {**kinds, RESULTS_STATUS: "text"} if kinds else {}


def write_results(
    hook: FormantHook, uri: str, rows: Iterable[RowResult], options: ResultOptions, *, has_parts: bool
) -> Written:
    """Write what came of a list that is over, in place of an older file, as a whole or not at all.

    :param hook: of the connection; it is asked only if there are result columns.
    :param uri: the file, whose end says its format.
    :param rows: every row of the list, in its order; read once.
    :param has_parts: whether the rows come from several files.
    :raises InvalidInput: the name of the file, or its storage, is invalid.
    """
    from formant_provider.tasks.call_lists.records import AttemptRecords

    kinds, columns = options.kinds(has_parts=has_parts), parse_result_columns(options.result_columns)
    if not columns:
        return _write("results_uri", uri, _rows(rows, options), kinds)
    with AttemptRecords(hook, columns) as records:
        cells = _with_results(rows, options, columns, records)
        written = _write("results_uri", uri, cells, {**kinds, **options.result_kinds()})
        records.log_read()
    return written


def write_progress(
    uri: str, rows: Iterable[RowResult], options: ResultOptions, *, has_parts: bool
) -> Written:
    """Write how a list stands, as :func:`write_results` does, without the result columns."""
    return _write("progress_uri", uri, _rows(rows, options), options.kinds(has_parts=has_parts))


def _write(option: str, uri: str, rows: Iterable[dict[str, Any]], kinds: Mapping[str, str]) -> Written:
    from formant_provider.hooks.storage.paths import to_file
    from formant_provider.hooks.storage.writing import write_file

    folder, name = to_file(option, uri)
    form = form_of(option, name)

    def fill(file: IO[bytes]) -> str:
        write_rows(file, ({name: row[name] for name in kinds} for row in rows), tuple(kinds), form, kinds)
        return name

    return write_file(folder, fill)


def _with_results(
    rows: Iterable[RowResult],
    options: ResultOptions,
    columns: Sequence[ResultColumn],
    records: AttemptRecords,
) -> Iterator[dict[str, Any]]:
    from formant_provider.tasks.call_lists.records import AT_ONCE

    rows = iter(rows)
    while some := list(islice(rows, AT_ONCE)):
        records.expect([row.last for row in some if row.last])
        for row, cells in zip(some, _rows(some, options), strict=True):
            yield {**cells, **_results(row.last, columns, records)}


def _results(
    attempt: Attempt | None, columns: Sequence[ResultColumn], records: AttemptRecords
) -> dict[str, Any]:
    """Return the cells of the result columns; all are empty where there was no conversation."""
    cells: dict[str, Any] = {column.name: None for column in columns}
    if attempt is None or attempt.conversation_id is None:
        return {**cells, RESULTS_STATUS: None}
    record = records.read(attempt)
    if record is None:
        return {**cells, RESULTS_STATUS: UNREAD}
    cells, status = cells_of(record, columns)
    return {**cells, RESULTS_STATUS: status}


def _rows(rows: Iterable[RowResult], options: ResultOptions) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            **dict.fromkeys(_AFTER),
            "row_number": row.row_number,
            "part": row.part,
            RECIPIENT: shown_number(row.number, options.recipients),
            REFERENCE: row.reference,
            **{name: row.carried.get(name) for name in options.keep_columns},
            "status": writable(row.status),
            "reason": row.reason,
            "detail": row.detail,
            "agent_id": row.agent_id,
            "attempts": len(row.attempts),
            "attempt_list": [_listed(attempt) for attempt in row.attempts],
            **_last(row.last, row.zone),
        }


def _last(attempt: Attempt | None, zone_name: str | None) -> dict[str, Any]:
    """Return the cells that tell of the last attempt that is over."""
    if attempt is None:
        return {"time_zone": zone_name}
    started = _moment(attempt.start_ms)
    return {
        "trace_id": _text(attempt.trace_id),
        "conversation_id": _text(attempt.conversation_id),
        "started_at": started,
        "ended_at": _moment(attempt.end_ms),
        "local_started_at": _local(started, zone_name),
        "time_zone": zone_name,
        "duration_seconds": _whole(attempt.duration_s),
    }


def _listed(attempt: Attempt) -> dict[str, Any]:
    started, ended = _moment(attempt.start_ms), _moment(attempt.end_ms)
    return {
        "number": attempt.number,
        "status": attempt.status,
        "trace_id": attempt.trace_id,
        "conversation_id": attempt.conversation_id,
        "started_at": started and iso_text(started),
        "ended_at": ended and iso_text(ended),
        "duration_seconds": _whole(attempt.duration_s),
    }


def _text(text: str | None) -> str | None:
    return None if text is None else writable(text)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)  # the vendor says integer, and a column has one type


def _moment(timestamp_ms: int | None) -> datetime | None:
    return None if timestamp_ms is None else moment(timestamp_ms)


def _local(started: datetime | None, zone_name: str | None) -> str | None:
    clock = zone(zone_name) if started and zone_name else None
    return started.astimezone(clock).isoformat(timespec="milliseconds") if started and clock else None
