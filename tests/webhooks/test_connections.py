"""What the receiver knows of its connections while Airflow hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.databases import Database
from support.supervisor import FakeSupervisor
from support.webhook_server import Receiver, event, receiving

STORED = (200, {"status": "stored"})


class HangingConnections(dict[str, Any]):
    """Connections that nobody gets to read until the event is set; then there are none."""

    def __init__(self, release: threading.Event) -> None:
        super().__init__()
        self._release = release

    def __contains__(self, _: object) -> bool:
        self._release.wait(30)
        return False


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def hang(channel: FakeSupervisor, release: threading.Event) -> None:
    channel.connections = HangingConnections(release)


def test_webhooks_are_received_while_airflow_hangs(receiver: Receiver, release: threading.Event) -> None:
    """What is known is relied on after a moment, during the read, and when a read of over a minute failed."""
    assert receiver.post(event("a")) == STORED
    before, working = len(receiver.channel.messages), receiver.channel.connections
    hang(receiver.channel, release)
    for n in range(3):
        receiver.clock.ahead += 61
        assert receiver.post(event(str(n))) == STORED
    assert len(receiver.channel.messages) - before <= 2  # one about each connection, which hangs
    release.set()
    assert receiver.post(event("b")) == STORED
    receiver.channel.connections = working
    receiver.clock.ahead += 61
    assert receiver.post(event("c")) == STORED


def test_an_id_with_a_slash_has_its_path(sqlite: Database) -> None:
    """Airflow allows such ids."""
    with receiving(sqlite, ("team/a",)) as receiver:
        receiver.connect("team/a")
        assert receiver.post(event(), conn_id="team/a") == STORED
        assert receiver.post(event(), conn_id="team")[0] == 404
