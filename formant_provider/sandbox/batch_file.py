"""The CSV file of a batch call: checked once from end to end, then kept in a few bytes per row."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from formant_provider.sandbox.numbers import ENDINGS
from formant_provider.sandbox.request_schemas import E164
from formant_provider.sandbox.responses import ApiError, invalid

PHONE_COLUMN = "customer_phone"


@dataclass(frozen=True, kw_only=True, repr=False)
class Rows:
    """The rows of an accepted file, in order.

    :param phones: the recipients, as numbers: E.164 has at most 15 digits and no leading zero.
    :param groups: the rows, ascending, by the last two digits of their numbers; all rows whose digits are not
        in the table of test numbers are under the empty text.
    :param file: the file itself, which holds the other columns.
    """

    phones: array[int] = field(default_factory=lambda: array("Q"))
    groups: dict[str, array[int]] = field(default_factory=dict)
    file: IO[bytes]

    def __len__(self) -> int:
        return len(self.phones)

    def phone(self, row: int) -> str:
        """Return the recipient of a row, counted from 0."""
        return f"+{self.phones[row]}"

    def cells(self) -> Iterator[dict[str, str]]:
        """Read the file again and return each row by its columns."""
        with _reading(self.file) as reader:
            header = next(reader)
            for cells in reader:
                yield dict(zip(header, cells, strict=True))

    def _add(self, phone: str) -> None:
        digits = phone[-2:] if phone[-2:] in ENDINGS else ""
        self.groups.setdefault(digits, array("I")).append(len(self.phones))
        self.phones.append(int(phone))


def read_rows(file: IO[bytes]) -> Rows:
    """Check a CSV file and return its rows.

    :param file: must be seekable; the rows keep it.
    :raises ApiError: 400. It counts rows from 1, without the header, and repeats no value.
    """
    rows = Rows(file=file)
    try:
        with _reading(file) as reader:
            _read_into(rows, reader)
    except UnicodeDecodeError:
        raise invalid("file must be UTF-8 text") from None
    except csv.Error:
        raise invalid(f"file: row {len(rows) + 1} cannot be read as CSV") from None
    if not rows:
        raise invalid("file must have at least one row")
    return rows


def rows_of(phones: Iterable[str]) -> Rows:
    """Return rows with a recipient and nothing else.

    :raises ValueError: a number is not E.164, or there is none.
    """
    lines = "".join(f"{phone}\n" for phone in [PHONE_COLUMN, *phones])
    try:
        return read_rows(io.BytesIO(lines.encode()))
    except ApiError as error:
        raise ValueError(str(error)) from None


def _read_into(rows: Rows, reader: Iterator[list[str]]) -> None:
    header = next(reader, [])
    column, width = _check_header(header), len(header)
    # Looked up once, not once for each of a million rows.
    matches, add = E164.fullmatch, rows._add
    for cells in reader:
        if len(cells) != width:
            raise invalid(f"file: row {len(rows) + 1} must have as many fields as the header")
        if not matches(cells[column]):
            raise invalid(f"file: row {len(rows) + 1}: {PHONE_COLUMN} must be an E.164 number")
        add(cells[column])


def _check_header(header: Sequence[str]) -> int:
    """Return the index of the recipient's column."""
    if PHONE_COLUMN not in header:
        raise invalid(f"file must have a {PHONE_COLUMN} column")
    if not all(name.strip() for name in header):
        raise invalid("file: every column must have a name")
    if len(set(header)) < len(header):
        raise invalid("file must not repeat a column")
    return header.index(PHONE_COLUMN)


@contextmanager
def _reading(file: IO[bytes]) -> Iterator[Iterator[list[str]]]:
    """Read a file as strict CSV and leave it open."""
    file.seek(0)
    text = io.TextIOWrapper(file, "utf-8", newline="")
    try:
        yield csv.reader(text, strict=True)
    finally:
        text.detach()
