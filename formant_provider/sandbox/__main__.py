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

from formant_provider.sandbox.numbers import table_rows
from formant_provider.sandbox.server import Sandbox
from formant_provider.sandbox.settings import CHOICES, Settings

DEFAULT_PORT = 8085

AMOUNTS = {
    "call_speed": "how many times sooner calls end than in the table of test numbers",
    "results_delay_seconds": "virtual seconds from the end of a call to its results and transcript",
    "recording_bytes": "size of every recording",
    "recording_delay_seconds": "virtual seconds from the end of a call to its recording",
    "platform_redials": "how often the platform redials a call that was not completed",
    "platform_redial_after_seconds": "virtual seconds from the end of a call to its redial",
    "batch_calls_per_minute": "rows of a batch call that are called in a virtual minute",
    "batch_list_lag_reads": "list reads that leave a new batch call out",
    "transcription_seconds": "virtual seconds from the creation of a transcription job to its end",
    "webhook_connections": "webhooks that are sent to a target at the same time",
    "webhook_timeout_seconds": "real seconds within which the receiver of a webhook has to respond",
    "seconds_per_request": "virtual seconds by which a request moves the clock",
}
"""Settings that are numbers, and the help of their options."""

FLAGS = {
    "trace_id_in_list": "list items carry trace_id",
    "trace_id_in_detail": "details carry no trace_id",
    "times_in_detail": "details carry no start_timestamp and end_timestamp",
    "inbound_in_list": "calls that an agent received are not in the list",
    "batch_status_moves": "the status of a batch call does not stay pending",
    "failed_request_uses_key": "a 429 or 5xx uses up the idempotency key",
    "echo_values_in_errors": "400 messages repeat the request",
}
"""Settings that are on or off, and the help of the options that change them."""


WEBHOOK_OPTIONS = ("secret", "agent_id", "events", "include_transcript")


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
    """Return what is printed at the start: address, key, agents, test numbers, and a connection to copy."""
    return "\n".join(
        [
            f"FormantAI sandbox on {sandbox.base_url}  (Ctrl-C stops it)",
            f"  key     {sandbox.api_key}",
            f"  agents  {', '.join(map(str, sorted(sandbox.agents)))}",
            f"  clock   {sandbox.now():%Y-%m-%d %H:%M:%S} UTC, {sandbox.speed:g} virtual seconds per second",
            f"  faults, counts, time: {sandbox.base_url}/sandbox/",
            f"  webhooks: {sandbox.base_url}/sandbox/webhooks",
            "",
            *_number_table(sandbox.call_speed),
            "",
            f"export AIRFLOW_CONN_FORMANT_DEFAULT={shlex.quote(sandbox.connection_uri())}",
        ]
    )


def _number_table(call_speed: float) -> list[str]:
    lines = [f"  {'number ends in':<16}{'status':<20}{'lasts':<8}what happens"]
    for row in table_rows():
        lasts = f"{row['lasts_seconds'] / call_speed:.3g} s"
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
    urls = options.pop("webhooks") or []
    webhook = {name: options.pop(f"webhook_{name}") for name in WEBHOOK_OPTIONS}
    sandbox = Sandbox(**options)
    for url in urls:
        sandbox.add_webhook(url, **webhook)
    if urls and not webhook["secret"]:
        print("webhooks are not signed without --webhook-secret, so a receiver refuses them", file=sys.stderr)
    return sandbox


def _parser() -> argparse.ArgumentParser:
    """Return a parser whose results are settings by name."""
    parser = argparse.ArgumentParser(
        prog="python -m formant_provider.sandbox",
        description="A local FormantAI Voice API on 127.0.0.1.",
        epilog="Faults, also those of webhooks, are queued over HTTP: see GET /sandbox/.",
    )
    add = parser.add_argument
    add("--port", type=_port, default=DEFAULT_PORT, help="default %(default)s; 0 takes any free one")
    key_help = "API key to accept, default %(default)s"
    add("--seed-key", dest="api_key", default=Settings.api_key, metavar="KEY", help=key_help)
    agent_help = "agent that exists, repeatable; default 123 456 497 789"
    add("--agent", dest="agents", type=int, action="append", metavar="ID", help=agent_help)
    speed_help = "virtual seconds per second, default %(default)g; 0 freezes time"
    add("--speed", type=float, default=Settings.speed, help=speed_help)
    start_help = "virtual time to begin with, ISO 8601 with offset"
    add("--start-at", type=datetime.fromisoformat, metavar="TIME", help=start_help)
    limit_help = "requests per virtual minute, default 50, or off"
    add("--rate-limit", type=_limit, default=Settings.rate_limit, metavar="N", help=limit_help)
    add("--max-concurrent-calls", type=int, metavar="N", help="cap on running calls, default none")
    ends_help = "status of a transcription job that is over, default %(default)s"
    add("--transcription-ends-as", default=Settings.transcription_ends_as, metavar="STATUS", help=ends_help)
    for name, words in CHOICES.items():
        add(_option(name), choices=get_args(words), default=getattr(Settings, name))
    for name, meaning in AMOUNTS.items():
        default = getattr(Settings, name)
        amount_help = f"{meaning}, default %(default)g"
        add(_option(name), type=type(default), default=default, metavar="N", help=amount_help)
    for name, meaning in FLAGS.items():
        # A flag turns its setting round: the option of one that is on by default begins with --no-.
        default = getattr(Settings, name)
        option = _option(f"no_{name}" if default else name)
        add(option, dest=name, action="store_false" if default else "store_true", help=meaning)
    _add_webhook_options(parser)
    return parser


def _add_webhook_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("webhooks", "sent when a call ends, to all of these URLs").add_argument
    add(
        "--webhook",
        dest="webhooks",
        action="append",
        metavar="URL",
        help="a target, up to 5 of them",
    )
    add("--webhook-secret", metavar="SECRET", help="what they are signed with, default unsigned")
    agent_help = "only calls of this agent, default all"
    add("--webhook-agent", dest="webhook_agent_id", type=int, metavar="ID", help=agent_help)
    events_help = "only these, comma-separated, such as call.completed,call.busy; default all"
    add("--webhook-events", type=_words, metavar="TYPES", help=events_help)
    transcript_help = "events carry no transcript"
    add(
        "--no-webhook-transcript",
        dest="webhook_include_transcript",
        action="store_false",
        help=transcript_help,
    )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _words(text: str) -> list[str]:
    return text.split(",")


def _limit(text: str) -> int | None:
    return None if text == "off" else int(text)


if __name__ == "__main__":
    sys.exit(main())
