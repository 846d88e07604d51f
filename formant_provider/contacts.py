"""Check a list of contacts without Airflow, and call nobody: ``python -m formant_provider.contacts FILE``.

Contacts that cannot be called are named by row and reason, the others by zone and opening; never a number.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, get_args

import pendulum

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.calling_window import CallingWindow
from formant_provider.core.contacts.cleaning import clean_contacts
from formant_provider.core.contacts.do_not_call import NumbersInFiles
from formant_provider.core.contacts.report import ContactReport
from formant_provider.core.contacts.sources import opened_contacts
from formant_provider.core.hours.openings import Opening, Openings, by_opening
from formant_provider.core.numbers.reading import Numbers
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.tables.file_kinds import FileForm
from formant_provider.core.tables.parts import Part, local_files, local_parts, refuse_overlap

ALL_CAN_BE_CALLED, SOME_CANNOT, CANNOT_BE_READ = 0, 1, 2
# So many rows are named for each reason.
FIRST_ROWS = 5


@dataclass(frozen=True)
class Findings:
    """What there is to say of a list."""

    report: ContactReport
    rows: dict[str, list[int | str]]
    openings: Counter[Opening]

    @property
    def status(self) -> int:
        """The exit status."""
        some_cannot = self.report.rejected or not self.report.accepted
        return SOME_CANNOT if some_cannot else ALL_CAN_BE_CALLED

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        counts = self.report.counts()
        reasons = {
            reason: {"count": count, "first_rows": self.rows.get(reason, [])}
            for reason, count in self.report.by_reason.items()
        }
        return {**counts, "by_reason": reasons, "by_opening": by_opening(self.openings)}


def main(argv: Sequence[str] | None = None) -> int:
    """Check the list that the arguments name, and print what was found.

    :param argv: arguments without the program's name; ``None`` reads the command line.
    :return: 0 when all can be called, 1 when some cannot, 2 when the list cannot be read; wrong arguments
        exit with 2.
    """
    parser = command_line()
    options = parser.parse_args(argv)
    try:
        window = _window(options)
        findings = check(options, window)
    except (FormantError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return CANNOT_BE_READ
    except OSError as error:
        print(f"{parser.prog}: {error.filename or options.file}: {error.strerror or error}", file=sys.stderr)
        return CANNOT_BE_READ
    text = json.dumps(findings.as_data()) if options.json else in_a_table(findings, has_hours=bool(window))
    try:
        print(text, flush=True)
    except OSError as error:
        _forget_what_is_buffered()
        if not isinstance(error, BrokenPipeError):  # whoever reads may have seen enough, as `head` has
            print(f"{parser.prog}: standard output: {error.strerror or error}", file=sys.stderr)
            return CANNOT_BE_READ
    return findings.status


def check(options: argparse.Namespace, window: CallingWindow | None) -> Findings:
    """Read the list, and all that is needed for it."""
    # Who may be called later can be called; who has no hours, or none that are known, cannot.
    openings = Openings(window.hours if window else None, pendulum.now("UTC"), refuse_later=False)
    _refuse_overwriting(options)
    form = FileForm(options.delimiter, options.sheet, options.phone_column)
    with ExitStack() as stack:
        rejects, clean = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        report = clean_contacts(
            stack.enter_context(opened_contacts(_parts(options.file), form, numbers=options.numbers)),
            clean,
            rejects=rejects,
            required_variables=[name.strip() for name in options.required.split(",") if name.strip()],
            default_country=options.default_country,
            numbers=options.numbers,
            renumber=options.renumber,
            suppress=NumbersInFiles(local_parts(options.suppress, "suppress"), form)
            if options.suppress
            else None,
            invalid_rows="reject",
            phone_column=options.phone_column,
            openings=openings if window else None,
        )
        if options.rejects:
            rejects.seek(0)
            with Path(options.rejects).open("wb") as file:
                shutil.copyfileobj(rejects, file)
        accepted = _column(clean, PHONE_PARAMETER)
        return Findings(report, _first_rows(rejects), Counter(map(openings.of, accepted)))


def in_a_table(findings: Findings, *, has_hours: bool) -> str:
    """Return the findings as a person reads them."""
    report = findings.report
    lines = [f"{report.accepted} of {report.total} contacts can be called."]
    if report.by_reason:
        lines += ["", "Cannot be called:"]
        lines += _aligned(
            (str(count), reason, _row_list(findings.rows.get(reason, []), count), Reason(reason).sentence)
            for reason, count in report.by_reason.items()
        )
    if findings.openings:
        lines += ["", "May be called:"]
        lines += _aligned(
            (str(entry["count"]), _when(entry, has_hours), entry["zones"] or "time zone not known")
            for entry in by_opening(findings.openings)
        )
    if report.rewritten:
        lines += ["", f"Numbers that would be sent in another form: {report.rewritten}."]
    return "\n".join(lines)


def _refuse_overwriting(options: argparse.Namespace) -> None:
    """Refuse to write rejects over what is read, under whatever name."""
    if not options.rejects:
        return
    read = {"FILE": options.file, "--suppress": options.suppress}
    read = {name: place for name, place in read.items() if place and place != "-"}
    refuse_overlap(read, {"--rejects": options.rejects})
    rejects = Path(options.rejects)
    for name, place in read.items():
        # A hard link has no name of its own, and some disks know no capitals.
        if rejects.exists() and any(rejects.samefile(path) for path in local_files(place)):
            raise InvalidInput("--rejects", f"is a file that {name} reads, under another name")


def _parts(place: str) -> list[Part]:
    if place != "-":
        return local_parts(place)
    if sys.stdin is None:
        raise InvalidInput("contacts", "standard input is closed; give the name of a file, or a pipe")
    # Parquet and workbooks are read from any place, and a pipe from one alone.
    return [Part(None, lambda: io.BytesIO(sys.stdin.buffer.read()))]


def _first_rows(rejects: IO[bytes]) -> dict[str, list[int | str]]:
    """Return the first rows by reason: their numbers, behind the name of the part if there are several."""
    found: dict[str, list[int | str]] = {}
    rows = _rows(rejects)
    header = next(rows)
    reason = header.index("reason")
    for row in rows:
        some = found.setdefault(row[reason], [])
        if len(some) < FIRST_ROWS:
            number, *part = row[:reason]
            some.append(f"{part[0]} {number}" if part else int(number))
    return found


def _column(file: IO[bytes], name: str) -> Iterator[str]:
    rows = _rows(file)
    place = next(rows).index(name)
    return (row[place] for row in rows)


def _rows(file: IO[bytes]) -> Iterator[list[str]]:
    file.seek(0)
    return csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline=""))


def _row_list(rows: Sequence[int | str], count: int) -> str:
    more = " ..." if count > len(rows) else ""
    return f"row{'s' if count > 1 else ''} {', '.join(map(str, rows))}{more}"


def _when(entry: dict[str, Any], has_hours: bool) -> str:
    if not has_hours:
        return "at any time"
    if entry["opens_at"]:
        return f"from {entry['opens_at']}"
    return "now" if entry["is_open"] else "at different times"


def _aligned(rows: Any) -> list[str]:
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _window(options: argparse.Namespace) -> CallingWindow | None:
    given = {name: getattr(options, name) for name in ("start", "end", "days", "timezone", "holidays")}
    given = {name: value for name, value in given.items() if value is not None}
    return CallingWindow(**given) if given else None


def _forget_what_is_buffered() -> None:
    """Send it nowhere, since Python would write it, and fail at it once more, when it ends."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _not_blank(value: str) -> str:
    """Refuse what an unset variable of the shell leaves: ignored, it would mean that there is none."""
    if not value.strip():
        raise argparse.ArgumentTypeError("is blank")
    return value


def _country(value: str) -> str:
    return _not_blank(value).strip().upper()


def command_line() -> argparse.ArgumentParser:
    """Return the options, as ``--help`` prints them."""
    parser = argparse.ArgumentParser(
        prog="python -m formant_provider.contacts",
        description="Check a list of contacts as a batch call does. Nobody is called; no number is printed.",
        epilog="Exit status: 0 all can be called, 1 some cannot, 2 the list or the options cannot be read.",
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        type=_not_blank,
        help="a file, a folder or a pattern of files; - reads standard input",
    )
    country = "two letters, such as IN: where numbers without a country code are from"
    parser.add_argument("--default-country", metavar="CC", type=_country, help=country)
    parser.add_argument("--numbers", choices=get_args(Numbers), help="what digits without a plus sign are")
    old_plan = "take numbers of an old numbering plan as what they are today"
    parser.add_argument("--renumber", action="store_true", help=old_plan)
    column = "the name of the column of numbers (default: customer_phone)"
    parser.add_argument(
        "--phone-column", metavar="NAME", type=_not_blank, default=PHONE_PARAMETER, help=column
    )
    sheet = "of a workbook (default: the first that is not hidden)"
    parser.add_argument("--sheet", metavar="NAME", type=_not_blank, help=sheet)
    parser.add_argument("--suppress", metavar="FILE", type=_not_blank, help="the do-not-call list")
    parser.add_argument("--required", metavar="A,B", default="", help="columns that must not be blank")
    rejects = "where to write what cannot be called"
    parser.add_argument("--rejects", metavar="OUT.csv", type=_not_blank, help=rejects)
    parser.add_argument("--delimiter", default=",", help="between the cells of a CSV file (default: a comma)")
    hours = parser.add_argument_group("calling hours", "any of these asks when each contact may be called")
    hours.add_argument("--start", metavar="HH:MM", help="when they begin (default: 09:00)")
    hours.add_argument("--end", metavar="HH:MM", help="when they end (default: 20:00)")
    hours.add_argument("--timezone", metavar="ZONE", help="an IANA name, or recipient (the default)")
    hours.add_argument("--days", metavar="mon,tue", help="days of the week (default: all)")
    holidays = (
        "dates such as 2026-12-25, with commas between them, or recipient: those of each number's country"
    )
    hours.add_argument("--holidays", metavar="DATES", help=holidays)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
