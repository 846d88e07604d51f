"""Reads the contacts of a batch call, some hundred at a time: mappings, a file, or a data frame.

What cannot be read for sure is refused as a whole. An error names rows and columns, never a value.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import IO, Any, NamedTuple

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.contacts.cells import CellWriter, Forgiving, PhoneCells, UnreadableRow
from formant_provider.core.numbers.reading import Numbers
from formant_provider.core.tables.csv_table import ROWS_AT_ONCE, CsvTable, Rows
from formant_provider.core.tables.file_kinds import FileForm, open_table
from formant_provider.core.tables.headers import contact_columns
from formant_provider.core.tables.parts import Part
from formant_provider.core.tables.value_tables import ValueTable, frame_table


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

    :param phone_cells: complete once all rows are read.
    :param in_parts: whether they are in several files, so that a row is named with its file.
    """

    columns: tuple[str, ...]
    blocks: Iterator[RowBlock]
    phone_cells: PhoneCells = field(default_factory=PhoneCells)
    in_parts: bool = False


def open_contacts(
    file: IO[bytes],
    form: FileForm = FileForm(),  # noqa: B008 - it is frozen
    *,
    numbers: Numbers | None = None,
    forgiving: Forgiving | None = None,
) -> Contacts:
    """Read contacts from a file, known by its content: a workbook, Parquet, or CSV, also compressed."""
    contacts = _read_part(file, form, numbers, PhoneCells(), forgiving)
    if contacts is None:
        raise InvalidInput("contacts", "is empty: there is no header")
    return contacts


def _read_part(
    file: IO[bytes],
    form: FileForm,
    numbers: Numbers | None,
    cells: PhoneCells,
    forgiving: Forgiving | None,
) -> Contacts | None:
    """Return the contacts of a file that may be one of several; ``None`` if it has no header."""
    table = open_table(file, "contacts", form)
    if not isinstance(table, CsvTable):
        return _of_values(table, numbers, form.phone_column, cells, forgiving)
    if not table.first:
        return None
    columns = contact_columns(table.first, form.phone_column)
    return Contacts(columns, _blocks(table.chunks(), table.first_row + 1), cells)


@contextmanager
def opened_contacts(
    parts: Sequence[Part],
    form: FileForm,
    *,
    numbers: Numbers | None = None,
    forgiving: Forgiving | None = None,
) -> Iterator[Contacts]:
    """Read contacts from one file or several, one of which is open at a time.

    :param forgiving: how values are read of which a bad one stops no other row; ``None``: it stops all.
    """
    if parts[0].name is None:
        with parts[0].open("contacts") as file:
            yield open_contacts(file, form, numbers=numbers, forgiving=forgiving)
        return
    reader = _PartReader(form, numbers, forgiving)
    blocks = reader.blocks(parts)
    with closing(blocks):
        # The first block is an empty one, of the header.
        if next(blocks, None) is None:
            raise InvalidInput("contacts", "is empty: no part has a header")
        yield Contacts(reader.columns, blocks, reader.cells, in_parts=True)


def contacts_of(
    rows: Any,
    *,
    numbers: Numbers | None = None,
    phone_column: str = PHONE_PARAMETER,
    forgiving: Forgiving | None = None,
) -> Contacts:
    """Read contacts that are in memory. A variable that a row does not have is blank there."""
    frame = frame_table(rows, "contacts", phone_column)
    if frame is not None:
        return _of_values(frame, numbers, phone_column, PhoneCells(), forgiving)
    known = list(rows)
    for number, row in enumerate(known, 1):
        if not isinstance(row, Mapping) and forgiving is None:
            raise InvalidInput("contacts", f"row {number}: must be a mapping; got {type(row).__name__}")
    mappings = (row for row in known if isinstance(row, Mapping))
    names = tuple(dict.fromkeys(chain.from_iterable(mappings))) or (phone_column,)
    columns, cells = contact_columns(names, phone_column), PhoneCells()
    rows_of_cells = (
        [row.get(name) for name in names] if isinstance(row, Mapping) else _no_row(row) for row in known
    )
    texts = _chunked(CellWriter(columns, numbers, cells, forgiving), rows_of_cells, 1)
    return Contacts(columns, _blocks(texts), cells)


def _no_row(row: object) -> UnreadableRow:
    return UnreadableRow(None, f"must be a mapping; got {type(row).__name__}")


def _of_values(
    table: ValueTable,
    numbers: Numbers | None,
    phone_column: str,
    cells: PhoneCells,
    forgiving: Forgiving | None,
) -> Contacts:
    columns = contact_columns(table.names, phone_column)
    if table.float_bits(columns.index(PHONE_PARAMETER)) in {16, 32}:
        reason = f"column {phone_column}: holds short floats, which have lost digits; make it text"
        raise InvalidInput("contacts", reason)
    rows = table.rows(range(len(columns)))
    texts = _chunked(CellWriter(columns, numbers, cells, forgiving), rows, table.first_row)
    return Contacts(columns, _blocks(texts, table.first_row), cells)


def _blocks(chunks: Iterable[Rows], first_row: int = 1) -> Iterator[RowBlock]:
    """Number the rows of chunks, from the first on."""
    for rows in chunks:
        yield RowBlock(first_row, rows)
        first_row += len(rows)


def joined(blocks: Iterable[RowBlock], rows: int) -> Iterator[RowBlock]:
    """Join blocks that follow each other, until there are so many rows in one."""
    held: RowBlock | None = None
    for block in blocks:
        if held is not None and _follows(held, block) and len(held.rows) < rows:
            held = held._replace(rows=[*held.rows, *block.rows])
            continue
        if held is not None:
            yield held
        held = block
    if held is not None:
        yield held


def _follows(held: RowBlock, block: RowBlock) -> bool:
    return held.part == block.part and held.first_row + len(held.rows) == block.first_row


def _chunked(writer: CellWriter, rows: Iterable[Sequence[Any]], first_row: int) -> Iterator[Rows]:
    """Write the values of rows as text, some rows at a time."""
    texts = (writer.texts(number, row) for number, row in enumerate(rows, first_row))
    while some := list(islice(texts, ROWS_AT_ONCE)):
        yield some


class _PartReader:
    """Reads the parts one after the other."""

    def __init__(self, form: FileForm, numbers: Numbers | None, forgiving: Forgiving | None) -> None:
        self._form, self._numbers, self._forgiving = form, numbers, forgiving
        self.columns: tuple[str, ...] = ()
        self.cells = PhoneCells()

    def blocks(self, parts: Sequence[Part]) -> Generator[RowBlock, None, None]:
        """Return the rows of all parts, behind an empty block when the first header is known."""
        for part in parts:
            with part.open("contacts") as file:
                contacts = part.named(lambda: self._open(file))
                if contacts is None:
                    continue
                if not self.columns:
                    self.columns = contacts.columns
                    yield RowBlock(0, [], part.name)
                yield from self._blocks(part, contacts)

    def _open(self, file: IO[bytes]) -> Contacts | None:
        return _read_part(file, self._form, self._numbers, self.cells, self._forgiving)

    def _blocks(self, part: Part, contacts: Contacts) -> Iterator[RowBlock]:
        order = part.named(lambda: self._order(contacts.columns))
        while (block := part.named(lambda: next(contacts.blocks, None))) is not None:
            rows = block.rows if order is None else [_in_order(row, order) for row in block.rows]
            yield RowBlock(block.first_row, rows, part.name)

    def _order(self, columns: tuple[str, ...]) -> list[int] | None:
        """Return where each column is in a part; ``None`` if it is where it was."""
        if columns == self.columns:
            return None
        lacking = [name for name in self.columns if name not in columns]
        added = [name for name in columns if name not in self.columns]
        if lacking or added:
            raise InvalidInput("contacts", _difference(lacking, added))
        return [columns.index(name) for name in self.columns]


def _in_order(row: list[str], order: list[int]) -> list[str]:
    # A row of another width is refused as it is.
    return [row[place] for place in order] if len(row) == len(order) else row


def _difference(lacking: Sequence[str], added: Sequence[str]) -> str:
    """Say which columns differ, as far as they cannot be private."""
    if not all(name.isidentifier() for name in (*lacking, *added)):
        return "has other columns than the parts before it, or no header at all"
    told = [f"lacks {', '.join(lacking)}"] if lacking else []
    told += [f"has {', '.join(added)} besides"] if added else []
    return f"has other columns than the parts before it: it {' and '.join(told)}"
