from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from formant_provider.sandbox import Sandbox
from support.webhook_receiver import Receiver

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

    def transcribe(self, audio: bytes = b"RIFF", *, name: str = "a.wav", **options: Any) -> requests.Response:
        form = {key: options.pop(key) for key in ("languages", "diarize", "format") if key in options}
        files = {"audio": (name, audio, "audio/wav")}
        return self.send("POST", "/v1/transcription/jobs", data=form, files=files, **options)

    def transcription(self, job_id: str) -> requests.Response:
        return self.send("GET", f"/v1/transcription/jobs/{job_id}")

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


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def watched(start: Callable[..., Caller], receiver: Receiver) -> Callable[..., Sandbox]:
    """Start sandboxes whose clock stands at noon, with the receiver as a signed target of all agents."""

    def start_one(*, target: dict[str, Any] | None = None, **settings: Any) -> Sandbox:
        sandbox = start(**settings).sandbox
        sandbox.add_webhook(receiver.url, **{"secret": "s3cret", **(target or {})})
        return sandbox

    return start_one
