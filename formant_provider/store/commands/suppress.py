"""``suppress add|remove|list``: the do-not-call list of a call store, from a shell.

No number is printed but those that are given to ``list`` to compare with the list.
"""

from __future__ import annotations

import argparse
import getpass
import io
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import InputNotFound, InvalidInput
from formant_provider.core.contacts.do_not_call import NumbersInFiles, about_field, read_do_not_call
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.tables.file_kinds import FileForm
from formant_provider.core.tables.parts import Part, local_parts
from formant_provider.store.commands.standard_input import STDIN, standard_input
from formant_provider.store.suppressions import (
    Change,
    Decision,
    Suppression,
    add,
    digests_of,
    entries_of,
    listing,
    refuse_number,
    remove,
)

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_FEWEST_DIGITS = 7
# So many digits of a digest tell an entry from the others, and are still read by people.
_SHOWN = 8
# A name with a suffix, or with a folder that has letters.
_PATH = re.compile(r"\.[A-Za-z]\w*$|[A-Za-z_]/|/[A-Za-z_]")
_HINT = f"{STDIN} reads standard input, and leaves no number in the history of the shell"


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser("suppress", help="who must not be called")
    actions = parser.add_subparsers(dest="action", required=True)
    _add_change(
        actions, "add", "put people on the list", add, "{0.changed} added, {0.unchanged} already on it."
    )
    _add_change(
        actions, "remove", "take people off the list", remove, "{0.changed} removed, {0.unchanged} not on it."
    )
    shown = actions.add_parser("list", help="print the list, without numbers; or who of some people is on it")
    add_numbers(shown, nargs="*")
    shown.set_defaults(run=_print_list)


def _add_change(actions: Any, name: str, text: str, change: Callable[..., Change], done: str) -> None:
    parser = actions.add_parser(name, help=text)
    add_numbers(parser, nargs="+")
    parser.add_argument("--reason", required=True, help="why, in at most 250 characters and without a number")
    parser.add_argument("--by", metavar="NAME", help="who says so (default: who is logged in)")
    parser.set_defaults(run=lambda arguments, store: _change(arguments, store, change, done))


def add_numbers(parser: argparse.ArgumentParser, nargs: str) -> None:
    """Add the arguments that :func:`read_numbers` reads."""
    files = "a file, a folder or a pattern of files with numbers, as suppress= takes them, or a number"
    parser.add_argument("numbers", metavar="FILE|NUMBER", nargs=nargs, help=f"{files}; {_HINT}")
    country = "two letters, such as IN: where numbers without a country code are from"
    parser.add_argument("--default-country", metavar="CC", type=str.upper, help=country)


def _change(arguments: argparse.Namespace, store: Store, change: Callable[..., Change], done: str) -> int:
    by, now = arguments.by or _user(), datetime.now(UTC)
    refuse_number("--by", by)
    decision = Decision(arguments.reason, by, now)  # before anything is read
    numbers = read_numbers(arguments.numbers, arguments.default_country)
    # Without a moment: what a person decides here comes after all that was decided before.
    print(done.format(change(store, dict.fromkeys(digests_of(store, numbers)), decision)))
    return 0


def _user() -> str:
    with suppress(KeyError, OSError):  # a container may run under an id that has no name
        return getpass.getuser()
    raise InvalidInput("--by", "is needed: the user who is logged in has no name here")


def _print_list(arguments: argparse.Namespace, store: Store) -> int:
    if not arguments.numbers:
        for entry in listing(store):
            print(entry.recipient[:_SHOWN], _told(entry), sep="  ")
        return 0
    numbers = sorted(read_numbers(arguments.numbers, arguments.default_country))
    digests = digests_of(store, numbers)
    with store.reading() as conn:
        found = entries_of(conn, digests)
    for number, digest in zip(numbers, digests, strict=True):
        print(f"+{number}", _told(found[digest]) if digest in found else "not on the list", sep="  ")
    return 0


def _told(entry: Suppression) -> str:
    return f"since {entry.since:%Y-%m-%d %H:%M} UTC  by {entry.by}: {entry.reason}"


def read_numbers(given: Iterable[str], default_country: str | None) -> set[int]:
    """Read all that is given, or refuse it as a whole.

    :return: each number as an integer of the digits of E.164.
    :raises InvalidInput: some of it cannot be read, or it holds no number.
    """
    reader = NumberReader(default_country, renumber=True)
    places = [text for text in given if not _is_number(text)]
    lists: list[tuple[str, Any]] = [(text, NumbersInFiles(_parts(text), FileForm())) for text in places]
    if written := [text for text in given if _is_number(text)]:
        lists.append(("NUMBER", written))
    numbers = set[int]()
    for name, entries in lists:
        found = _read_list(name, entries, reader)
        if not found:
            raise InvalidInput(name, "holds no number")
        numbers |= found
    return numbers


def _read_list(name: str, entries: Any, reader: NumberReader) -> set[int]:
    try:
        with about_field(name):
            return read_do_not_call(entries, reader, may_be_empty=True)
    except InputNotFound:
        if Path(name).exists():
            raise
    # Shorter than for a task, for which a file may be written yet.
    raise InputNotFound(name, "No such file or directory")


def _is_number(text: str) -> bool:
    """Whether this is no file: a number with a slip would be printed, if it were taken for a missing one."""
    digits = len(re.findall(r"\d", text))
    if digits < _FEWEST_DIGITS or _PATH.search(text):
        return False
    with suppress(OSError, ValueError):  # a name that no file can have
        return not Path(text).exists()
    return True


def _parts(place: str) -> list[Part]:
    if "://" in place:
        raise InvalidInput(place, f"must be a file on this machine; {STDIN} reads what a pipe brings")
    if place != STDIN:
        return local_parts(place, "suppress")
    # Parquet and workbooks are read from any place, and a pipe from one alone.
    return [Part(None, lambda: io.BytesIO(standard_input().buffer.read()))]
