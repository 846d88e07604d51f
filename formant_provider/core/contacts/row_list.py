"""Lists what became of each row of the contacts, for the report at the end of a batch call.

The list is written while the contacts are checked, and read when the batch call is over, perhaps by another
try on another machine. It is JSON Lines: whose it is, the names of the cells, then some hundred rows in each
line, which is several times as fast as a line for each. It holds what is private.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import repeat
from operator import itemgetter
from typing import IO, Any, NamedTuple

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER

# What the column named by ``reference_column`` is called in a report.
REFERENCE = "reference"
_OWNER = "batch_call"
_FIRST = ("row_number", "part", "reason", PHONE_PARAMETER)


class ListedRow(NamedTuple):
    """A row of the contacts.

    :param reason: why it is not called; ``None``: it is.
    :param number: in E.164 if it is called, otherwise the cell as it was. ``None`` where nobody knows which
        cell is the number.
    """

    row_number: int | None
    part: str | None
    reason: str | None
    number: str | None
    carried: Mapping[str, str | None]


@dataclass(frozen=True)
class CarriedColumns:
    """Columns of the contacts that are carried to the report."""

    reference_column: str | None = None
    keep_columns: Sequence[str] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called in the report, in the order they have there."""
        return (*([] if self.reference_column is None else [REFERENCE]), *self.keep_columns)

    def places_in(self, columns: Sequence[str]) -> list[int]:
        """Return where they are in the contacts, in the order of :attr:`names`."""
        asked = [("keep_columns", name) for name in self.keep_columns]
        if self.reference_column is not None:
            asked.insert(0, ("reference_column", self.reference_column))
        for field, name in asked:
            if name not in columns:
                raise InvalidInput(field, f"the contacts have no column {name}")
        return [columns.index(name) for _, name in asked]


NOTHING_CARRIED = CarriedColumns()


class RowList:
    """Writes the list."""

    def __init__(self, file: IO[bytes] | None, columns: Sequence[str], carried: CarriedColumns) -> None:
        self._file, self._width = file, len(columns)
        self._places = [columns.index(PHONE_PARAMETER), *carried.places_in(columns)]
        self._write([*_FIRST, *carried.names])

    def write(
        self,
        part: str | None,
        numbers: Sequence[int],
        columns: Sequence[Sequence[str]],
        left_out: Sequence[tuple[int, str, Sequence[str]]],
    ) -> None:
        """Note some rows that follow those before."""
        if self._file is None:
            return
        shown = [columns[place] for place in self._places]
        called = zip(numbers, repeat(part), repeat(None), *shown)
        others = ((number, part, reason, *self._shown(row)) for number, reason, row in left_out)
        # Most blocks have none to merge, and are written several times as fast.
        self._write(list(merge(called, others, key=itemgetter(0)) if left_out else called))

    def _shown(self, row: Sequence[str]) -> list[str | None]:
        # In a row that is too short or too long nobody knows which cell is which: one that looks like a name
        # may be a number.
        known = len(row) == self._width
        return [row[place] if known else None for place in self._places]

    def _write(self, line: Any) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line).encode() + b"\n")


def owner_line(marker: str) -> bytes:
    """Return the line that says whose list it is, which goes before all others."""
    return json.dumps({_OWNER: marker}).encode() + b"\n"


def owner_in(line: bytes) -> str | None:
    """Return whose list begins with a line; ``None`` if it does not say so, or is no such list."""
    try:
        first = json.loads(line)
    except ValueError:
        return None
    return first.get(_OWNER) if isinstance(first, dict) else None


def read_row_list(lines: Iterable[bytes]) -> Iterator[ListedRow]:
    """Read what a ``RowList`` wrote, behind a line that says whose it is or without one."""
    names = None
    for line in lines:
        content = json.loads(line)
        if isinstance(content, dict):
            continue
        if names is None:
            names = content[len(_FIRST) :]
            continue
        for cells in content:
            number, part, reason, phone, *carried = cells
            yield ListedRow(number, part, reason, phone, dict(zip(names, carried, strict=True)))
