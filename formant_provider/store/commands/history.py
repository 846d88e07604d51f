"""``history``: what was asked for a person, or by a DAG, and what came of it. No number is printed."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import InvalidInput
from formant_provider.core.caps import parse_span
from formant_provider.core.contacts.do_not_call import about_field, read_do_not_call
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.store.commands.printing import add_json, show, table
from formant_provider.store.commands.standard_input import STDIN, standard_input
from formant_provider.store.history import of_dag, of_people

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_STATES = {"placed": "placed", "unclear": "unclear", "refused": "refused", "never": "never sent"}
_TEXT = """Print what was asked for one person, or by a DAG: by which task, sent when, and what came of it.
The number is turned into its digest here, and is neither sent nor printed. A number among the arguments stays
in the history of the shell, and everybody on the machine can see it while the command runs; - reads it from
standard input, and leaves it in neither."""


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser(
        "history",
        help="what was asked for a person, or by a DAG, and what came of it",
        description=_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipient", metavar="NUMBER", help=f"{STDIN} reads it from standard input")
    country = "two letters, such as IN: where a number without a country code is from"
    parser.add_argument("--default-country", metavar="CC", type=str.upper, help=country)
    parser.add_argument("--dag-id", metavar="ID")
    parser.add_argument("--run-id", metavar="ID")
    since = "a date or a moment, UTC unless it says otherwise, or how long ago, such as 7d or 48h"
    parser.add_argument("--since", metavar="2026-01-31|7d", type=_since, help=since)
    add_json(parser)
    parser.set_defaults(run=_print_history)


def _print_history(arguments: argparse.Namespace, store: Store) -> int:
    of_a_dag = arguments.dag_id is not None or arguments.run_id is not None
    if of_a_dag == (arguments.recipient is not None):
        what = "give either --recipient, for a person, or --dag-id, --run-id or both, for a DAG"
        raise InvalidInput("history", what)
    if of_a_dag:
        found = of_dag(store, arguments.dag_id, arguments.run_id, since=arguments.since)
    else:
        numbers = _numbers(arguments.recipient, arguments.default_country)
        found = of_people(store, numbers, since=arguments.since)
    show(arguments, found, _lines(found))
    return 0


def _numbers(given: str, country: str | None) -> list[str]:
    """Return the number, and the same phone under an old numbering plan."""
    text = standard_input().readline() if given == STDIN else given
    text = text.removeprefix("\ufeff").strip()  # editors and Windows' shells begin a file with it
    with about_field("--recipient"):
        read = read_do_not_call([text], NumberReader(country, renumber=True), may_be_empty=True)
    if not read:
        raise InvalidInput("--recipient", "holds no number")
    return [f"+{number}" for number in sorted(read)]


def _lines(found: dict[str, Any]) -> Iterator[str]:
    if "on_do_not_call_list" in found:
        yield from _list_lines(found)
    asked = found["asked"]
    yield f"Asked for: {len(asked)}" + (f" ({_counts(asked)})." if asked else ", as far as the store knows.")
    for each in asked:
        yield ""
        yield from _asked_lines(each)


def _counts(asked: list[dict[str, Any]]) -> str:
    of_state = Counter(each["state"] for each in asked)
    return ", ".join(f"{of_state[state]} {words}" for state, words in _STATES.items() if of_state[state])


def _list_lines(found: dict[str, Any]) -> Iterator[str]:
    listed = found["on_do_not_call_list"]
    if listed is None:
        yield "Not on the do-not-call list."
    else:
        since = _minute(listed["since"])
        yield f"On the do-not-call list since {since}, by {listed['by']}: {listed['reason']}"
    changes = found["changes_of_the_list"]
    if changes:
        rows = [(_minute(each["at"]), each["kind"], each["by"], each["reason"]) for each in changes]
        yield from (f"  {line}" for line in table(("when", "what", "by", "reason"), rows))
    yield ""


def _asked_lines(each: dict[str, Any]) -> Iterator[str]:
    kind = "Call" if each["kind"] == "call" else f"Batch call to {each['people'] or '?'} people"
    yield f"{kind}, asked for {_minute(each['asked_at'])}"
    row = "" if each["map_index"] < 0 else f", row {each['map_index']}"
    facts = {
        "task": f"{each['dag_id']}, {each['task_id']}{row}",
        "run": each["run_id"],
        "agent": each["agent_id"],
        "asked by": each["asked_by"],
        "reference": each["reference"],
        "state": each["state"],
        "reason": each["reason"],
        "call at": each["call_at"] and _minute(each["call_at"]),
        "ids": ", ".join(
            f"{name} {each[name]}" for name in ("trace_id", "conversation_id", "batch_id") if each[name]
        ),
        "outcome": _outcome(each),
    }
    facts["sent"] = ", ".join(_minute(send["at"]) for send in each["sends"])
    facts["events"] = ", ".join(f"{event['kind']} {_minute(event['at'])}" for event in each["events"])
    yield from (f"  {name:<10} {value}" for name, value in facts.items() if value not in (None, ""))


def _outcome(each: dict[str, Any]) -> str | None:
    if each["outcome"]:
        return f"{each['outcome']}, {_minute(each['outcome_at'])}"
    is_placed = each["kind"] == "call" and each["state"] == "placed"
    return "not known, no task has waited for it" if is_placed else None


def _minute(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _since(text: str) -> datetime:
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    with suppress(InvalidInput):
        return datetime.now(UTC) - parse_span(text)
    wanted = "must be a date, a moment in ISO 8601, or how long ago, such as 7d or 48h (at most 366d)"
    raise argparse.ArgumentTypeError(wanted)
