from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from formant_provider.sandbox import Sandbox

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
PHONE = "+14155550100"


class Caller:
    """A client that knows HTTP and nothing else, on one sandbox."""

    def __init__(self, sandbox: Sandbox, key: str) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {key}"

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.sandbox.base_url + path, **{"timeout": 5, **options})

    def post(self, body: Any, **options: Any) -> requests.Response:
        return self.send("POST", "/v1/call", json=body, **options)

    def call(self, phone: str = PHONE, *, timeout: float = 5, **fields: Any) -> requests.Response:
        body = {"agent_id": 456, "parameters": [{"name": "customer_phone", "value": phone}], **fields}
        return self.post(body, timeout=timeout)

    def batch(
        self,
        rows: str | bytes = f"customer_phone\n{PHONE}\n",
        *,
        agent_id: object = 456,
        name: str = "March Follow Ups",
        file_name: str = "contacts.csv",
        **options: Any,
    ) -> requests.Response:
        form = {"agent_id": str(agent_id), "name": name}
        return self.send(
            "POST", "/v1/batch-call", data=form, files={"file": (file_name, rows, "text/csv")}, **options
        )

    def batches(self, path: str = "", **query: Any) -> requests.Response:
        return self.send("GET", f"/v1/batch-calls{path}", params=query)

    def metrics(self, batch_id: int) -> dict[str, Any]:
        metrics: dict[str, Any] = self.batches(f"/{batch_id}/metrics").json()["data"]
        return metrics

    def conversations(self, **query: Any) -> requests.Response:
        return self.send("GET", "/v1/conversations", params=query)

    def conversation(self, conversation_id: str, **options: Any) -> requests.Response:
        return self.send("GET", f"/v1/conversations/{conversation_id}", **options)

    def recording(self, conversation_id: str, **options: Any) -> requests.Response:
        return self.send("GET", f"/v1/conversations/{conversation_id}/recording", **options)

    def only_record(self) -> dict[str, Any]:
        """Return the detail of the one conversation there is."""
        (item,) = self.conversations().json()["data"]
        record: dict[str, Any] = self.conversation(item["conversation_id"]).json()["data"]
        return record


@pytest.fixture
def start() -> Iterator[Callable[..., Caller]]:
    """Start sandboxes whose clock stands at noon, and stop them after the test."""
    with contextlib.ExitStack() as running:

        def start_one(**settings: Any) -> Caller:
            sandbox = running.enter_context(Sandbox(**{"speed": 0, "start_at": NOON, **settings}))
            caller = Caller(sandbox, sandbox.api_key)
            running.callback(caller.session.close)
            return caller

        yield start_one


@pytest.fixture
def another() -> Callable[[Caller, str], Caller]:
    """Return a second client of the same sandbox, with its own key."""

    def with_key(caller: Caller, key: str) -> Caller:
        return Caller(caller.sandbox, key)

    return with_key


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

    @property
    def types(self) -> list[str]:
        """The types of the events, in the order of their arrival."""
        return [each.event["event_type"] for each in self.seen]

    @property
    def phones(self) -> list[str]:
        """Who was called, in the order in which the events arrived."""
        return [each.call["to_phone"] for each in self.seen]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def watched(start: Callable[..., Caller], receiver: Receiver) -> Callable[..., Sandbox]:
    """Start sandboxes whose clock stands at noon, with the receiver as a signed target of all agents."""

    def start_one(*, target: dict[str, Any] | None = None, **settings: Any) -> Sandbox:
        sandbox = start(**settings).sandbox
        sandbox.add_webhook(receiver.url, **{"secret": "s3cret", **(target or {})})
        return sandbox

    return start_one
