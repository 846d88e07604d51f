"""Receive webhooks: ``python -m formant_provider.webhooks --conn-id ID``, behind a proxy that speaks TLS.

It reads connections as Airflow's own commands do: from the environment, the secrets backend, or the metadata
database.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from types import ModuleType
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, InvalidInput
from formant_provider.webhooks import check

if TYPE_CHECKING:
    from formant_provider.webhooks.connections import Connections

COMMANDS: tuple[ModuleType, ...] = (check,)
"""Modules with ``add_to(subparsers)``, whose parsers set ``run``: a function of the arguments."""
CONN_ID = "formant_default"
HOST, PORT = "127.0.0.1", 8088
NOT_POSSIBLE = 2
# Longer than a body may take to come, and to be stored.
SHUTDOWN_S = 20
MOST_CONNECTIONS = 1000
# Longer than proxies keep a connection that is not used, Caddy for two minutes: one that we close just when
# the proxy sends the next request over it would be answered 502.
KEEP_ALIVE_S = 130

log = logging.getLogger("formant_provider.webhooks")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM, or run another command.

    :param argv: arguments without the program's name; ``None`` reads the command line.
    :return: 0 after a clean stop, 2 when it was not possible; wrong arguments exit with 2.
    """
    parser = command_line()
    arguments = parser.parse_args(argv)
    # As Airflow's own commands say it: without it, the metadata database is not looked into.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    # Airflow logs to what is standard output when it is imported.
    with redirect_stdout(sys.stderr):
        import airflow.providers.common.compat.sdk  # noqa: F401 - sets up logging, before we do
    try:
        status: int = arguments.run(arguments)
    except (FormantError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return NOT_POSSIBLE
    return status


def command_line() -> argparse.ArgumentParser:
    """Return the commands and their options, as ``--help`` prints them."""
    parser = argparse.ArgumentParser(
        prog="python -m formant_provider.webhooks",
        description="Receive webhooks of FormantAI, at /webhooks/CONN_ID, and keep them in the call store of"
        " the connection. It speaks plain HTTP: put a proxy in front of it that speaks TLS.",
        epilog="Exit status: 0 after Ctrl-C or SIGTERM, 2 it was not possible.",
    )
    text = f"a formant connection to receive for; may be given several times (default: {CONN_ID})"
    parser.add_argument("--conn-id", metavar="ID", action="append", dest="conn_ids", help=text)
    parser.add_argument("--host", default=HOST, help="the address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=PORT, help="default: %(default)s")
    forward = (
        "where to forward events without numbers: redis://HOST/?channel=NAME, or sqs://REGION/ACCOUNT/QUEUE"
    )
    parser.add_argument("--forward", metavar="URL", help=forward)
    parser.set_defaults(run=serve)
    if COMMANDS:
        commands = parser.add_subparsers(metavar="COMMAND")
        for module in COMMANDS:
            module.add_to(commands)
    return parser


def serve(arguments: argparse.Namespace) -> int:
    """Receive webhooks until a signal comes; what was accepted is stored then.

    :raises InvalidInput: events cannot be forwarded to where they are to be, or a connection does not exist
        or cannot be used.
    """
    import uvicorn

    from formant_provider.webhooks.connections import Connections
    from formant_provider.webhooks.forwarding import forwarder_to
    from formant_provider.webhooks.service import Service

    connections = Connections(arguments.conn_ids or [CONN_ID])
    readers = [forwarder_to(arguments.forward, connections.conn_ids)] if arguments.forward else []
    _log_to_stderr()
    for conn_id in connections.conn_ids:
        _refuse_unusable(connections, conn_id)
    service = Service(connections, readers)
    config = uvicorn.Config(
        service.app,
        host=arguments.host,
        port=arguments.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = uvicorn.Server(config)
    # The server hears signals while it runs, and raises them once more when it has ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    names = ", ".join(service.connections.conn_ids)
    log.info("Receiving webhooks at http://%s:%d/webhooks/ for %s", config.host, config.port, names)
    try:
        server.run()
    except SystemExit:  # it cannot listen there, and has said so
        return NOT_POSSIBLE
    finally:
        service.close()
    log.info("stopped")
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be from 1 to 65535")
    return port


def _refuse_unusable(connections: Connections, conn_id: str) -> None:
    """Refuse what somebody has to correct; a database that does not answer now may soon do."""
    try:
        connections.store(conn_id)
    except InvalidInput:
        raise
    except FormantError as error:
        log.warning("Webhooks for connection %r cannot be stored now: %s", conn_id, error)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("formant_provider", "uvicorn"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO if name == "formant_provider" else logging.WARNING)
        logger.propagate = False


if __name__ == "__main__":
    raise SystemExit(main())
