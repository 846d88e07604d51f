"""A receiver of webhooks that is not ours: the server of the standard library, which judges nothing."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One POST that a receiver got."""

    path: str
    headers: Message
    content: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.content)
        return event

    @property
    def call(self) -> dict[str, Any]:
        call: dict[str, Any] = self.event["data"]["call"]
        return call


class Receiver:
    """A web server that notes what it gets, and answers 200 or what a test has queued in ``answers``.

    An answer is a status, None to close the connection without one, or an event to wait for first.
    """

    def __init__(self) -> None:
        self.seen: list[Received] = []
        self.answers: list[int | threading.Event | None] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append(Received(self.path, self.headers, content))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if isinstance(answer, threading.Event):
                    answer.wait(10)
                    answer = 200
                if answer is not None:
                    with contextlib.suppress(OSError):
                        self.send_response(answer)
                        self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def types(self) -> list[str]:
        """The types of the events, in the order of their arrival."""
        return [each.event["event_type"] for each in self.seen]

    @property
    def phones(self) -> list[str]:
        """Who was called, in the order in which the events arrived."""
        return [each.call["to_phone"] for each in self.seen]
