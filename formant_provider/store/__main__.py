"""The call store from a shell: ``python -m formant_provider.store COMMAND``.

It reads the formant connection as Airflow's own commands do: from the environment, the secrets backend, or
the metadata database. Nothing is sent to FormantAI.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from contextlib import suppress as suppress_error
from pathlib import Path
from typing import Any, NoReturn

from formant_provider.api.config import extra_of, read_store
from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.api.store_config import StoreConfig
from formant_provider.core.numbers.in_text import may_hold_number, without_international
from formant_provider.provider_info import CONNECTION_TYPE
from formant_provider.store.commands import (
    forget,
    history,
    hold,
    purge,
    rotate,
    secret,
    suppress,
    upgrade,
    verify,
)

COMMANDS = (secret, upgrade, rotate, suppress, hold, history, verify, purge, forget)
CONN_ID = "formant_default"
NOT_POSSIBLE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: arguments without the program's name; ``None`` reads the command line.
    :return: 0 when all is well, 1 when something was found, 2 when it was not possible, 130 when somebody
        pressed Ctrl-C; wrong arguments exit with 2.
    """
    parser = command_line()
    arguments = parser.parse_args(argv)
    if sys.stdout is None:
        return _not_possible(parser, "standard output is closed")
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except (FormantError, ValueError) as error:
        return _not_possible(parser, str(error))
    except BrokenPipeError:  # whoever reads may have seen enough, as `head` has
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return NOT_POSSIBLE
    except KeyboardInterrupt:
        _not_possible(parser, "interrupted; what was done until then stays, and can be done once more")
        return INTERRUPTED
    except OSError as error:
        return _not_possible(parser, f"{error.filename or 'output'}: {error.strerror or error}")
    return status


def _not_possible(parser: argparse.ArgumentParser, text: str) -> int:
    # A number with a slip may have been taken for the name of a file.
    print(f"{parser.prog}: {without_international(text)}", file=sys.stderr)
    return NOT_POSSIBLE


def command_line() -> argparse.ArgumentParser:
    """Return the commands and their options, as ``--help`` prints them."""
    parser = _Command(
        prog="python -m formant_provider.store",
        description="Set up, read, check and purge the call store of a connection.",
        epilog="Exit status: 0 all is well, 1 something was found, 2 it was not possible.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add_to(commands)
    return parser


class _Command(argparse.ArgumentParser):
    """The program, a command, or a part of one: each takes the connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # No default here, which of a part of a command would overrule what was given to the command.
        text = f"the formant connection (default: {CONN_ID})"
        self.add_argument("--conn-id", metavar="ID", default=argparse.SUPPRESS, help=text)

    def error(self, message: str) -> NoReturn:
        """End as argparse does, without repeating an argument that may be a phone number."""
        if may_hold_number(message):
            message = "an argument is not understood; it may be a phone number, and is not repeated"
        super().error(message)


def _run(arguments: argparse.Namespace) -> int:
    needs = getattr(arguments, "needs", "store")
    store = None
    if needs != "nothing":
        arguments.config = _config(getattr(arguments, "conn_id", CONN_ID))
    if needs == "store":
        from formant_provider.store.opening import open_store

        store = open_store(arguments.config)
    status: int = arguments.run(arguments, store)
    return status


def _config(conn_id: str) -> StoreConfig:
    # As Airflow's own commands say it: without it, the metadata database is not looked into.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    connection = None
    # Airflow logs to what is standard output when it is imported, where our result belongs alone.
    with redirect_stdout(sys.stderr):
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        with suppress_error(AirflowNotFoundException):
            connection = BaseHook.get_connection(conn_id)
    if connection is None:
        # Airflow passes over a metadata database that cannot be read, and then says the same.
        text = "does not exist for Airflow on this machine, or its database cannot be read"
        raise InvalidInput("--conn-id", f"connection {conn_id!r} {text}")
    config = read_store(extra_of(connection))
    if config is None:
        raise InvalidInput("store_conn_id", f"connection {conn_id!r} names no call store in its extra")
    if connection.conn_type not in {None, "", CONNECTION_TYPE}:
        raise InvalidInput("conn_type", f"connection {conn_id!r} is not of type {CONNECTION_TYPE}")
    return config


if __name__ == "__main__":
    raise SystemExit(main())
