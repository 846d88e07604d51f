"""Sends a test event through a public URL, signed or not, and says in words what came back."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from formant_provider.api.webhook_models import CHECK_EVENT
from formant_provider.api.webhook_signature import HEADER, signature
from formant_provider.webhooks.asking import Questions

# The vendor waits as long for an answer.
TIMEOUT_S = 10
_ANOTHER = "Something else than the receiver answered. Look at where the proxy leads this path to."
_DOWN = "The proxy does not reach the receiver. Is it running, at the address and port that the proxy names?"
_LET_IN = "It must let FormantAI's requests through."
_LOGIN = f"Something in front of the receiver asks for a login. {_LET_IN}"
_ADVICE = {
    400: "The receiver does not accept the event. Its clock and that of this machine may differ by more than"
    " webhook_tolerance.",
    401: "The receiver does not accept the signature. Either it has another webhook_secret (it reads a"
    " changed connection within a minute, but what is in the environment only when it starts), or the proxy"
    " changes the body: it must pass it on byte by byte.",
    403: f"Something in front of the receiver refuses, such as a firewall. {_LET_IN}",
    404: "There is no receiver for this connection at this path. Start it with --conn-id {conn_id}, or name"
    " the connection in [formant] webhook_conn_ids of the plugin; and let the proxy keep the path.",
    408: "The body did not reach the receiver in time. Look for a proxy that holds it back.",
    413: "Something in front of the receiver takes no body of this size. It must take 1 MiB.",
    429: f"Something in front of the receiver limits requests. {_LET_IN}",
    502: _DOWN,
    503: "The receiver cannot store events now: its log names the reason, such as the database of the store."
    " If its log has no line about it, the proxy does not reach the receiver.",
    504: _DOWN,
}
_REDIRECT = "It is a redirect, which FormantAI may not follow. Enter the URL to which it leads."
_NO_NAME = "The name of the host is not known to DNS here. Check the spelling, and the DNS record."
_TLS = (
    "The certificate is not accepted: it is for another name, has expired, is self-signed, or the server"
    " sends it without its intermediate certificates."
)
_NO_TLS = "TLS was not agreed on. Does this port speak https? Plain http is often at another one."
_LATE = "No answer came within 10 seconds, which is how long FormantAI waits."
_CLOSED = (
    "No connection was made. Is the proxy running at this host and port, and does the firewall let it in?"
)
_BROKEN = (
    "A connection was made, but what came back is no whole HTTP response. Look at what listens at this port."
)
_MOST_BYTES = 1024 * 1024


class Answer(NamedTuple):
    """What came back.

    :param event_id: of the event that was sent.
    :param status: of the response; ``None`` without one.
    :param is_stored: whether the response is that of a receiver that has stored it.
    :param advice: what is wrong and what to do, in sentences; empty for a 2xx of a receiver.
    """

    event_id: str
    status: int | None
    is_stored: bool = False
    advice: str = ""


def probe(url: str, conn_id: str, secret: str | None, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send one event, of a type and with an id of its own; redirects are not followed.

    :param secret: with which it is signed; ``None`` leaves the signature out.
    :param timeout_s: seconds until the whole answer has to be there.
    """
    import requests

    event_id = f"check_{uuid.uuid4().hex}"
    body = _body(event_id)
    try:
        post = partial(_post, url, body, _headers(event_id, body, secret), timeout_s)
        response, content = Questions().ask(url, post, timeout_s)
    except TimeoutError:
        return Answer(event_id, None, advice=_LATE)
    except requests.RequestException as error:
        return Answer(event_id, None, advice=_about(error))
    if response.ok and not response.is_redirect:
        is_stored = _says_stored(content)
        return Answer(event_id, response.status_code, is_stored, "" if is_stored else _ANOTHER)
    return Answer(event_id, response.status_code, advice=_advice(response, conn_id))


def _post(url: str, body: bytes, headers: dict[str, str], timeout_s: float) -> tuple[Any, bytes]:
    """Return the response and its body; a drop now and then outlasts the timeout of each read."""
    import requests

    content = b""
    with requests.post(
        url, data=body, headers=headers, timeout=timeout_s, allow_redirects=False, stream=True
    ) as response:
        for chunk in response.iter_content(65536):
            content += chunk
            if len(content) > _MOST_BYTES:
                break
    return response, content


def _body(event_id: str) -> bytes:
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"event_id": event_id, "event_type": CHECK_EVENT, "timestamp": moment, "data": {}}
    return json.dumps(event).encode()


def _headers(event_id: str, body: bytes, secret: str | None) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "X-FormantAI-Event-Id": event_id,
        "X-FormantAI-Event-Type": CHECK_EVENT,
        "X-FormantAI-Timestamp": str(int(datetime.now(UTC).timestamp())),
    }
    if secret is not None:
        headers[HEADER] = signature(body, secret)
    return headers


def _says_stored(content: bytes) -> bool:
    try:
        return bool(json.loads(content)["status"] == "stored")
    except (ValueError, KeyError, TypeError):
        return False


def _advice(response: object, conn_id: str) -> str:
    status, headers = response.status_code, response.headers  # type: ignore[attr-defined]
    if 300 <= status < 400:
        return _REDIRECT
    if status == 401 and "WWW-Authenticate" in headers:
        return _LOGIN
    return _ADVICE.get(status, _ANOTHER).format(conn_id=conn_id)


def _about(error: Exception) -> str:
    """Return what is wrong with the way to the receiver."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return _TLS if "certificate" in str(error).lower() else _NO_TLS
    if isinstance(error, requests.exceptions.ReadTimeout):
        return _LATE
    text = str(error)
    if "NameResolutionError" in text or "Failed to resolve" in text:
        return _NO_NAME
    if isinstance(error, requests.exceptions.ChunkedEncodingError) or "Connection aborted" in text:
        return _BROKEN
    return _CLOSED
