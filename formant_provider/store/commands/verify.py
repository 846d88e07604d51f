"""``verify``: whether anybody has changed the store behind its back."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from formant_provider.store.commands.printing import add_json, show, table
from formant_provider.store.findings import Head, Report
from formant_provider.store.verify import verify

if TYPE_CHECKING:
    from formant_provider.store.store import Store

FOUND = 1
_TEXT = """Look for whatever was edited, deleted, moved or inserted in the store by anybody else.
Note the head that is printed somewhere else, and give it to --expect the next time: nothing in a database
can tell that its newest part was cut off."""


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser(
        "verify",
        help="look for what was changed behind the back of the store",
        description=_TEXT,
        epilog="Exit status: 0 nothing was changed, 1 something was, 2 it could not be read.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--expect", metavar="SEQ:HASH", help="a head that was printed before")
    first = "how many findings to print (default: 20); all are counted"
    parser.add_argument("--first", metavar="N", type=int, default=20, help=first)
    add_json(parser)
    parser.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace, store: Store) -> int:
    expected = None if arguments.expect is None else Head.parse(arguments.expect)
    report = verify(store, expected=expected, first=arguments.first)
    show(arguments, as_data(report), as_lines(report))
    return FOUND if report.count else 0


def as_data(report: Report) -> dict[str, Any]:
    """Return what was found as plain values."""
    return {
        "events": report.events,
        "rows": report.rows,
        "base": str(report.base) if report.base else None,
        "head": str(report.head) if report.head else None,
        "findings": report.count,
        "first_findings": [asdict(finding) for finding in report.findings],
    }


def as_lines(report: Report) -> Iterator[str]:
    """Yield what was found as a person reads it."""
    yield f"{report.events} events and {report.rows} calls were compared. Changed: {report.count}."
    if report.findings:
        rows = [(each.seq, each.kind, each.where, each.what) for each in report.findings]
        yield ""
        yield from table(("event", "kind", "task", "what is wrong"), rows)
    if report.count > len(report.findings):
        yield f"... and {report.count - len(report.findings)} more"
    yield ""
    yield f"Head: {report.head}"
