"""Check a set-up from end to end: ``python -m formant_provider.check``. It calls nobody without ``--ring``.

It reads connections as Airflow's own commands do: from the environment, the secrets backend, or the metadata
database.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from formant_provider.api.errors import FormantError
from formant_provider.core.numbers.in_text import may_hold_number, without_international

if TYPE_CHECKING:
    from formant_provider.check.findings import Finding
    from formant_provider.check.live import Live
    from formant_provider.hooks.formant import FormantHook

WELL, PROBLEM, NOT_POSSIBLE, INTERRUPTED = 0, 1, 2, 130
CONN_ID = "formant_default"
_EPILOG = (
    "Exit status: 0 no problem, though there may be warnings; 1 a problem; 2 it was not possible to check."
)
_MAYBE_PLACED = "A call may have been placed. The same command on the same day places no second."


def main(argv: Sequence[str] | None = None) -> int:
    """Check, and print what was found.

    :param argv: arguments without the program's name; ``None`` reads the command line.
    :return: 0 without a problem, 1 with one, 2 when it was not possible, 130 when somebody pressed Ctrl-C;
        wrong arguments exit with 2.
    """
    parser = command_line()
    options = parser.parse_args(argv)
    if (options.report or options.inbound) and not (options.live or options.ring):
        parser.error("--report and --inbound are for --live and --ring")
    if options.parameter and not options.ring:
        parser.error("--parameter is for --ring")
    # As Airflow's own commands say it: without it, the metadata database is not looked into.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Airflow logs to what is standard output when it is imported, where our result belongs alone.
    with redirect_stdout(sys.stderr):
        import airflow.providers.common.compat.sdk  # noqa: F401 - sets up logging, before we do
    try:
        return _run(options)
    except (FormantError, ValueError) as error:
        print(f"{parser.prog}: {without_international(str(error))}", file=sys.stderr)
        if isinstance(error, FormantError) and error.maybe_placed:
            print(_MAYBE_PLACED, file=sys.stderr)
    except KeyboardInterrupt as error:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        if type(error) is not KeyboardInterrupt:
            print(_MAYBE_PLACED, file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"{parser.prog}: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
    return NOT_POSSIBLE


def _run(options: argparse.Namespace) -> int:
    from formant_provider.check.findings import has_problem
    from formant_provider.check.live import ask, prepared
    from formant_provider.hooks.formant import FormantHook

    call = prepared(options) if options.ring else None
    hook = FormantHook(options.conn_id)
    found: list[Finding] = []
    for finding in _findings(hook, options):
        found.append(finding)
        _say(options, str(finding))
    live: Live | None = None
    if options.live or call is not None:
        if _is_hindered(found, calls=call is not None):
            _say(options, "\nNothing more is asked while there is a problem, and nobody is called.")
        else:
            live = ask(hook, options, call)
            found += live.findings
            _say(options, "\n".join(["", *map(str, live.findings), "", live.text]))
    if options.json:  # first, since a file that cannot be written must not cost the answers of a call
        print(json.dumps(_as_data(found, live)), flush=True)
    if options.report and live is not None:
        Path(options.report).write_text(live.markdown, encoding="utf-8")
    return PROBLEM if has_problem(found) else WELL


def _is_hindered(found: Sequence[Finding], *, calls: bool) -> bool:
    """Whether no more is asked: by a call, after any problem; by reading, where the API cannot be used."""
    from formant_provider.check.connection import SUBJECTS
    from formant_provider.check.findings import has_problem

    return has_problem(finding for finding in found if calls or finding.subject in SUBJECTS)


def _findings(hook: FormantHook, options: argparse.Namespace) -> Iterator[Finding]:
    from formant_provider.check.connection import check_api, check_connection
    from formant_provider.check.findings import has_problem
    from formant_provider.check.store import check_store
    from formant_provider.check.triggerer import check_triggerer
    from formant_provider.check.versions import check_versions
    from formant_provider.check.webhooks import check_webhooks

    yield from check_versions(datetime.now(UTC).date())
    yield check_triggerer()
    about = list(check_connection(hook))
    yield from about
    if not has_problem(about):
        yield from check_api(hook, options.agent_id)
        yield from check_store(hook)
        yield from check_webhooks(hook, options.webhook_url)


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.json:
        print(text, flush=True)


def _as_data(found: Sequence[Finding], live: Live | None) -> dict[str, Any]:
    states = [finding.state.value for finding in found]
    status = next((state for state in ("problem", "warning") if state in states), "ok")
    return {
        "status": status,
        "findings": [finding.as_data() for finding in found],
        "questions": live.questions if live else None,
    }


class _Command(argparse.ArgumentParser):
    """Repeats no argument that may be a phone number."""

    def error(self, message: str) -> NoReturn:
        if may_hold_number(message):
            message = "an argument is not understood; it may be a phone number, and is not repeated"
        super().error(message)


def command_line() -> argparse.ArgumentParser:
    """Return the options, as ``--help`` prints them."""
    parser = _Command(
        prog="python -m formant_provider.check",
        description="Check connection, API key, agent, call store, webhooks, versions and triggerer. Nobody"
        " is called unless --ring names a number. No key and no number is printed.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--conn-id", metavar="ID", default=CONN_ID, help="the formant connection (default: %(default)s)")
    add("--agent-id", metavar="ID", type=_above_0(int), help="an agent whose conversations are looked at")
    add("--webhook-url", metavar="URL", help="the public address; a test event is sent there")
    add("--json", action="store_true", help="print the findings as JSON")
    live = parser.add_argument_group(
        "open questions", "what the vendor's pages leave open; see the documentation"
    )
    add = live.add_argument
    add("--live", action="store_true", help="answer what reading can answer; every request is a GET")
    add("--inbound", metavar="CONVERSATION", help="id of a conversation of a call that the agent received")
    add("--report", metavar="FILE", help="where to write the answers, as Markdown")
    ring = parser.add_argument_group(
        "one real call", "asks for the number twice, and places exactly one call"
    )
    add = ring.add_argument
    text = "the number to call, E.164; twice where nobody can be asked; needs --agent-id"
    add("--ring", metavar="NUMBER", action="append", help=text)
    text = "what the agent needs besides the number; may be given several times"
    add("--parameter", metavar="NAME=VALUE", action="append", type=_pair, default=[], help=text)
    text = "seconds between two looks at the call (default: %(default)g)"
    add("--poll-interval", metavar="S", type=_above_0(float), default=5.0, help=text)
    text = "seconds to watch it after its end (default: %(default)g)"
    add("--watch-for", metavar="S", type=_above_0(float), default=120.0, help=text)
    return parser


def _above_0(kind: type[Any]) -> Any:
    def number(text: str) -> Any:
        value = kind(text)
        if not 0 < value < 10**9:
            raise argparse.ArgumentTypeError("must be above 0")
        return value

    return number


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


if __name__ == "__main__":
    raise SystemExit(main())
