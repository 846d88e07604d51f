"""``upgrade``: makes the tables of a call store, or brings them up to date."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from formant_provider.store.commands.printing import add_json, show
from formant_provider.store.upgrades import SCHEMA_VERSION


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    text = "make the tables of the store, or bring them up to date"
    parser = subparsers.add_parser("upgrade", help=text, description=f"{text.capitalize()}.")
    add_json(parser)
    parser.set_defaults(run=_upgrade, needs="connection")


def _upgrade(arguments: argparse.Namespace, _store: None) -> int:
    from formant_provider.store.opening import engine_of, where
    from formant_provider.store.store import set_up

    config = arguments.config
    was_changed = set_up(engine_of(config), where(config), config.secret, now=datetime.now(UTC))
    done = "was brought to" if was_changed else "is of"
    text = f"The call store of {where(config)} {done} version {SCHEMA_VERSION}."
    show(arguments, {"version": SCHEMA_VERSION, "was_changed": was_changed}, [text])
    return 0
