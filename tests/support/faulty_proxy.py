"""Stands between a client and a server, counts what is sent, and breaks what it is told to break."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

# Cut the connection; answer that it is forbidden, which no client repeats; hand it on.
Does = Literal["cut", "forbid", "pass"]
_BYTES_AT_ONCE = 1 << 16
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Fault:
    """What happens to what a client sends.

    :param to: a pattern of what is sent, such as the head of a request.
    :param after: how many bytes must have been sent before.
    :param does: what is done then, ``times`` often; ``act`` is called before.
    """

    does: Does
    to: bytes = b""
    after: int = 0
    times: int = 1_000_000
    act: Callable[[], object] = lambda: None
    met: int = 0

    def meets(self, sent: int, piece: bytes) -> bool:
        """Whether this is the moment; counts it if so."""
        met = self.met < self.times and sent >= self.after and re.search(self.to, piece) is not None
        self.met += met
        return met


class FaultyProxy:
    """Hands on what clients and a server on this machine send each other.

    :ivar sent: how many bytes clients have sent in all.
    :ivar fault: what goes wrong; ``None``: nothing.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.fault: Fault | None = None
        self._server = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, port: int) -> None:
        """Say where the server is."""
        self._server = port

    def begin(self, fault: Fault | None) -> None:
        """Count from zero, and let this go wrong from now on."""
        with self._lock:
            self.sent, self.fault = 0, fault

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server))
        except OSError:
            client.close()
            return
        threading.Thread(target=_hand_on, args=(server, client), daemon=True).start()
        with suppress(OSError):
            while (piece := client.recv(_BYTES_AT_ONCE)) and self._may_pass(client, piece):
                server.sendall(piece)
        _end(server, client)

    def _may_pass(self, client: socket.socket, piece: bytes) -> bool:
        with self._lock:
            self.sent += len(piece)
            fault = self.fault if self.fault and self.fault.meets(self.sent, piece) else None
        if fault is None:
            return True
        fault.act()
        if fault.does == "forbid":
            client.sendall(_FORBIDDEN)
        return fault.does == "pass"


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_BYTES_AT_ONCE):
            target.sendall(piece)
    _end(source, target)


def _end(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
