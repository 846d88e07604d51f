"""The rules that a contact must pass to be called.

Rows pass some hundred at a time. Each rule first asks of all of them at once whether there is anything to
object to, which for most is all it costs, and only then looks at them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import compress
from typing import NamedTuple, TypeAlias

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.contacts.cells import UnreadableRow
from formant_provider.core.contacts.people import People
from formant_provider.core.hours.openings import Openings
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.tables.csv_table import Rows

_PERHAPS_WITHOUT_PLUS = {Reason.NOT_E164, Reason.IMPOSSIBLE_NUMBER, Reason.LOCAL_NUMBER}

_FEW = 50


class Fault(NamedTuple):
    """Why a row is not called, the column at fault if it is a certain one, and what else there is to say."""

    reason: Reason
    column: str | None = None
    note: str | None = None


# By the position of a row in its chunk. ``None`` is for a row with nothing in it, which is no contact.
Faults: TypeAlias = Mapping[int, Fault | None]


class Chunk:
    """Rows on their way through the rules, all of one width.

    :ivar keys: the recipients as integers, once they are known.
    """

    def __init__(self, numbers: Sequence[int], rows: Rows, width: int) -> None:
        self.numbers = list(numbers)
        columns = zip(*rows, strict=True) if rows else [()] * width
        self.columns = [list(column) for column in columns]
        self.keys: list[int] = []

    def row(self, position: int) -> list[str]:
        """Return the cells of one row."""
        return [column[position] for column in self.columns]

    def drop(self, positions: Faults) -> None:
        """Take rows out."""
        if len(positions) * _FEW > len(self.numbers):
            kept = [place not in positions for place in range(len(self.numbers))]
            for cells in (self.numbers, self.keys, *self.columns):
                cells[:] = compress(cells, kept)
            return
        # When they are few, deleting them is faster than picking the others.
        for position in sorted(positions, reverse=True):
            for cells in (self.numbers, self.keys, *self.columns):
                del cells[position : position + 1]  # a slice, for the keys may not be known yet


class Rules:
    """The rules for one list of contacts.

    :param people: is asked whom else not to call; ``None``: nobody is.
    :ivar completed: how many accepted numbers got the country code of ``default_country``.
    :ivar without_plus: how many cannot be called, and are valid but for their plus sign.
    """

    def __init__(
        self,
        columns: Sequence[str],
        reader: NumberReader,
        required: Sequence[str] = (),
        suppressed: Set[int] = frozenset(),
        openings: Openings | None = None,
        *,
        people: People | None = None,
    ) -> None:
        for name in required:
            if name not in columns:
                shown = f" {name}" if name.isidentifier() else ", which is one of them"
                raise InvalidInput("required_variables", f"the contacts have no column{shown}")
        self.columns, self._reader, self._suppressed = columns, reader, suppressed
        self._openings, self._people = openings, people
        self._phone = columns.index(PHONE_PARAMETER)
        self._required = {name: columns.index(name) for name in required}
        self._called: set[int] = set()
        # Recipients that are not sent as they were given, by row number, and those that were completed.
        self._rewritten: dict[int, str] = {}
        self._completed: set[int] = set()
        self.completed = self.without_plus = 0

    def width(self, rows: Rows) -> Faults:
        """Object to rows that are not as wide as the header."""
        width = len(self.columns)
        if set(map(len, rows)) == {width}:
            return {}
        return {position: _of_width(row) for position, row in enumerate(rows) if len(row) != width}

    def in_order(self) -> tuple[Callable[[Chunk], Faults], ...]:
        """Return the other rules. Each relies on those before, and the last two remember whom they pass."""
        own = self._number, self._suppression, self._variables, self._window, self._repetition
        return own if self._people is None else (*own, self._cap)

    def rewrite(self, chunk: Chunk) -> int:
        """Put recipients in the form in which they are sent, and return how many were not."""
        if not self._rewritten:
            return 0
        positions = [place for place, number in enumerate(chunk.numbers) if number in self._rewritten]
        for position in positions:
            chunk.columns[self._phone][position] = self._rewritten[chunk.numbers[position]]
        self.completed += len(self._completed.intersection(chunk.numbers))
        self._rewritten.clear()
        self._completed.clear()
        return len(positions)

    def _number(self, chunk: Chunk) -> Faults:
        texts = chunk.columns[self._phone]
        chunk.keys = self._reader.at_a_glance(texts)
        faults: dict[int, Fault | None] = {}
        unclear = [] if all(chunk.keys) else [place for place, key in enumerate(chunk.keys) if not key]
        for position in unclear:
            read = self._reader.read(texts[position])
            if isinstance(read, Reason):
                if read in _PERHAPS_WITHOUT_PLUS:
                    self.without_plus += self._reader.lacks_plus(texts[position])
                blank = read is Reason.NO_NUMBER and not any(map(str.strip, chunk.row(position)))
                faults[position] = (
                    None if blank else Fault(read, None, self._reader.note(texts[position], read))
                )
            else:
                chunk.keys[position] = int(read)
                if read != texts[position]:
                    self._rewritten[chunk.numbers[position]] = read
                    if self._reader.is_completed(texts[position], read):
                        self._completed.add(chunk.numbers[position])
        return faults

    def _suppression(self, chunk: Chunk) -> Faults:
        asked = self._people.suppressed(chunk.keys) if self._people else set()
        if not asked and self._suppressed.isdisjoint(chunk.keys):
            return {}
        listed = self._suppressed
        found = (place for place, key in enumerate(chunk.keys) if key in listed or key in asked)
        return dict.fromkeys(found, Fault(Reason.SUPPRESSED))

    def _variables(self, chunk: Chunk) -> Faults:
        faults: dict[int, Fault | None] = {}
        for name, place in self._required.items():
            column = chunk.columns[place]
            if "" in column or any(map(str.isspace, column)):
                for position, cell in enumerate(column):
                    if not cell.strip():
                        faults.setdefault(position, Fault(Reason.BLANK_VARIABLE, name))
        return faults

    def _window(self, chunk: Chunk) -> Faults:
        if self._openings is None:
            return {}
        closed = self._openings.refuse_closed(f"+{key}" for key in chunk.keys)
        return {
            place: Fault(Reason.HOURS_UNKNOWN if opening.fault else Reason.CLOSED, None, str(opening))
            for place, opening in closed.items()
        }

    def _repetition(self, chunk: Chunk) -> Faults:
        keys, called = set(chunk.keys), self._called
        again, is_each_once = keys & called, len(keys) == len(chunk.keys)
        called |= keys
        if is_each_once and not again:
            return {}
        faults: dict[int, Fault | None] = {}
        for position, key in enumerate(chunk.keys):
            if key in again:
                faults[position] = Fault(Reason.DUPLICATE)
            elif not is_each_once:  # the next of this chunk with the number repeats it
                again.add(key)
        return faults

    def _cap(self, chunk: Chunk) -> Faults:
        capped = self._people.admit(chunk.keys) if self._people else set()
        found = (place for place, key in enumerate(chunk.keys) if key in capped)
        return dict.fromkeys(found, Fault(Reason.CAPPED))


def _of_width(row: list[str]) -> Fault | None:
    """Say what is wrong with a row of another width than the header; ``None`` if there is nothing in it."""
    if isinstance(row, UnreadableRow):
        return Fault(Reason.INVALID_VALUE, row.column, row.fault)
    return Fault(Reason.WRONG_WIDTH) if any(map(str.strip, row)) else None
