"""Writes what came of a call list: one row for each row of the list, in the order of the list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, get_args

from formant_provider.core.contacts.row_list import REFERENCE, CarriedColumns
from formant_provider.core.conversations.statuses import iso_text, moment
from formant_provider.core.hours.zone_database import zone
from formant_provider.tasks.carried import RECIPIENT, check_carried, refuse_phone_column
from formant_provider.tasks.options import one_of
from formant_provider.tasks.storage.tables import NumberDisplay, form_of, shown_number, write_rows

if TYPE_CHECKING:
    from formant_provider.core.call_lists.calls import Attempt, RowResult
    from formant_provider.tasks.storage.files import Written

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
RESERVED = frozenset({*_BEFORE, *_AFTER})
_FILE = "the file of results"


@dataclass(frozen=True)
class ResultOptions:
    """Options of the files of results, which are documented at the operator.

    :raises ValueError: when the DAG file is parsed, with the name of the option.
    """

    recipients: NumberDisplay = "masked"
    reference_column: str | None = None
    keep_columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        one_of("recipients", self.recipients, get_args(NumberDisplay))
        check_carried(self.reference_column, self.keep_columns, RESERVED, _FILE)

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


def write_results(
    field: str, uri: str, rows: Iterable[RowResult], options: ResultOptions, *, has_parts: bool
) -> Written:
    """Write a file of results in place of an older one, as a whole or not at all.

    :param field: the option that names the file.
    :param uri: the file, whose end says its format.
    :param rows: every row of the list, in its order; read once.
    :param has_parts: whether the rows come from several files.
    :raises InvalidInput: the name of the file, or its storage, is invalid.
    """
    from formant_provider.tasks.storage.files import to_file, write_file

    folder, name = to_file(field, uri)
    kinds = options.kinds(has_parts=has_parts)

    def fill(file: IO[bytes]) -> str:
        cells = ({name: row[name] for name in kinds} for row in _rows(rows, options))
        write_rows(file, cells, tuple(kinds), form_of(field, name), kinds)
        return name

    return write_file(folder, fill)


def _rows(rows: Iterable[RowResult], options: ResultOptions) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            "row_number": row.row_number,
            "part": row.part,
            RECIPIENT: shown_number(row.number, options.recipients),
            REFERENCE: row.reference,
            **{name: row.carried.get(name) for name in options.keep_columns},
            "status": row.status,
            "reason": row.reason,
            "detail": row.detail,
            "agent_id": row.agent_id,
            "attempts": len(row.attempts),
            "attempt_list": [_listed(attempt) for attempt in row.attempts],
            **_last(row.last, row.zone),
        }


def _last(attempt: Attempt | None, zone_name: str | None) -> dict[str, Any]:
    """Return the cells that tell of the last attempt that is over."""
    started = None if attempt is None else _moment(attempt.start_ms)
    return {
        "trace_id": attempt and attempt.trace_id,
        "conversation_id": attempt and attempt.conversation_id,
        "started_at": started,
        "ended_at": attempt and _moment(attempt.end_ms),
        "local_started_at": _local(started, zone_name),
        "time_zone": zone_name,
        "duration_seconds": attempt and attempt.duration_s,
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
        "duration_seconds": attempt.duration_s,
    }


def _moment(timestamp_ms: int | None) -> datetime | None:
    return None if timestamp_ms is None else moment(timestamp_ms)


def _local(started: datetime | None, zone_name: str | None) -> str | None:
    clock = zone(zone_name) if started and zone_name else None
    return started.astimezone(clock).isoformat(timespec="milliseconds") if started and clock else None
