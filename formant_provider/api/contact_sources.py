"""Reads a campaign's contacts, some hundred at a time: mappings, CSV or Parquet.

What cannot be read for sure is refused as a whole. An error names rows and columns, never a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any, NamedTuple

from formant_provider.api.csv_table import ROWS_AT_ONCE, CsvTable, Rows, buffered, clean_name, is_parquet
from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.api.parquet_table import ParquetTable
from formant_provider.api.readings import Numbers
from formant_provider.api.values import as_text, is_missing, phone_text


class RowBlock(NamedTuple):
    """Some rows that follow each other.

    :param first_row: the number of the first, as a person counts them: in a file with a header as a
        spreadsheet does, so that the header is row 1.
    :param rows: those of a CSV file may be blank, too short or too long.
    :param part: the name of the file they are in, when the contacts are in several.
    """

    first_row: int
    rows: Rows
    part: str | None = None


@dataclass(frozen=True)
class Contacts:
    """Contacts that are being read.

    :param columns: the header, with ``customer_phone`` in it.
    :param blocks: the rows, some at a time.
    """

    columns: tuple[str, ...]
    blocks: Iterator[RowBlock]


def open_contacts(file: IO[bytes], *, delimiter: str = ",", numbers: Numbers | None = None) -> Contacts:
    """Read contacts from a file, which is known by its content: Parquet, or CSV, also in gzip.

    :param file: open for reading, and left open. Parquet needs one that can be read from any place.
    :param delimiter: what is between the cells of a CSV file.
    :param numbers: what the digits of a number that is no text are; ``None`` refuses one that is a decimal.
    :raises InvalidInput: it cannot be read; some of that shows only while the chunks are read.
    """
    raw = buffered(file)
    if is_parquet(raw):
        return _parquet_contacts(file, numbers)
    table = CsvTable(raw, delimiter, "contacts")
    if not table.first:
        raise InvalidInput("contacts", "is empty: there is no header")
    return Contacts(_header(table.first), _blocks(table.chunks(), table.first_row + 1))


def contacts_of(rows: Iterable[Mapping[str, Any]], *, numbers: Numbers | None = None) -> Contacts:
    """Read contacts that are in memory. A variable that a row does not have is blank there.

    :param rows: mappings from variables to values, which are written as those of a single call are.
    :param numbers: as for :func:`open_contacts`.
    :raises InvalidInput: a row is no mapping; or, while the chunks are read, a value cannot be written.
    """
    known = list(rows)
    for number, row in enumerate(known, 1):
        if not isinstance(row, Mapping):
            raise InvalidInput("contacts", f"row {number}: must be a mapping; got {type(row).__name__}")
    names = tuple(dict.fromkeys(chain.from_iterable(known))) if known else (PHONE_PARAMETER,)
    if not all(isinstance(name, str) for name in names):
        raise InvalidInput("contacts", "the names of variables must be text")
    columns = _header(names)
    rows_of_cells = ([row.get(name) for name in names] for row in known)
    return Contacts(columns, _blocks(_chunked(columns, rows_of_cells, numbers)))


def _blocks(chunks: Iterable[Rows], first_row: int = 1) -> Iterator[RowBlock]:
    """Number the rows of chunks, from the first on."""
    for rows in chunks:
        yield RowBlock(first_row, rows)
        first_row += len(rows)


def _header(given: Sequence[str]) -> tuple[str, ...]:
    names = tuple(map(clean_name, given))
    if PHONE_PARAMETER not in names:
        # What is no plain word may be a contact in place of a header, and then plain words are private too.
        plain = all(name.isidentifier() for name in names)
        told = f"; its columns are {', '.join(names)}" if plain else ", or no header at all"
        raise InvalidInput("contacts", f"has no column {PHONE_PARAMETER}{told}")
    for place, name in enumerate(names, 1):
        if not name:
            raise InvalidInput("contacts", f"column {place} has no name")
        if "\0" in name or not _is_utf_8(name):
            raise InvalidInput("contacts", f"column {place} has a name that is no text")
        if names.index(name) < place - 1:
            raise InvalidInput(
                "contacts", f"column {place} has the same name as column {names.index(name) + 1}"
            )
    return names


def _chunked(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Numbers | None
) -> Iterator[Rows]:
    """Write the values of rows as text, some rows at a time."""
    digits_are_told = numbers is not None
    texts = (
        [_text(number, name, value, digits_are_told) for name, value in zip(columns, row, strict=True)]
        for number, row in enumerate(rows, 1)
    )
    while some := list(islice(texts, ROWS_AT_ONCE)):
        yield some


def _text(row: int, column: str, value: Any, digits_are_told: bool) -> str:
    if type(value) is not str and is_missing(value):  # as in queries and data frames
        return ""
    try:
        is_phone = column == PHONE_PARAMETER
        text = phone_text(value, digits_are_told=digits_are_told) if is_phone else as_text(column, value)
        fault = "holds a NUL, or half of a character" if "\0" in text or not _is_utf_8(text) else None
    except InvalidInput as error:
        fault = error.reason
    if fault is None:
        return text
    # Raised after the other one was handled, which would come along otherwise.
    raise InvalidInput("contacts", f"row {row}, column {column}: {fault}")


def _is_utf_8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet_contacts(file: IO[bytes], numbers: Numbers | None) -> Contacts:
    table = ParquetTable(file, "contacts")
    columns = _header(table.names)
    if table.float_bits(columns.index(PHONE_PARAMETER)) in {16, 32}:
        reason = f"column {PHONE_PARAMETER}: holds short floats, which have lost digits; make it text"
        raise InvalidInput("contacts", reason)
    return Contacts(columns, _blocks(_chunked(columns, table.rows(range(len(columns))), numbers)))
