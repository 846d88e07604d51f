"""Reads a CSV file, some hundred rows at a time, or refuses it as a whole; and writes one.

An error names lines, rows and bytes, never a value. It is raised after the one that it replaces was handled:
else it would carry that one along, whose text may quote the file.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import IO, Any, TypeAlias, TypeVar

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.tables.packing import DAMAGED, refuse_other_kinds, unpacked

T = TypeVar("T")
Rows: TypeAlias = list[list[str]]

# Few enough that they stay in a processor's cache.
ROWS_AT_ONCE = 400
_BLOCK_BYTES = 1 << 16
_MAX_HEADER = 1 << 17
# What Excel takes for the name of the delimiter, and shows to nobody.
_SEP = re.compile(r"\"?sep=(.)\"?[\r\n]*", re.IGNORECASE)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What the csv module says, and what it means.
_FAULTS = {
    "unexpected end of data": "opens a quote that is never closed",
    "field larger than": "has a cell of more than 131072 characters; perhaps a quote is never closed",
    "expected after": "has text behind a closing quote; a quote within a cell must be doubled",
}


# A byte order mark, and characters that are not seen.
_MARKS = "\ufeff\u200b\u200c\u200d\u2060"
_QUOTES = {'""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u00ab\u00bb"}


def buffered(file: IO[bytes]) -> io.BufferedReader:
    """Return a file with a buffer, which does not close it."""
    return io.BufferedReader(_Borrowed(file), _BLOCK_BYTES)


class CsvTable:
    """A CSV file that is being read.

    :param delimiter: what is between the cells, unless a first line such as ``sep=;`` says it.
    :param any_delimiter: whether to take the one that shows the column of numbers in the first line, if
        another does.
    :ivar first: the first row that is not blank; ``[]`` if there is none.
    """

    def __init__(
        self,
        raw: io.BufferedReader,
        delimiter: str,
        field: str,
        *,
        any_delimiter: bool = False,
        phone_column: str = PHONE_PARAMETER,
    ) -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n\0 ':
            raise InvalidInput("delimiter", "must be one character, and no quote, space or line end")
        self._field, self._taken, self._hidden_lines = field, 0, 0
        plain, self._packed_by = unpacked(raw, field)
        text = io.TextIOWrapper(io.BufferedReader(_Text(plain, field), _BLOCK_BYTES), "utf-8-sig", newline="")
        self._reader = csv.reader(())
        line = self._guarded(lambda: text.readline(_MAX_HEADER))
        if named := _SEP.fullmatch(line):
            delimiter, self._hidden_lines = named[1], 1
            line = self._guarded(lambda: text.readline(_MAX_HEADER))
        self._check_length(line)
        shown = _shown_delimiter(line, delimiter, {phone_column, PHONE_PARAMETER})
        if shown != delimiter and not any_delimiter:
            hint = f"its cells are separated by {_DELIMITERS[shown]}; say delimiter={shown!r}"
            raise InvalidInput(self._field, hint)
        self._reader = csv.reader(chain([line] if line else [], text), delimiter=shown, strict=True)
        self.first: list[str] = []
        while not self.first and (rows := self._take(1)):
            self.first = rows[0]
        self.first_row = self._taken

    def chunks(self) -> Iterator[Rows]:
        """Return the rows after the first, blank ones as ``[]``."""
        while rows := self._take(ROWS_AT_ONCE):
            yield rows

    def _take(self, size: int) -> Rows:
        rows: Rows = []
        # What was read before a fault stays in the list, and tells where it is.
        self._guarded(lambda: rows.extend(islice(self._reader, size)), rows)
        self._taken += len(rows)
        return rows

    def _guarded(self, read: Callable[[], T], rows: Iterable[object] = ()) -> T:
        try:
            return read()
        except UnicodeDecodeError as error:
            line = self._hidden_lines + self._reader.line_num + 1 + error.object[: error.start].count(b"\n")
            fault = f"line {line}: is not UTF-8 but another encoding, perhaps Windows-1252; save it as UTF-8"
        except csv.Error as error:
            meant = (fault for text, fault in _FAULTS.items() if text in str(error))
            fault = f"row {self._taken + len(list(rows)) + 1}: {next(meant, 'is no CSV')}"
        except DAMAGED:
            fault = f"is damaged or cut off: {self._packed_by} cannot unpack it"
        raise InvalidInput(self._field, fault)

    def _check_length(self, line: str) -> None:
        if len(line) >= _MAX_HEADER:
            raise InvalidInput(self._field, f"its first line is longer than {_MAX_HEADER} characters: no CSV")


def as_csv(columns: Sequence[Sequence[str]]) -> bytes:
    """Write columns as the rows of a CSV file by RFC 4180, twice as fast as the csv module does.

    :param columns: of the same length; no cell holds a NUL.
    """
    lines = [",".join(row) for row in zip(*map(_quoted, columns), strict=True)]
    return "\r\n".join([*lines, ""]).encode()


def _quoted(column: Sequence[str]) -> Sequence[str]:
    """Quote all cells of a column in which one needs it; with the cells in one text, it takes three steps."""
    together = "\0".join(column)
    if not any(mark in together for mark in '",\r\n'):
        return column
    inner = together.replace('"', '""').replace("\0", '"\0"')
    return f'"{inner}"'.split("\0")


def _shown_delimiter(line: str, delimiter: str, wanted: set[str]) -> str:
    """Return the delimiter that shows the column of numbers in a first line; the given one if none does."""
    shown = [each for each in (delimiter, *_DELIMITERS) if not wanted.isdisjoint(_cells(line, each))]
    return shown[0] if shown else delimiter


def _cells(line: str, delimiter: str) -> list[str]:
    # Not strict, for a line may end within a cell.
    return [clean_name(name) for row in csv.reader([line], delimiter=delimiter) for name in row]


def clean_name(name: str) -> str:
    """Return the name of a column without what programs leave around it: blanks, marks and quotes."""
    before = None
    while name != before:
        before, name = name, name.strip().strip(_MARKS)
        if len(name) > 1 and name[0] + name[-1] in _QUOTES:
            name = name[1:-1]
    return name


class _Borrowed(io.RawIOBase):
    """Reads a file that somebody else will close."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = 0
        # Until it is full: a file may give less than is asked for, and the first bytes tell what it is.
        while size < len(buffer) and (block := self._file.read(len(buffer) - size)):
            buffer[size : size + len(block)] = block
            size += len(block)
        return size


class _Text(_Borrowed):
    """Reads a file that has to be text. UTF-16 may pass for UTF-8, but for its NULs."""

    def __init__(self, file: IO[bytes], field: str) -> None:
        super().__init__(file)
        self._field, self._passed = field, 0

    def readinto(self, buffer: Any) -> int:
        size = super().readinto(buffer)
        block = bytes(buffer[:size])
        if self._passed == 0:
            refuse_other_kinds(block, self._field)
        if self._passed == 0 and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InvalidInput(self._field, "is UTF-16, not UTF-8; save it as UTF-8")
        if (place := block.find(0)) >= 0:
            where = f"byte {self._passed + place} is a NUL"
            raise InvalidInput(self._field, f"{where}: this is no text, or not in UTF-8")
        self._passed += size
        return size
