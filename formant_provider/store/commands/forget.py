"""``forget``: deletes what webhooks have brought of some people, at once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from formant_provider.core.numbers.plans import other_writing
from formant_provider.store.commands.suppress import add_numbers, read_numbers
from formant_provider.store.webhook_events import forget_people

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_TEXT = """Delete the webhook events of calls to some people, or from them: numbers, results and transcripts.
Digests of each event stay as long as other events, so that one that is sent again is not stored again.
What else the store has of them is a digest. It stays, since it keeps them from being called too often, or
against their will. FormantAI has records of its own.
"""


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser(
        "forget",
        help="delete what webhooks have brought of some people",
        description=_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_numbers(parser, nargs="+")
    parser.set_defaults(run=_forget)


def _forget(arguments: argparse.Namespace, store: Store) -> int:
    numbers = read_numbers(arguments.numbers, arguments.default_country)
    spellings = numbers | {other for number in numbers if (other := other_writing(number))}
    print(f"{forget_people(store, spellings)} webhook events deleted.")
    return 0
