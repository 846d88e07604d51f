"""The web server: uvicorn in a daemon thread. It serves when ``start`` returns and is gone after ``stop``."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

CLOSING_SECONDS = 1.0
"""How long requests get to end after their connections were aborted."""


class ServerThread:
    """Serves one ASGI app on one address. It can be started once."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._socket = _listening_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(app)
        self._thread = threading.Thread(target=self._run, name=f"formant-sandbox-{self.port}", daemon=True)

    def start(self) -> None:
        """Start, and return when requests are answered.

        :raises RuntimeError: the server did not come up.
        """
        self._thread.start()
        self._server.start_ended.wait()
        if not self._server.started:
            raise RuntimeError("the sandbox server did not start")

    def stop(self) -> None:
        """Close every connection, also those that wait for a response, and return when the server is gone."""
        self._server.stop_soon()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._server.start_ended.set()
            self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn that starts and stops at once: it polls for neither, and its shutdown is not graceful."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                date_header=False,  # the sandbox writes its own, by its own clock
                proxy_headers=False,
                timeout_keep_alive=60,
            )
        )
        self.start_ended = threading.Event()
        self._stop_asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.start_ended.set()

    def stop_soon(self) -> None:
        """Make the main loop return; callable from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop_asked.set)

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self._stop_asked.wait(), timeout=1.0)
            except TimeoutError:
                continue
            return

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=CLOSING_SECONDS)


class _Protocol(H11Protocol):
    """Gives each request its transport, so that an endpoint can close the connection instead of answering."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def _listening_socket(host: str, port: int) -> socket.socket:
    """Bind here, not in the server's thread: the port is known and taken before anything runs."""
    # With the protocol named, asyncio sets TCP_NODELAY; without it each response takes 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
