"""Run a local FormantAI: ``python -m formant_provider.sandbox``."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from formant_provider.sandbox import settings
from formant_provider.sandbox.numbers import table_rows
from formant_provider.sandbox.server import Sandbox
from formant_provider.sandbox.settings import Settings

DEFAULT_PORT = 8085


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM.

    :param argv: arguments without the program name; None reads the command line.
    :returns: 0 after a clean stop, 1 when the port cannot be used; wrong arguments exit with 2.
    """
    parser = _parser()
    try:
        sandbox = _sandbox(parser.parse_args(argv))
    except ValueError as exc:
        parser.error(str(exc))
    stopped = _stop_signals()
    try:
        sandbox.start()
    except OSError as exc:
        print(f"cannot listen on {sandbox.base_url}: {os.strerror(exc.errno or 0)}", file=sys.stderr)
        return 1
    print(welcome(sandbox), flush=True)
    stopped.wait()
    sandbox.stop()
    print("stopped", flush=True)
    return 0


def welcome(sandbox: Sandbox) -> str:
    """Return what a person needs to start: where it is, who may be called, how calls end, what to paste."""
    return "\n".join(
        [
            f"FormantAI sandbox on {sandbox.base_url}  (Ctrl-C stops it)",
            f"  key     {sandbox.api_key}",
            f"  agents  {', '.join(map(str, sorted(sandbox.agents)))}",
            f"  clock   {sandbox.now():%Y-%m-%d %H:%M:%S} UTC, {sandbox.speed:g} virtual seconds per second",
            f"  faults, counts, time: {sandbox.base_url}/sandbox/",
            "",
            *_number_table(),
            "",
            f"export AIRFLOW_CONN_FORMANT_DEFAULT={shlex.quote(sandbox.connection_uri())}",
        ]
    )


def _number_table() -> list[str]:
    lines = [f"  {'number ends in':<16}{'status':<20}{'lasts':<8}what happens"]
    for row in table_rows():
        lasts = f"{row['lasts_seconds']} s"
        lines.append(f"  {row['ends_in']:<16}{row['status']:<20}{lasts:<8}{row['note']}")
    return [*lines, "  use +14155550100 to +14155550199, reserved for fiction"]


def _stop_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _sandbox(arguments: argparse.Namespace) -> Sandbox:
    options = vars(arguments)
    options["agents"] = tuple(arguments.agents or Settings.agents)
    return Sandbox(**options)


def _parser() -> argparse.ArgumentParser:
    """Return a parser whose results are settings by name."""
    parser = argparse.ArgumentParser(
        prog="python -m formant_provider.sandbox", description="A local FormantAI Voice API on 127.0.0.1."
    )
    add = parser.add_argument
    add("--port", type=_port, default=DEFAULT_PORT, help="default %(default)s; 0 takes any free one")
    add(
        "--seed-key",
        dest="api_key",
        default=Settings.api_key,
        metavar="KEY",
        help="API key to accept, default %(default)s",
    )
    add(
        "--agent",
        dest="agents",
        type=int,
        action="append",
        metavar="ID",
        help="agent that exists, repeatable; default 123 456 497 789",
    )
    add(
        "--speed",
        type=float,
        default=Settings.speed,
        help="virtual seconds per second, default %(default)g; 0 freezes time",
    )
    add(
        "--start-at",
        type=datetime.fromisoformat,
        metavar="TIME",
        help="virtual time to begin with, ISO 8601 with offset",
    )
    add(
        "--rate-limit",
        type=_limit,
        default=Settings.rate_limit,
        metavar="N",
        help="requests per virtual minute, default 50, or off",
    )
    add("--max-concurrent-calls", type=int, metavar="N", help="cap on running calls, default none")
    _add_choices(parser)
    _add_amounts(parser)
    _add_flags(parser)
    return parser


def _add_choices(parser: argparse.ArgumentParser) -> None:
    choices = {
        "receipt_conversation_id": settings.ReceiptConversationId,
        "record_appears": settings.RecordAppears,
        "list_order": settings.ListOrder,
        "list_numbers": settings.ListNumbers,
        "redial_trace_id": settings.RedialTraceId,
        "uncounted_outcomes": settings.UncountedOutcomes,
    }
    for name, words in choices.items():
        parser.add_argument(_option(name), choices=get_args(words), default=getattr(Settings, name))


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    amounts = {
        "call_speed": "how many times faster than in the table below calls are over",
        "results_delay_seconds": "virtual seconds from the end of a call to its results and transcript",
        "recording_bytes": "size of every recording",
        "recording_delay_seconds": "virtual seconds from the end of a call to its recording",
        "platform_redials": "how often the platform redials a call that was not completed",
        "platform_redial_after_seconds": "virtual seconds from the end of a call to its redial",
        "batch_calls_per_minute": "rows of a batch call rung in a virtual minute",
        "batch_list_lag_reads": "list reads that leave a new batch call out",
        "seconds_per_request": "virtual seconds by which a request moves the clock",
    }
    for name, meaning in amounts.items():
        default = getattr(Settings, name)
        parser.add_argument(
            _option(name),
            type=type(default),
            default=default,
            metavar="N",
            help=f"{meaning}, default %(default)g",
        )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--trace-id-in-list", action="store_true", help="list items carry trace_id")
    add(
        "--no-trace-id-in-detail",
        dest="trace_id_in_detail",
        action="store_false",
        help="details carry no trace_id",
    )
    add(
        "--no-times-in-detail",
        dest="times_in_detail",
        action="store_false",
        help="details carry no start_timestamp and end_timestamp",
    )
    add(
        "--no-inbound-in-list",
        dest="inbound_in_list",
        action="store_false",
        help="calls that an agent received are not in the list",
    )
    add("--batch-status-moves", action="store_true", help="a batch call does not stay pending for ever")
    add("--failed-request-uses-key", action="store_true", help="a 429 or 5xx uses up the idempotency key")
    add("--echo-values-in-errors", action="store_true", help="400 messages repeat the request")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _limit(text: str) -> int | None:
    return None if text == "off" else int(text)


if __name__ == "__main__":
    sys.exit(main())
