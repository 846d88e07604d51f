"""``purge``: deletes what is old, as far as nothing needs it any more."""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from formant_provider.store.commands.printing import add_json, show, user
from formant_provider.store.commands.verify import FOUND, as_lines
from formant_provider.store.purging import KEEP_FOR, LEAST_AGE, least_age, purge, would_purge
from formant_provider.store.verify import verify
from formant_provider.store.webhook_events import count_before, forget

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_LENGTH = re.compile(r"([0-9]{1,6})([hd])")
_LONGEST = timedelta(days=100_000)  # nothing is older, and Python has no earlier dates
_HOURS = round(LEAST_AGE / timedelta(hours=1))
_TEXT = f"""Delete calls, and what happened to them, that are older than a length of time such as 90d or 48h.
What a call cap still counts is kept: everything of the last --keep-for, and of the cap of the connection.
What a cap of another connection counts is not known here: name the longest with --keep-for.
Everything of the last {_HOURS} hours is kept as well, and the do-not-call list. The store is verified before.
What webhooks have brought is deleted as --older-than says, since no cap counts it.
"""


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser(
        "purge",
        help="delete what is old",
        description=_TEXT,
        epilog="Exit status: 0 done; 1 the store was changed, and nothing was deleted; 2 not possible.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--older-than", metavar="90d", type=_length, required=True, help="how old, in d or h")
    keep = (
        "the longest time over which any call_cap counts, of a task or of another connection to the store"
        f" (default: {KEEP_FOR.days}d)"
    )
    parser.add_argument("--keep-for", metavar="31d", type=_length, default=KEEP_FOR, help=keep)
    parser.add_argument("--dry-run", action="store_true", help="delete nothing, and say what would be")
    unverified = "delete although the store was changed; what verify finds is lost with what is deleted"
    parser.add_argument("--unverified", action="store_true", help=unverified)
    add_json(parser)
    parser.set_defaults(run=_purge)


def _purge(arguments: argparse.Namespace, store: Store) -> int:
    cap = arguments.config.call_cap
    age = least_age(arguments.older_than, arguments.keep_for, cap and cap[1])
    now = datetime.now(UTC)
    before = now - min(age, _LONGEST)
    heard_before = now - min(least_age(arguments.older_than), _LONGEST)
    if not arguments.unverified:
        report = verify(store)
        if report.count:
            print("Nothing was deleted: the store was changed.", *as_lines(report), sep="\n", file=sys.stderr)
            return FOUND
    if arguments.dry_run:
        found = would_purge(store, before=before)
        heard = count_before(store, heard_before)
    else:
        found = purge(store, before=before, by=user(), now=lambda: datetime.now(UTC), sleep=_pause)
        heard = forget(store, heard_before)
    done = "would be deleted" if arguments.dry_run else "deleted"
    lines = [
        f"Older than {before:%Y-%m-%d %H:%M} UTC, {done}: {found.intents} calls and batch calls,"
        f" {found.events} events, {found.people} people; {found.kept} kept, though their last event is old."
    ]
    if age > arguments.older_than:
        lines.append(
            f"What is younger than {_words(age)} stays: a call cap may count it, or a retry may need it."
        )
    lines.append(f"Webhook events older than {heard_before:%Y-%m-%d %H:%M} UTC, {done}: {heard}.")
    data = {"before": before.isoformat(timespec="seconds"), "dry_run": arguments.dry_run, **asdict(found)}
    data |= {"webhook_events_before": heard_before.isoformat(timespec="seconds"), "webhook_events": heard}
    show(arguments, data, lines)
    return 0


def _pause(seconds: float) -> None:
    text = f"Waiting {seconds:.0f} seconds, for tasks that have read what is going to be deleted ..."
    print(text, file=sys.stderr, flush=True)
    time.sleep(seconds)


def _words(length: timedelta) -> str:
    return f"{length.days} days" if not length.seconds else f"{length / timedelta(hours=1):.0f} hours"


def _length(text: str) -> timedelta:
    parts = _LENGTH.fullmatch(text.strip())
    if parts is None or not int(parts[1]):
        raise argparse.ArgumentTypeError("must be a whole number and d or h, such as 90d")
    return timedelta(**{"days" if parts[2] == "d" else "hours": int(parts[1])})
