"""Reads a campaign's contacts, some hundred at a time: Parquet mappings, or CSV by way of ``csv_table``.

What cannot be read for sure is refused as a whole. An error names rows and columns, never a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any, TypeVar

from formant_provider.api.csv_table import ROWS_AT_ONCE, CsvTable, Rows, buffered
from formant_provider.api.errors import InvalidInput
from formant_provider.api.inputs import as_text
from formant_provider.api.models import PHONE_PARAMETER

T = TypeVar("T")


@dataclass(frozen=True)
class Contacts:
    """Contacts that are being read.

    :param columns: the header, with ``customer_phone`` in it.
    :param chunks: some rows at a time. Rows of a CSV file may be blank, too short or too long.
    :param first_row: the number of the first row.
    """

    columns: tuple[str, ...]
    chunks: Iterator[Rows]
    first_row: int = 1


def open_contacts(file: IO[bytes], *, delimiter: str = ",") -> Contacts:
    """Read contacts from a file, which is known by its content: Parquet, or CSV, also in gzip.

    :param file: open for reading, and left open. Parquet needs one that can be read from any place.
    :param delimiter: what is between the cells of a CSV file.
    :raises InvalidInput: it cannot be read; some of that shows only while the chunks are read.
    """
    raw = buffered(file)
    if raw.peek(4)[:4] == b"PAR1":
        return _parquet_contacts(file)
    table = CsvTable(raw, delimiter, "contacts")
    if not table.first:
        raise InvalidInput("contacts", "is empty: there is no header")
    return Contacts(_header(table.first), table.chunks(), table.first_row + 1)


def contacts_of(rows: Iterable[Mapping[str, Any]]) -> Contacts:
    """Read contacts that are in memory. A variable that a row does not have is blank there.

    :param rows: mappings from variables to values, which are written as those of a single call are.
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
    return Contacts(columns, _chunked(columns, ([row.get(name) for name in names] for row in known)))


def open_numbers(file: IO[bytes], *, delimiter: str = ",", field: str = "suppress") -> Iterator[str]:
    """Read a list of numbers from a CSV file, also in gzip: the column ``customer_phone``, or the only one.

    :param file: open for reading, and left open.
    :param field: to be named in an error.
    :raises InvalidInput: it cannot be read, or there is no telling which column it is.
    """
    table = CsvTable(buffered(file), delimiter, field)
    names, rows = [name.strip() for name in table.first], chain.from_iterable(table.chunks())
    if PHONE_PARAMETER in names:
        place, width, number = names.index(PHONE_PARAMETER), len(names), table.first_row + 1
    else:
        place, width, number, rows = 0, 1, table.first_row, chain([table.first], rows)
    for row_number, row in enumerate(rows, number):
        if row and len(row) != width:
            wanted = f"a column {PHONE_PARAMETER} or a single one" if width == 1 else f"{width} cells"
            raise InvalidInput(field, f"row {row_number}: has {len(row)} cells; expected {wanted}")
        if row and row[place].strip():
            yield row[place]


def _header(given: Sequence[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in given)
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


def _chunked(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[Rows]:
    """Write the values of rows as text, some rows at a time."""
    texts = (
        [_text(number, name, value) for name, value in zip(columns, row, strict=True)]
        for number, row in enumerate(rows, 1)
    )
    while some := list(islice(texts, ROWS_AT_ONCE)):
        yield some


def _text(row: int, column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):  # what data frames have for a blank
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and column == PHONE_PARAMETER:
        value = str(value)  # lacks its plus sign, which is for the default region to mend
    try:
        text = as_text(column, value)
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


def _parquet_contacts(file: IO[bytes]) -> Contacts:
    try:
        from pyarrow import parquet
    except ImportError:
        parquet = None
    if parquet is None:
        reason = "Parquet needs pyarrow here: pip install 'airflow-provider-formant[parquet]'"
        raise InvalidInput("contacts", reason)
    file.seek(0)
    # Read by small blocks: a row group as a whole may be larger than the memory.
    table = _of_parquet(lambda: parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 16))
    columns = _header(table.schema_arrow.names)
    return Contacts(columns, _chunked(columns, _parquet_rows(table)))


def _parquet_rows(table: Any) -> Iterator[tuple[Any, ...]]:
    batches = table.iter_batches(batch_size=ROWS_AT_ONCE * 4, use_threads=False)
    while batch := _of_parquet(lambda: next(batches, None)):
        yield from zip(*_of_parquet(lambda: [column.to_pylist() for column in batch.columns]), strict=True)


def _of_parquet(read: Callable[[], T]) -> T:
    """Read, and refuse what is no Parquet."""
    from pyarrow import ArrowException

    try:
        return read()
    except ArrowException:
        pass
    except OSError as error:
        if error.errno is not None:  # of the storage, and so perhaps better next time
            raise
    raise InvalidInput("contacts", "is damaged, or Parquet of a kind that cannot be read here")
