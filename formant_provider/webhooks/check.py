"""``check``: what to enter in the vendor's dashboard, and whether an event that is sent there arrives."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from formant_provider.api.errors import InvalidInput
from formant_provider.api.webhook_models import CHECK_EVENT
from formant_provider.webhooks.probe import Answer, probe

if TYPE_CHECKING:
    from formant_provider.store.store import Store

CONN_ID = "formant_default"
FOUND = 1
EVENTS = ("completed", "no_answer", "busy", "failed", "unreachable", "socket_failure", "telephony_failed")
_TEXT = """Print what to enter in the FormantAI dashboard, then send a signed test event and an unsigned one
through the public URL, and say what came, what did not, and what to do. No secret is printed."""
_TARGET = """Enter this in the FormantAI dashboard, for each agent:

  Name               airflow, or any other that the agent has not yet
  URL                {url}
  Secret             the first webhook_secret of connection {conn_id!r}
  Events             {events}
  Include transcript no: it is read from the API, which gives it as turns
  Recording URL      not needed
  Active             yes
"""
_WELL = """
All is well, as seen from this machine. FormantAI sends from the internet: if the way from there is another,
run this command on a machine outside as well."""


class Finding(NamedTuple):
    """One thing that was looked at, and how it is."""

    is_well: bool
    text: str
    is_note: bool = False

    def __str__(self) -> str:
        mark = "WRONG" if not self.is_well else "note" if self.is_note else "ok"
        return f"{mark:<5}  {self.text}"


def add_to(subparsers: Any) -> None:
    """Add the command to those of a command line."""
    parser = subparsers.add_parser(
        "check",
        help="what to enter in the vendor's dashboard, and whether an event arrives",
        description=_TEXT,
        epilog="Exit status: 0 all is well, 1 something is wrong, 2 it was not possible.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = f"the formant connection (default: {CONN_ID})"
    parser.add_argument("--conn-id", metavar="ID", default=CONN_ID, help=text)
    url = "the public address, such as https://hooks.example/webhooks/formant_default"
    parser.add_argument("--url", required=True, help=url)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print it all; return 0 when all is well, 1 when something is wrong.

    :raises InvalidInput: the URL or the connection is invalid; nothing was sent.
    :raises SendAborted: the call store does not answer; nothing was sent.
    """
    conn_id, url = arguments.conn_id, arguments.url
    found = findings_about(url, conn_id)
    events = ", ".join(f"call.{name}" for name in EVENTS)
    print(_TARGET.format(url=url, conn_id=conn_id, events=events), flush=True)
    is_well = True
    for finding in found:
        print(finding, flush=True)
        is_well &= finding.is_well
    print(_WELL if is_well else "\nCorrect this, and run the command again.")
    return 0 if is_well else FOUND


def findings_about(url: str, conn_id: str) -> Iterator[Finding]:
    """Return what is found, one after the other, while the events are sent.

    :param url: the public address.
    :param conn_id: the formant connection whose events are received there.
    :raises InvalidInput: the URL or the connection is invalid; nothing was sent.
    :raises SendAborted: the call store does not answer; nothing was sent.
    """
    _refuse_invalid(url)
    return _findings(url, conn_id, *_secret_and_store(conn_id))


def _refuse_invalid(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and parts.port != 0 and _is_host(parts.hostname or "")
    except ValueError:
        is_url = False
    if is_url and "@" in parts.netloc:
        raise InvalidInput("--url", "must be without a user and a password")
    if not is_url:
        raise InvalidInput("--url", "must be a URL such as https://hooks.example/webhooks/formant_default")


def _is_host(host: str) -> bool:
    """Whether a name can be asked for at all: none of its parts is empty, or longer than DNS has them."""
    return all(0 < len(label) <= 63 for label in host.removesuffix(".").split("."))


def _secret_and_store(conn_id: str) -> tuple[str, Store]:
    from formant_provider.webhooks.connections import Connections

    connections = Connections([conn_id])
    webhooks, _ = connections.read(conn_id).usable()
    return webhooks.secrets[0], connections.store(conn_id)


def _findings(url: str, conn_id: str, secret: str, store: Store) -> Iterator[Finding]:
    from formant_provider.store.webhook_events import last_seq

    yield from _about_url(url, conn_id)
    seq = last_seq(store)
    signed = probe(url, conn_id, secret)
    yield _about_signed(signed)
    if not signed.is_stored:
        return
    yield _about_store(store, seq, signed.event_id)
    yield _about_unsigned(probe(url, conn_id, None))


def _about_url(url: str, conn_id: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    is_https, is_here = parts.scheme == "https", _is_loopback(parts.hostname or "")
    text = "The URL is https." if is_https else "FormantAI sends to https URLs only."
    if is_here and not is_https:
        text += " This one is of this machine alone."
    yield Finding(is_https or is_here, text, is_note=not is_https)
    path = f"/webhooks/{conn_id}"
    keeps = unquote(parts.path).endswith(path)
    text = (
        f"The path ends in {path}." if keeps else f"The path does not end in {path}: the proxy must add that."
    )
    yield Finding(True, text, is_note=not keeps)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _about_signed(answer: Answer) -> Finding:
    if answer.status is None:
        return Finding(False, f"A signed event was not answered. {answer.advice}")
    text = f"A signed event was answered {answer.status}."
    return Finding(answer.is_stored, f"{text} {answer.advice}".rstrip())


def _about_store(store: Store, seq: int, event_id: str) -> Finding:
    from formant_provider.store.webhook_events import events_after

    page = events_after(store, seq, event_types={CHECK_EVENT})
    if any(each.event.event_id == event_id for each in page.events):
        return Finding(True, f"It is in the call store ({store.where}).")
    text = "It is not in the call store of this connection: the receiver has another store_conn_id, or its"
    return Finding(False, f"{text} database is not the one that this machine connects to.")


def _about_unsigned(answer: Answer) -> Finding:
    if answer.status == 401:
        return Finding(True, "An event without a signature was answered 401.")
    got = "was not answered" if answer.status is None else f"was answered {answer.status}"
    text = f"An event without a signature {got}, and must be answered 401."
    if answer.is_stored:
        text += " Whoever knows the URL can invent events: something in front of the receiver signs them."
    return Finding(False, text)
