"""Turns the contacts of a batch call into a clean CSV file for the API, before anything is sent."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Literal, TypeAlias, get_args

from formant_provider.api.errors import InvalidContacts, InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.contacts.do_not_call import read_do_not_call
from formant_provider.core.contacts.people import ASKED_AT_ONCE, People
from formant_provider.core.contacts.report import MAX_EXAMPLES, ContactReport, Problem
from formant_provider.core.contacts.row_list import NOTHING_CARRIED, CarriedColumns, RowList
from formant_provider.core.contacts.rules import Chunk, Faults, Rules
from formant_provider.core.contacts.sources import Contacts, joined
from formant_provider.core.hours.openings import Openings
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.numbers.reading import Numbers
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.tables.csv_table import Rows, as_csv
from formant_provider.core.tables.parts import in_order

InvalidRows: TypeAlias = Literal["fail", "reject"]

# Contacts that are left out for this are in order; it is not the time for them, or not for anybody.
_NO_FAULT = {Reason.SUPPRESSED, Reason.CLOSED, Reason.CAPPED}
# In front of a rejected contact's own columns; behind the first "part", when contacts are in several files.
REJECT_COLUMNS = ("row_number", "reason", "detail")
_Rejected: TypeAlias = tuple[Problem, list[str]]


def clean_contacts(
    contacts: Contacts,
    sink: IO[bytes],
    *,
    rejects: IO[bytes] | None = None,
    row_list: IO[bytes] | None = None,
    carried: CarriedColumns = NOTHING_CARRIED,
    required_variables: Sequence[str] = (),
    default_country: str | None = None,
    numbers: Numbers | None = None,
    renumber: bool = False,
    suppress: Iterable[object] | None = None,
    invalid_rows: InvalidRows = "fail",
    max_rejected_rate: float | None = None,
    openings: Openings | None = None,
    people: People | None = None,
    phone_column: str = PHONE_PARAMETER,
) -> ContactReport:
    """Write the contacts that can be called, in their order and with all of their columns.

    The file is CSV by RFC 4180, in UTF-8. Memory does not grow with the contacts, but for some 70 bytes for
    each number.

    :param sink: where the clean file goes. After an error a part of it may be there, which is of no use.
    :param rejects: where the other contacts go, as CSV with ``REJECT_COLUMNS`` in front; a column of theirs
        with such a name gets ``contact_`` before it. It holds what is private. ``None`` keeps them nowhere.
    :param renumber: whether numbers of an old numbering plan are called under that of today; else they are
        refused. Those of ``suppress`` are read as both.
    :param invalid_rows: ``"reject"`` leaves the other contacts out; ``"fail"`` raises once all are read,
        unless all that cannot be called are suppressed, closed or capped, which is no fault of theirs.
    :param people: is asked last who was called as often as allowed, and counts whoever can be called.
    :raises InvalidContacts: some contacts cannot be called, and ``invalid_rows`` is ``"fail"``; or more than
        ``max_rejected_rate`` cannot; or the whole list is in doubt: more than a few numbers are ambiguous, or
        end in six or more zeros.
    """
    if invalid_rows not in get_args(InvalidRows):
        raise InvalidInput("invalid_rows", f"must be one of {', '.join(get_args(InvalidRows))}")
    reader = NumberReader(default_country, numbers, renumber=renumber)
    listed = NumberReader(default_country, numbers, renumber=True)
    suppressed = None if suppress is None else read_do_not_call(suppress, listed)
    required = [PHONE_PARAMETER if name == phone_column else name for name in required_variables]
    rules = Rules(contacts.columns, reader, required, suppressed or frozenset(), openings, people=people)
    if people is not None:
        contacts = replace(contacts, blocks=joined(contacts.blocks, ASKED_AT_ONCE))
    rows = RowList(row_list, contacts.columns, carried)
    report = replace(
        _sift(contacts, rules, sink, _Rejects(rejects, contacts, phone_column), rows),
        do_not_call=None if suppressed is None else len(suppressed),
        completed=rules.completed,
        round_numbers=reader.round_numbers,
        without_plus=rules.without_plus,
    )
    because = _why_not(report, invalid_rows, max_rejected_rate)
    if because is not None:
        raise invalid_contacts(report, because)
    return report


def _why_not(report: ContactReport, invalid_rows: InvalidRows, max_rejected_rate: float | None) -> str | None:
    """Return why nobody of the list is called; blank if the rows say it all, ``None``: they can be."""
    if report.doubt:
        return report.doubt
    if report.invalid and invalid_rows == "fail":
        return ""
    if max_rejected_rate is not None and report.invalid * 100 > max_rejected_rate * report.total:
        rate = report.invalid * 100 / report.total
        return f"{rate:.3g} percent have a fault, and max_rejected_rate is {max_rejected_rate:g}"
    return None


def invalid_contacts(report: ContactReport, because: str = "") -> InvalidContacts:
    """Return the error that says why no batch call is made of these contacts."""
    examples = tuple((problem.row, str(problem.reason)) for problem in report.problems)
    text = report.summary() if report.rejected else "there is none"
    return InvalidContacts(
        f"{because}: {text}" if because else text, by_reason=dict(report.by_reason), examples=examples
    )


def _sift(
    contacts: Contacts, rules: Rules, clean: IO[bytes], rejects: _Rejects, rows: RowList
) -> ContactReport:
    tally = _Tally()
    clean.write(as_csv([(name,) for name in contacts.columns]))
    for block in contacts.blocks:
        numbers = range(block.first_row, block.first_row + len(block.rows))
        chunk, rejected = _judged(numbers, block.rows, rules)
        rejected = [(replace(problem, part=block.part), row) for problem, row in rejected]
        if rejected:
            tally.reject([problem for problem, _ in rejected])
            rejects.write(rejected)
        tally.accept(len(chunk.numbers), rules.rewrite(chunk))
        clean.write(as_csv(chunk.columns))
        left_out = [(problem.row, str(problem.reason), row) for problem, row in rejected]
        rows.write(block.part, chunk.numbers, chunk.columns, left_out)
    return tally.report()


def _judged(numbers: Sequence[int], rows: Rows, rules: Rules) -> tuple[Chunk, list[_Rejected]]:
    """Return the rows to be called, and the others in their order."""
    rejected: list[_Rejected] = []
    if faults := rules.width(rows):
        rejected += _problems(numbers, faults, rows.__getitem__)
        kept = [position for position in range(len(rows)) if position not in faults]
        numbers, rows = [numbers[position] for position in kept], [rows[position] for position in kept]
    chunk = Chunk(numbers, rows, len(rules.columns))
    for rule in rules.in_order():
        if faults := rule(chunk):
            rejected += _problems(chunk.numbers, faults, chunk.row)
            chunk.drop(faults)
    return chunk, sorted(rejected, key=lambda pair: pair[0].row)


def _problems(numbers: Sequence[int], faults: Faults, row: Callable[[int], list[str]]) -> Iterator[_Rejected]:
    for position, fault in faults.items():
        if fault is not None:
            yield Problem(numbers[position], *fault), row(position)


def _place(problem: Problem) -> tuple[list[tuple[int, str]], int]:
    return in_order(problem.part or ""), problem.row


def _rejects_header(own: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return our columns and those of the contacts, each name once: who reads it by names takes the last."""
    header = list(own)
    for name in columns:
        unique = name
        while unique in header or (unique != name and unique in columns):
            unique = f"contact_{unique}"
        header.append(unique)
    return header


class _Rejects:
    """Writes the contacts that are not called to a file, or to none."""

    def __init__(self, file: IO[bytes] | None, contacts: Contacts, phone_column: str) -> None:
        self._file, self._in_parts = file, contacts.in_parts
        row_number, *others = REJECT_COLUMNS
        own = [row_number, *(["part"] if self._in_parts else []), *others]
        given = [phone_column if name == PHONE_PARAMETER else name for name in contacts.columns]
        self._write([_rejects_header(own, given)])

    def write(self, rejected: Iterable[_Rejected]) -> None:
        self._write(
            [problem.row, *([problem.part] if self._in_parts else []), problem.reason, problem.detail, *row]
            for problem, row in rejected
        )

    def _write(self, rows: Iterable[Sequence[object]]) -> None:
        if self._file is not None:
            text = io.StringIO(newline="")
            csv.writer(text).writerows(rows)
            self._file.write(text.getvalue().encode())


class _Tally:
    """Counts, and keeps the first few of what it counts."""

    def __init__(self) -> None:
        self._accepted = self._rewritten = 0
        self._by_reason: Counter[str] = Counter()
        self._problems: list[Problem] = []
        self._left_out: list[Problem] = []

    def accept(self, contacts: int, rewritten: int) -> None:
        self._accepted += contacts
        self._rewritten += rewritten

    def reject(self, problems: Sequence[Problem]) -> None:
        self._by_reason.update(problem.reason for problem in problems)
        # Apart, since they may be many, and are not what an error is about.
        left_out = [problem for problem in problems if problem.reason in _NO_FAULT]
        others = [problem for problem in problems if problem.reason not in _NO_FAULT]
        self._left_out += left_out[: MAX_EXAMPLES - len(self._left_out)]
        self._problems += others[: MAX_EXAMPLES - len(self._problems)]

    def report(self) -> ContactReport:
        by_reason = {str(reason): self._by_reason[reason] for reason in Reason if self._by_reason[reason]}
        return ContactReport(
            total=self._accepted + self._by_reason.total(),
            accepted=self._accepted,
            by_reason=by_reason,
            problems=tuple(sorted((self._problems + self._left_out)[:MAX_EXAMPLES], key=_place)),
            rewritten=self._rewritten,
        )
