"""Reads a list into the board: through all checks of contacts, and then row by row what each asks for."""

from __future__ import annotations

import csv
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from formant_provider.api.errors import InputNotFound, InvalidContacts, InvalidInput
from formant_provider.core.numbers.reasons import Reason
from formant_provider.tasks.batches.contacts import ContactFiles
from formant_provider.tasks.contact_rules import PHONE_COLUMN
from formant_provider.tasks.do_not_call import refuse_lost_list
from formant_provider.tasks.privacy import reveal

if TYPE_CHECKING:
    from formant_provider.core.call_lists.board import Board
    from formant_provider.core.call_lists.columns import Columns
    from formant_provider.core.call_lists.rows import Row, RowReader, Wanted
    from formant_provider.core.contacts.people import People
    from formant_provider.core.contacts.report import ContactReport
    from formant_provider.core.numbers.bulk import NumberReader
    from formant_provider.tasks.call_lists.fields import CallListTask

log = logging.getLogger(__name__)

_DUPLICATE = "duplicate"


@dataclass
class ListReading:
    """One reading of the list of a task.

    :param folder: on this machine, for as long as the list is read; it holds what is private.
    :param people: is asked who is on the do-not-call list of the call store; ``None`` without one.
    :ivar has_parts: whether the rows are in several files.
    """

    task: CallListTask
    folder: Path
    people: People | None
    has_parts: bool = field(default=False, init=False)
    _is_empty: bool = field(default=False, init=False)
    _end_empty: Callable[[], None] = field(default=lambda: None, init=False)

    def into(self, board: Board, reader_of: Callable[[Columns], RowReader]) -> None:
        """Put all rows on a board, those that are not called with the reason.

        :param reader_of: returns what reads rows with these columns.
        :raises InvalidContacts: the list is in doubt as a whole, or has invalid rows that are not accepted.
        """
        refuse_lost_list(self.task.given)
        files = self._files()
        with naming_calls():
            report = files.read()
            refused = self._add_rows(board, reader_of, files)
            self._refuse_invalid(report, refused)
        self._is_empty = report.accepted == sum(refused.values())
        self._end_empty = partial(files.end_empty, report)

    def refuse_empty(self, *, has_begun: bool) -> None:
        """End a task that has nobody to call.

        :param has_begun: whether calls of an earlier reading may have been placed: the list is lost then.
        :raises InvalidInput: there is nobody to call.
        :raises CallNotAllowed: so it is from the beginning, and the user chose to skip then.
        """
        if not self._is_empty:
            return
        if has_begun:
            raise InvalidInput(
                "calls", "has nobody who can be called any more, and calls of it may have been placed"
            )
        with naming_calls():
            self._end_empty()

    def _files(self) -> ContactFiles:
        from formant_provider.core.contacts.cells import Forgiving

        metadata = self.task.columns.get("metadata", "metadata")
        given = reveal(self.task.calls), reveal(self.task.suppress)
        files = ContactFiles(self.folder, *given, self.task.rules, keeps_rows=True)
        files.forgiving = Forgiving(frozenset() if metadata is None else frozenset({metadata}))
        files.people = self.people
        return files

    def _add_rows(
        self, board: Board, reader_of: Callable[[Columns], RowReader], files: ContactFiles
    ) -> Counter[str]:
        from formant_provider.core.call_lists.columns import Columns

        columns = Columns(_columns_of(files.clean), self.task.columns, self.task.result_options.keep_columns)
        reader, refused = reader_of(columns), Counter[str]()
        for row in _rows(files):
            self.has_parts = self.has_parts or row.part is not None
            detail = _add(board, reader, columns, self._with_number(row))
            if detail is not None:
                refused[detail] += 1
        for detail, count in refused.most_common(5):
            log.warning("%s rows are left out: %s.", count, detail)
        return refused

    def _with_number(self, row: Row) -> Row:
        """Return a row that is not called with its number in E.164, if that may have been called."""
        if row.reason != Reason.SUPPRESSED:
            return row
        read = self._numbers.read(str(row.number))
        return row if isinstance(read, Reason) else row._replace(number=str(read))

    @cached_property
    def _numbers(self) -> NumberReader:
        from formant_provider.core.numbers.bulk import NumberReader

        rules = self.task.rules
        return NumberReader(rules.default_country, rules.numbers, renumber=rules.renumber)

    def _refuse_invalid(self, report: ContactReport, refused: Counter[str]) -> None:
        """Refuse the list for what is wrong with rows besides what the checks of contacts have found."""
        rules, invalid = self.task.rules, report.invalid + sum(refused.values())
        is_too_much = (
            rules.max_rejected_rate is not None and invalid * 100 > rules.max_rejected_rate * report.total
        )
        if refused and (rules.invalid_rows == "fail" or is_too_much):
            told = ", ".join(f"{count} rows: {detail}" for detail, count in refused.most_common(5))
            raise InvalidContacts(
                f"{invalid} of {report.total} rows cannot be called; {told}",
                by_reason=dict(refused),
                examples=(),
            )


@contextmanager
def naming_calls() -> Iterator[None]:
    """Let errors name the option of a call list, where contacts are those of a batch call."""
    try:
        yield
    except (InvalidInput, InputNotFound) as error:
        if error.field == "contacts":
            error.field, error.message = "calls", f"calls: {error.reason}"
            error.args = (error.message,)
        raise


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Let cells be read that are longer than the reader takes by default: they were written here."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _add(board: Board, reader: RowReader, columns: Columns, row: Row) -> str | None:
    """Put one row on the board; return what is wrong with what it asks for, if only that is."""
    from formant_provider.core.call_lists.rows import INVALID
    from formant_provider.core.call_lists.standing import About

    wanted, fault = _wanted(reader, row)
    if fault is not None:
        row = row._replace(reason=INVALID, detail=fault)
    carried = {} if row.cells is None else columns.kept_of(row.cells)
    about = About(reader.reference_of(row), carried, _zone(row.number) if wanted else None)
    if not board.add(row, wanted, about):
        detail = "another row asks for the same call"
        board.add(row if row.reason else row._replace(reason=_DUPLICATE, detail=detail), None, about)
    return fault


def _wanted(reader: RowReader, row: Row) -> tuple[Wanted | None, str | None]:
    """Return what a row asks for, or what is wrong with that.

    Whoever is on the do-not-call list may have been called before, so that row is read as well.
    """
    if row.reason not in {None, Reason.SUPPRESSED}:
        return None, None
    try:
        return reader.wanted(row), None
    except InvalidInput as error:
        return None, None if row.reason else f"{error.field} {error.reason}"


def _rows(files: ContactFiles) -> Iterator[Row]:
    """Yield all rows in their order: their cells are in one of two files, by whether they can be called."""
    from formant_provider.core.call_lists.rows import Row
    from formant_provider.core.contacts.row_list import read_row_list

    with (
        _cells_of_any_length(),
        files.row_list.open("rb") as lines,
        files.clean.open(newline="", encoding="utf-8") as clean_file,
        files.rejects.open(newline="", encoding="utf-8") as reject_file,
    ):
        clean, rejects = csv.reader(clean_file), csv.reader(reject_file)
        columns = next(clean)
        phone, own = columns.index(PHONE_COLUMN), len(next(rejects)) - len(columns)
        for listed in read_row_list(lines):
            place = listed.row_number or 0, listed.part
            if listed.reason is None:
                cells = next(clean)
                yield Row(*place, cells[phone], None, None, cells)
                continue
            reject = next(rejects)
            is_whole = listed.reason not in {Reason.WRONG_WIDTH, Reason.INVALID_VALUE}
            cells = reject[own:]
            yield Row(
                *place, listed.number, listed.reason, reject[own - 1] or None, cells if is_whole else None
            )


def _columns_of(clean: Path) -> list[str]:
    with clean.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


def _zone(number: str | None) -> str | None:
    """Return the time zone of a number, if it can be in one alone."""
    from formant_provider.core.hours.zones import zones_of

    zones = zones_of(str(number))
    return zones[0].key if len(zones) == 1 else None
