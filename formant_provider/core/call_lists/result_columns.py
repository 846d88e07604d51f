"""Makes columns of what an agent has collected, each of a declared type.

The agent's output settings shape ``results``, and the vendor documents no more than that it is an object.
So a value that is missing, or of another type than was declared, is named and left out; it is no error. What
is obviously the same is converted, such as the text ``"12"`` in a column of integers. Nothing is guessed: not
which time zone a moment without one is in, and not whether ``"yes"`` is true.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, get_args

from formant_provider.api.models import Conversation

Kind = Literal["text", "integer", "number", "boolean", "date", "moment", "json"]
# The column that says how the values of a row are.
RESULTS_STATUS = "results_status"
OK = "ok"
# The conversation has no results: nobody was connected, or the agent collects none.
NO_RESULTS = "no_results"
# There was a conversation, and its record could not be read.
UNREAD = "unread"
RESULTS = "results"
# What else of a record a path may name; each is a single text, and may be absent in the best of records.
_TEXTS = ("status", "failure_reason")
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}(\.0+)?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOOLEANS = {"true": True, "false": False}
# What a column of integers of a file holds.
_INT64 = 1 << 63


@dataclass(frozen=True)
class ResultColumn:
    """A column of a file of results.

    :param path: which field of a record it holds, such as ``("results", "promise", "amount")``.
    :param kind: what its cells are.
    """

    name: str
    path: tuple[str, ...]
    kind: Kind = "text"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name != self.name.strip():
            raise ValueError(f"result_columns has a name that is no text, or blank around: {self.name!r}")
        if self.kind not in get_args(Kind):
            raise ValueError(f"{self} must have a type that is one of {', '.join(get_args(Kind))}")
        first, *rest = self.path
        is_text = first in _TEXTS and not rest
        if not is_text and (first != RESULTS or not all(rest)):
            raise ValueError(f"{self} must be results.<field>, {' or '.join(_TEXTS)}; not {self.dotted!r}")
        if first == RESULTS and not rest and self.kind != "json":
            raise ValueError(f'{self} names all results: give it the type "json", or name a field of them')

    def __str__(self) -> str:
        return f"result_columns[{self.name!r}]"

    @property
    def dotted(self) -> str:
        """The path as a user writes it."""
        return ".".join(self.path)


def parse_result_columns(given: Mapping[str, Any]) -> tuple[ResultColumn, ...]:
    """Read what a user writes as ``result_columns``.

    :param given: by name of the column, the dotted path into the record, or the path and the type of the
        cells: ``{"intent": "results.intent", "amount": ("results.promise.amount", "number")}``.
    :raises ValueError: with the name of the column.
    """
    if not isinstance(given, Mapping):
        raise ValueError("result_columns must be a mapping of names to paths")
    return tuple(_column(name, value) for name, value in given.items())


def _column(name: str, value: Any) -> ResultColumn:
    path, *kind = value if isinstance(value, list | tuple) and value else (value,)
    if not isinstance(path, str) or not path.strip() or len(kind) > 1:
        example = '("results.amount", "number")'
        raise ValueError(f"result_columns[{name!r}] must be a path, or a path and a type, such as {example}")
    return ResultColumn(name, tuple(path.strip().split(".")), *kind)


def cells_of(record: Conversation, columns: Sequence[ResultColumn]) -> tuple[dict[str, Any], str]:
    """Return the cell of each column, ``None`` where there is no value of its type, and how they are.

    :return: the second is ``ok``, ``no_results``, or which columns are ``missing`` and ``invalid``, as in
        ``"missing: intent, invalid: amount"``.
    """
    cells, faults = {}, []
    for column in columns:
        cells[column.name], fault = _cell(record, column)
        if fault and (record.results or column.path[0] != RESULTS):
            faults.append(f"{fault}: {column.name}")
    has_none = not record.results and any(column.path[0] == RESULTS for column in columns)
    return cells, ", ".join([*([NO_RESULTS] if has_none else []), *faults]) or OK


def _cell(record: Conversation, column: ResultColumn) -> tuple[Any, str | None]:
    value: Any = getattr(record, column.path[0])
    for name in column.path[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None or (
        isinstance(value, str) and not value.strip() and column.kind not in {"text", "json"}
    ):
        return None, "missing" if column.path[0] == RESULTS else None
    cell = _READERS[column.kind](value)
    return cell, "invalid" if cell is None else None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    # A lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, str):
        text = value.strip()
        value = int(text.partition(".")[0]) if _INTEGER.fullmatch(text) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_good = isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
    return value if is_good else None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        value = value.strip() if _NUMBER.fullmatch(value.strip()) else None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(OverflowError):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return _BOOLEANS.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _date(value: Any) -> date | None:
    with suppress(ValueError):
        if isinstance(value, str) and _DATE.fullmatch(value.strip()):
            return date.fromisoformat(value.strip())
    return None


def _moment(value: Any) -> datetime | None:
    """Read ISO 8601 text with an offset, to the millisecond, which is what a file holds."""
    with suppress(ValueError, OverflowError):
        known = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
        if known is not None and known.tzinfo is not None:
            known = known.astimezone(UTC)
            return known.replace(microsecond=known.microsecond // 1000 * 1000)
    return None


def _json(value: Any) -> Any:
    with suppress(ValueError, RecursionError):
        json.dumps(value, allow_nan=False)  # which is none of JSON, and what reads the file would stumble
        return _text(value) if isinstance(value, str) else value
    return None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "moment": _moment,
    "json": _json,
}
