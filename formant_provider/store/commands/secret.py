"""``secret``: a new secret for a connection. It needs neither a connection nor a database."""

from __future__ import annotations

import argparse
from typing import Any

from formant_provider.store.secrets import new_secret

_HINT = """
Put it into the extra of the formant connection, beside store_conn_id:

  "store_conn_id": "call_store", "store_secret": "(the line above)"

Keep a copy where you keep the Fernet key of Airflow: without it, nobody can use the store any more."""


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    text = "print a new store_secret"
    parser = subparsers.add_parser("secret", help=text, description=f"{text.capitalize()}.")
    parser.add_argument("--only", action="store_true", help="print nothing else, for a program to read")
    parser.set_defaults(run=_print_secret, needs="nothing")


def _print_secret(arguments: argparse.Namespace, _store: None) -> int:
    print(new_secret() if arguments.only else f"{new_secret()}\n{_HINT}")
    return 0
