"""A tiny HTTP server that gives scripted answers over loopback and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw_body: bytes

    @property
    def body(self) -> Any:
        """The JSON that was sent."""
        return json.loads(self.raw_body)


@dataclass(frozen=True)
class Answer:
    """What to answer: ``body`` is JSON-encoded unless it is bytes; ``cut_at`` closes after so many bytes."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None


Script = Answer | Callable[[Seen], Answer]


class ScriptedServer:
    """Gives the answers in turn, the last one for ever.

    :param script: answers, or functions from the request to an answer.
    :param tls: speaks https with this.
    """

    def __init__(self, *script: Script, tls: SSLContext | None = None) -> None:
        self._script = list(script)
        self.seen: list[Seen] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._origin = "https://localhost" if tls else "http://127.0.0.1"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"{self._origin}:{self._server.server_port}"

    def __enter__(self) -> ScriptedServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_answer(self, request: Seen) -> Answer:
        """Keep the request and pick its answer."""
        self.seen.append(request)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return step(request) if callable(step) else step

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self._reply(outer.next_answer(Seen(self.command, self.path, dict(self.headers), raw)))

            do_POST = do_GET  # noqa: N815 - http.server's names

            def _reply(self, answer: Answer) -> None:
                raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response_only(answer.status)  # less the date, which is not that of a test's clock
                for name, value in {"Content-Length": str(len(raw)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw[: answer.cut_at])
                self.close_connection = answer.cut_at is not None

            def log_message(self, *_: object) -> None:
                pass

        return Handler
