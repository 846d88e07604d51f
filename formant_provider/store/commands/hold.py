"""``hold on|off|status``: lets no call list of the store place a call, until it is taken back."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from formant_provider.store.commands.printing import add_json, show, table, user
from formant_provider.store.holding import Held, changes, held, hold, release

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_TEXT = """Hold all call lists whose connection names this store: within seconds they place no further call.
Calls that were placed continue, and are waited for. A list that is held waits until it is released.
Tasks that place one call, or a batch call, are not held."""


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser(
        "hold",
        help="let no call list place a call",
        description=_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    begins = _add(actions, "on", "from now on no call list places a call", _hold)
    begins.add_argument("--reason", help="why, in at most 250 characters and without a number")
    _add(actions, "off", "call lists may place calls again", _release)
    _add(actions, "status", "whether they are held, and the last changes", _print_status)


def _add(
    actions: Any, name: str, text: str, run: Callable[[argparse.Namespace, Store], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
    add_json(parser)
    parser.set_defaults(run=run)
    return parser


def _hold(arguments: argparse.Namespace, store: Store) -> int:
    was_changed = hold(store, by=user(), reason=arguments.reason, now=datetime.now(UTC))
    is_held = held(store)
    done = "are held" if was_changed else "were held already, and stay so"
    show(arguments, {"was_changed": was_changed, **_as_json(is_held)}, [f"Call lists {done}."])
    return 0


def _release(arguments: argparse.Namespace, store: Store) -> int:
    was_changed = release(store, by=user(), now=datetime.now(UTC))
    done = "Call lists may place calls again." if was_changed else "Call lists were not held."
    show(arguments, {"was_changed": was_changed, **_as_json(held(store))}, [done])
    return 0


def _print_status(arguments: argparse.Namespace, store: Store) -> int:
    is_held, last = held(store), changes(store)
    show(arguments, {**_as_json(is_held), "changes": last}, _lines(is_held, last))
    return 0


def _lines(is_held: Held | None, last: list[dict[str, Any]]) -> Iterator[str]:
    yield f"Call lists are held {is_held}" if is_held else "Call lists are not held."
    if last:
        rows = [(each["at"], each["kind"], each["by"], each["reason"]) for each in last]
        yield from (f"  {line}" for line in table(("when", "what", "by", "reason"), rows))


def _as_json(is_held: Held | None) -> dict[str, Any]:
    if is_held is None:
        return {"held": None}
    since = is_held.since.isoformat(timespec="seconds")
    return {"held": {"since": since, "by": is_held.by, "reason": is_held.reason}}
