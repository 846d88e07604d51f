"""Reads a do-not-call list as a whole, or refuses it: an entry that is not understood means somebody."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from typing import IO, Any

from formant_provider.api.errors import InputNotFound, InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.contacts.report import MAX_EXAMPLES, too_many
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.numbers.plans import other_writing
from formant_provider.core.numbers.reasons import WHICH_READING, Reason
from formant_provider.core.tables.csv_table import ROWS_AT_ONCE, CsvTable, clean_name
from formant_provider.core.tables.file_kinds import FileForm, open_table
from formant_provider.core.tables.headers import phone_place
from formant_provider.core.tables.parts import Part
from formant_provider.core.tables.value_tables import ValueTable, frame_table
from formant_provider.core.values import is_missing, phone_text

_FIELD = "suppress"
_OTHER_WRITING = (
    ". To read numbers with spaces, or without country code, set default_country (--default-country)"
)
# A header may hold a digit or two (phone1, E.164), and an entry that is spoilt may hold letters.
_FEWEST_DIGITS = 7


def read_do_not_call(
    entries: Iterable[object], reader: NumberReader, *, may_be_empty: bool = False
) -> set[int]:
    """Return the numbers of a do-not-call list, as integers.

    :param reader: one that renumbers, so that who is on the list under a number of an old plan is not called
        under that of today.
    :param may_be_empty: whether a list without a number is returned, and not refused.
    :raises InvalidInput: an entry cannot be read, or there is none: such a list is lost, and not empty. Or
        more than a few have lost their last digits.
    """
    listed = _Listed(reader)
    if isinstance(entries, NumbersInFiles):
        for part, some in entries:
            part.named(partial(listed.add, some))
    else:
        listed.add(entries)
    return listed.whole(may_be_empty=may_be_empty)


@contextmanager
def about_field(field: str) -> Iterator[None]:
    """Let errors of a list, which is ``suppress`` here, name the field in which it was given."""
    fault: InvalidInput | InputNotFound
    try:
        yield
        return
    except (InvalidInput, InputNotFound) as error:
        fault = error
    # Raised after the other one was handled, which would come along otherwise.
    raise type(fault)(field if fault.field == _FIELD else fault.field, fault.reason)


class _Listed:
    """Collects the numbers of a list."""

    def __init__(self, reader: NumberReader) -> None:
        self._reader, self._numbers = reader, set[int]()
        self._round_before, self._entries = reader.round_numbers, 0

    def add(self, entries: Iterable[object]) -> None:
        """Add the numbers of some entries, or refuse them as a whole."""
        reader, unread, reasons = self._reader, list[int](), Counter[str]()
        texts = (_entry(entry, digits_are_told=reader.digits_are_told) for entry in entries)
        for first in count(1, ROWS_AT_ONCE):
            some = list(islice(texts, ROWS_AT_ONCE))
            if not some:
                break
            self._entries += len(some)
            keys = reader.at_a_glance(some)
            for position in [position for position, key in enumerate(keys) if not key]:
                read = reader.read(some[position])
                if not isinstance(read, Reason):
                    keys[position] = int(read)
                elif read is not Reason.NO_NUMBER:
                    unread.append(first + position)
                    reasons[read] += 1
            self._numbers.update(filter(None, keys), filter(None, map(other_writing, keys)))
        if unread:
            _refuse(unread, reasons)

    def whole(self, *, may_be_empty: bool) -> set[int]:
        """Return the list, unless it was spoilt or lost."""
        round_numbers = self._reader.round_numbers - self._round_before
        if too_many(round_numbers, self._entries):
            raise InvalidInput(
                _FIELD,
                f"{round_numbers} of {self._entries} entries end in six or more zeros, as a spreadsheet"
                " leaves them when their last digits are gone. Export the list again, with numbers as text",
            )
        if not self._numbers and not may_be_empty:
            raise InvalidInput(
                _FIELD,
                "holds no number, as a list that was not filled does. Where nobody has to be on it, let it"
                " hold one that nobody has; where there is no list, leave it out of the DAG file",
            )
        return self._numbers


def _refuse(unread: list[int], reasons: Counter[str]) -> None:
    which = ", ".join(map(str, unread[:MAX_EXAMPLES]))
    why = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
    hint = f". {WHICH_READING}" if Reason.AMBIGUOUS_NUMBER in reasons else ""
    if Reason.NOT_E164 in reasons:
        hint = f"{_OTHER_WRITING}{hint}"
    one = len(unread) == 1
    what = "1 entry cannot be read as a number" if one else f"{len(unread)} entries cannot be read as numbers"
    raise InvalidInput(_FIELD, f"{what} ({why}): {'entry' if one else 'first entries'} {which}{hint}")


def _entry(entry: object, *, digits_are_told: bool) -> str:
    """Return the text of an entry; blank for nobody, and a question mark for what is no number."""
    if is_missing(entry):
        return ""
    with suppress(InvalidInput):
        # A NUL would part an entry in two.
        return phone_text(entry, digits_are_told=digits_are_told).replace("\0", "?")
    return "?"


def open_numbers(file: IO[bytes], form: FileForm = FileForm()) -> Iterator[Any]:  # noqa: B008 - it is frozen
    """Read a list of numbers from a file, known by its content as that of contacts is.

    They are in the column ``customer_phone`` or the one that the form names, or in the only one, whatever its
    name.

    :param form: how the contacts are written, and perhaps this list. Which delimiter a CSV file has its
        header shows; of a workbook with several sheets the form has to name one.
    """
    table = open_table(file, _FIELD, form, as_list=True)
    phone_column = form.phone_column
    return _of_csv(table, phone_column) if isinstance(table, CsvTable) else _of_values(table, phone_column)


@dataclass(frozen=True)
class NumbersInFiles:
    """A do-not-call list in one file or several, of which one is open at a time."""

    parts: Sequence[Part]
    form: FileForm

    def __iter__(self) -> Iterator[tuple[Part, Iterator[Any]]]:
        for part in self.parts:
            with part.open(_FIELD) as file:
                yield part, part.named(partial(open_numbers, file, self.form))


def entries_of(numbers: Iterable[object], form: FileForm = FileForm()) -> Iterable[object]:  # noqa: B008
    """Return the entries of a list that is in memory."""
    frame = frame_table(numbers, _FIELD, form.phone_column)
    if frame is not None:
        return _of_values(frame, form.phone_column)
    # Arrow's columns are no lists, and their entries no values of Python.
    as_list: Any = getattr(numbers, "to_pylist", None)
    return numbers if as_list is None else as_list()


def _of_csv(table: CsvTable, phone_column: str) -> Iterator[str]:
    names, rows = [clean_name(name) for name in table.first], chain.from_iterable(table.chunks())
    named = phone_place(names, phone_column)
    place, width, number = 0, 1, table.first_row + 1
    if named is not None:
        place, width = named, len(names)
    elif len(names) != 1 or not _is_header(names[0]):
        rows, number = chain([table.first], rows), table.first_row
    for row_number, row in enumerate(rows, number):
        if row and len(row) != width:
            wanted = f"a column {PHONE_PARAMETER} or a single one" if width == 1 else f"{width} cells"
            raise InvalidInput(_FIELD, f"row {row_number}: has {len(row)} cells; expected {wanted}")
        if row and row[place].strip():
            yield row[place]


def _is_header(cell: str) -> bool:
    """Whether the first cell of a column names it. Else it means somebody, even if it cannot be read."""
    with suppress(ValueError):
        float(cell)
        return False
    digits = _count_digits(cell)
    return not digits or (digits < _FEWEST_DIGITS and any(map(str.isalpha, cell)))


def _count_digits(cell: str) -> int:
    return len(re.findall(r"\d", cell))


def _of_values(table: ValueTable, phone_column: str) -> Iterator[Any]:
    place, width = phone_place(table.names, phone_column), len(table.names)
    if place is None and width != 1:
        raise InvalidInput(
            _FIELD,
            f"has {width} columns; expected a column {PHONE_PARAMETER} or a single one: rename the one"
            " with the numbers, or give it alone",
        )
    if table.float_bits(place or 0) in {16, 32}:
        raise InvalidInput(_FIELD, "holds its numbers as short floats, which have lost digits")
    if place is None and _count_digits(table.names[0]) >= _FEWEST_DIGITS:
        yield table.names[0]  # there is no header, and the first entry was taken for one
    for (value,) in table.rows([place or 0]):
        yield value
