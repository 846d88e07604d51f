"""Makes one list of the files that contacts, or numbers not to be called, are in.

Each part has a header of its own, and its columns are matched by name. An error names the part.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import IO, Any, TypeVar

from formant_provider.api.errors import InvalidInput
from formant_provider.core.contacts.do_not_call import open_numbers
from formant_provider.core.contacts.sources import Contacts, PhoneCells, RowBlock, open_contacts, read_part
from formant_provider.core.numbers.reading import Numbers
from formant_provider.core.tables.file_kinds import FileForm
from formant_provider.core.tables.parts import Part

T = TypeVar("T")


@contextmanager
def opened_contacts(
    parts: Sequence[Part], form: FileForm, *, numbers: Numbers | None = None
) -> Iterator[Contacts]:
    """Read contacts from one file or several, one of which is open at a time.

    :param parts: at least one. Those that are empty are passed over, unless all of them are.
    :param form: how they are written.
    :param numbers: as for :func:`~formant_provider.core.contacts.sources.open_contacts`.
    :raises InvalidInput: a part cannot be read, or has other columns than those before it; some of that shows
        only while the rows are read.
    """
    if parts[0].name is None:
        with parts[0].opened() as file:
            yield open_contacts(
                file,
                delimiter=form.delimiter,
                numbers=numbers,
                sheet=form.sheet,
                phone_column=form.phone_column,
            )
        return
    reader = _PartReader(form, numbers)
    blocks = reader.blocks(parts)
    with closing(blocks):
        # The first block is an empty one, of the header.
        if next(blocks, None) is None:
            raise InvalidInput("contacts", "is empty: no part has a header")
        yield Contacts(reader.columns, blocks, reader.cells, in_parts=True)


class _PartReader:
    """Reads the parts one after the other.

    :ivar columns: those of the first part, once it is open.
    :ivar cells: where cells with numbers are counted.
    """

    def __init__(self, form: FileForm, numbers: Numbers | None) -> None:
        self._form, self._numbers = form, numbers
        self.columns: tuple[str, ...] = ()
        self.cells = PhoneCells()

    def blocks(self, parts: Sequence[Part]) -> Generator[RowBlock, None, None]:
        """Return the rows of all parts, behind an empty block when the first header is known."""
        for part in parts:
            with part.opened() as file:
                contacts = _told(part, lambda: self._open(file))
                if contacts is None:
                    continue
                if not self.columns:
                    self.columns = contacts.columns
                    yield RowBlock(0, [], part.name)
                yield from self._blocks(part, contacts)

    def _open(self, file: IO[bytes]) -> Contacts | None:
        return read_part(file, self._form, self._numbers, self.cells)

    def _blocks(self, part: Part, contacts: Contacts) -> Iterator[RowBlock]:
        order = _told(part, lambda: self._order(contacts.columns))
        while (block := _told(part, lambda: next(contacts.blocks, None))) is not None:
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


def numbers_of(parts: Sequence[Part], form: FileForm) -> Iterator[Any]:
    """Read a list of numbers from one file or several.

    :raises InvalidInput: while it is read, as
        :func:`~formant_provider.core.contacts.do_not_call.open_numbers` does.
    """
    for part in parts:
        with part.opened() as file:
            yield from _each(part, _told(part, lambda: open_numbers(file, form)))


def _each(part: Part, entries: Iterator[Any]) -> Iterator[Any]:
    while (entry := _told(part, lambda: next(entries, entries))) is not entries:
        yield entry


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


def _told(part: Part, read: Callable[[], T]) -> T:
    """Read, and name the part in an error."""
    try:
        return read()
    except InvalidInput as error:
        fault = error
    if part.name is None:
        raise InvalidInput(fault.field, fault.reason)
    name = part.name if part.name.isprintable() else repr(part.name)
    raise InvalidInput(fault.field, f"part {name}: {fault.reason}")
