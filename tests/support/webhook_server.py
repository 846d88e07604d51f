"""A receiver of webhooks over a real socket, in this process or another one, and a client that signs."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import uvicorn

from formant_provider.store.store import Store, open_up
from formant_provider.store.webhook_events import StoredEvent, events_after
from formant_provider.webhooks.connections import Connections
from formant_provider.webhooks.service import Service
from support.databases import Database
from support.stores import SECRET as STORE_SECRET
from support.stores import new_store
from support.supervisor import FakeSupervisor, supervised_by
from support.webhook_events import webhook

SECRET, OTHER = "whsec_rosetta_stone_1799", "whsec_of_somebody_else"
CONN_ID = "formant_default"


def signature(body: bytes, secret: str = SECRET) -> str:
    """Return the header as the vendor's page describes it; not by our own code."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def event(event_id: str = "evt_1", event_type: str = "call.completed", **changed: Any) -> dict[str, Any]:
    """Return an event that is signed now, of a conversation of its own."""
    given = {"timestamp": datetime.now(UTC).isoformat(), "conversation_id": f"conv_{event_id}", **changed}
    return webhook(event_id, event_type, **given)


def connection_to(**extra: Any) -> dict[str, Any]:
    """Return a formant connection with webhooks whose store is the connection ``calls_db``."""
    named = {"store_conn_id": "calls_db", "store_secret": STORE_SECRET, "webhook_secret": SECRET}
    return {"conn_type": "formant", "password": "key-1234567", "extra": json.dumps({**named, **extra})}


@dataclass
class Elapsed:
    """A clock that goes, and can be set forward.

    :param ahead: by how many seconds.
    """

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Sender:
    """Sends to a receiver as the vendor does."""

    port: int

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def post(
        self,
        what: Mapping[str, Any] | bytes,
        *,
        conn_id: str = CONN_ID,
        secret: str = SECRET,
        headers: Mapping[str, str | None] | None = None,
    ) -> tuple[int, Any]:
        """Send an event, or a body as it is; return the status and what was answered.

        :param headers: instead of the signature.
        """
        body = what if isinstance(what, bytes) else json.dumps(what).encode()
        signed = {"X-FormantAI-Signature": signature(body, secret)}
        sent = {"Content-Type": "application/json", **(signed if headers is None else headers)}
        answer = requests.post(self.url(f"/webhooks/{conn_id}"), data=body, headers=sent, timeout=30)
        return answer.status_code, answer.json()

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url(path), timeout=30)

    def raw(self, *parts: bytes, pause_s: float = 0.0, timeout_s: float = 10) -> bytes:
        """Send bytes, and return what comes back until the receiver closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
                if b"\r\n\r\n" in received and received.endswith(b"}"):
                    break
            return received


@dataclass
class Receiver(Sender):
    """A receiver in this process.

    :param channel: its ``connections`` are Airflow's.
    :param clock: of what is remembered.
    """

    channel: FakeSupervisor = field(default_factory=FakeSupervisor)
    store: Store = None  # type: ignore[assignment] - always given
    clock: Elapsed = field(default_factory=Elapsed)

    def connect(self, conn_id: str = CONN_ID, *, later_s: float = 60, **extra: Any) -> None:
        """Make a connection, or change it, and let time pass."""
        self.channel.connections[conn_id] = connection_to(**extra)
        self.clock.ahead += later_s

    def stored(self) -> list[StoredEvent]:
        return events_after(self.store, 0).events


@contextmanager
def receiving(
    database: Database, conn_ids: Sequence[str] = (CONN_ID,), readers: Sequence[Any] = (), **options: Any
) -> Iterator[Receiver]:
    """Receive webhooks into a new store in a database.

    :param options: as the service takes them.
    """
    store = new_store(database)
    channel = FakeSupervisor({"calls_db": database.connection, CONN_ID: connection_to()})
    clock = Elapsed()
    with ExitStack() as stack:
        stack.enter_context(supervised_by(channel))
        service = Service(Connections(conn_ids, clock), readers, **options)
        stack.callback(service.close)
        port = stack.enter_context(served(service.app))
        yield Receiver(port, channel=channel, store=store, clock=clock)


@contextmanager
def served(app: Any) -> Iterator[int]:
    """Serve an application in a thread; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)


@dataclass
class Program(Sender):
    """The receiver as a program of its own."""

    process: subprocess.Popen[str] = None  # type: ignore[assignment] - always given

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def program(
    database: Database, folder: Path, *arguments: str, port: int | None = None, **extra: Any
) -> Iterator[Program]:
    """Run ``python -m formant_provider.webhooks`` until the end of the ``with`` statement.

    :param folder: where Airflow has its home.
    :param extra: of the connection.
    """
    port = port or free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONN_CALLS_DB": json.dumps(database.connection),
        "AIRFLOW_CONN_FORMANT_DEFAULT": json.dumps(connection_to(**extra)),
    }
    command = [sys.executable, "-m", "formant_provider.webhooks", "--port", str(port), *arguments]
    with (folder / "receiver.log").open("a") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)
    try:
        running = Program(port, process=process)
        wait_until(lambda: process.poll() is not None or is_listening(port), 60)
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def open_store(database: Database) -> Store:
    """Open the store that a receiver writes to."""
    return open_up(database.engine(), "the test", STORE_SECRET)


def wait_until(reached: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
