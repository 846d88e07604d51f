"""Was a request sent when there is no answer to it? A connection that was not made carried nothing.

What goes wrong may look the same before and after: TLS can fail in its handshake and in the middle of an
answer. So each connection marks what kept it from being made, in the error itself.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

# Raised while a request is made ready, of which nothing has left then.
_NOT_READY = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
)
_SURE = (
    requests.ConnectTimeout,
    requests.exceptions.ProxyError,
    NewConnectionError,
    ssl.SSLCertVerificationError,
    *_NOT_READY,
)
_MARK = "formant_not_connected_to"


class _MarksHTTP(HTTPConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except Exception as error:
            setattr(error, _MARK, f"{self.host}:{self.port}")
            raise


class _MarksHTTPS(_MarksHTTP, HTTPSConnection):
    """As above: what comes next in order of its bases is the connection with TLS."""


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _MarksHTTP


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _MarksHTTPS


class MarkingAdapter(HTTPAdapter):
    """Sends as ``requests`` does, and lets :func:`never_sent` tell what was not sent."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make connections that mark their errors."""
        super().init_poolmanager(*args, **kwargs)
        _mark_errors_of(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **proxy_kwargs: Any) -> Any:
        """Make connections through a proxy that mark their errors; SOCKS has its own."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if type(manager) is urllib3.ProxyManager:
            _mark_errors_of(manager)
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return a pool of connections; an address of a proxy that cannot be read is said to be that."""
        try:
            return super().get_connection_with_tls_context(*args, **kwargs)
        except requests.RequestException:
            raise
        except Exception:  # requests stumbles over it in several ways
            raise requests.exceptions.InvalidProxyURL("cannot be read") from None

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Look for the certificates to trust; without them nothing is sent."""
        try:
            super().cert_verify(*args, **kwargs)  # type: ignore[no-untyped-call]  # of requests
        except OSError as error:
            setattr(error, _MARK, "any server, since the certificates to trust are missing")
            raise


def _mark_errors_of(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


def never_sent(error: Exception) -> str | None:
    """Say to where no connection was made and why, if that is sure; otherwise ``None``.

    No address with a user or a password is in it, and nothing that the other side has said.
    """
    causes = list(_causes(error))
    place = next((getattr(cause, _MARK) for cause in causes if hasattr(cause, _MARK)), None)
    if place is None and not any(isinstance(cause, _SURE) for cause in causes):
        return None
    kind = next(filter(None, map(_kind, reversed(causes))), type(error).__name__)
    return f"{place} ({kind})" if place else f"the server ({kind})"


def _kind(cause: BaseException) -> str | None:
    """Return what happened, in words of our own or of the system's."""
    if isinstance(cause, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or type(cause).__name__}"
    if isinstance(cause, requests.exceptions.InvalidProxyURL):
        return "the address of the proxy cannot be read"
    if isinstance(cause, TimeoutError):
        return "timed out"
    return _kind_of_system_error(cause) if isinstance(cause, OSError) else None


def _kind_of_system_error(cause: OSError) -> str | None:
    if tunnel := re.match(r"Tunnel connection failed: (\d{3})", str(cause)):
        return f"the proxy answered {tunnel[1]}"
    return os.strerror(cause.errno).lower() if cause.errno else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk through what ``requests`` and ``urllib3`` wrapped around what happened."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        cause = pending.pop()
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        pending += [*cause.args, getattr(cause, "reason", None), cause.__cause__]
