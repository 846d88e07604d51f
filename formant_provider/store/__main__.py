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
from typing import Any

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.api.store_config import StoreConfig, read_store_config
from formant_provider.store.commands import history, purge, rotate, secret, suppress, upgrade, verify

COMMANDS = (secret, upgrade, rotate, suppress, history, verify, purge)
CONN_ID = "formant_default"
NOT_POSSIBLE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    :param argv: arguments without the program's name; ``None`` reads the command line.
    :return: 0 when all is well, 1 when something was found, 2 when it was not possible; wrong arguments exit
        with 2.
    """
    parser = command_line()
    arguments = parser.parse_args(argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except (FormantError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return NOT_POSSIBLE
    except BrokenPipeError:  # whoever reads may have seen enough, as `head` has
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return NOT_POSSIBLE
    except OSError as error:
        print(f"{parser.prog}: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return NOT_POSSIBLE
    return status


def command_line() -> argparse.ArgumentParser:
    """Return the commands and their options, as ``--help`` prints them."""
    parser = argparse.ArgumentParser(
        prog="python -m formant_provider.store",
        description="Set up, read, check and purge the call store of a connection.",
        epilog="Exit status: 0 all is well, 1 something was found, 2 it was not possible.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Command)
    for module in COMMANDS:
        module.add_to(commands)
    return parser


class _Command(argparse.ArgumentParser):
    """A command, or a part of one: each takes the connection."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # No default here, which of a part of a command would overrule what was given to the command.
        text = f"the formant connection (default: {CONN_ID})"
        self.add_argument("--conn-id", metavar="ID", default=argparse.SUPPRESS, help=text)


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
        raise InvalidInput("--conn-id", f"connection {conn_id!r} does not exist for Airflow on this machine")
    config = read_store_config(connection.extra_dejson)
    if config is None:
        raise InvalidInput("store_conn_id", f"connection {conn_id!r} names no call store in its extra")
    return config


if __name__ == "__main__":
    raise SystemExit(main())
