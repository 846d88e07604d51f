"""Pages over a call store that cannot be used: it keeps none from being sent, unless it has a cap."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from formant_provider.call_cap import CallCap
from formant_provider.sandbox import Sandbox
from formant_provider.store.admission import lock_person
from formant_provider.store.schema import chain
from formant_provider.store.store import Store, open_up
from support.databases import Database
from support.log_capture import captured_logs
from support.paging import MISSED, ON_CALL, a_page, call, deadline, rows
from support.sockets import Received, serving
from support.stores import SECRET, connections_with
from support.supervisor import FakeSupervisor, supervised_by


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


@pytest.fixture
def store(channel: FakeSupervisor, database: Database) -> Store:  # noqa: ARG001 - whose tables it makes
    return open_up(database.engine(), "the test", SECRET)


def hang(connection: socket.socket, received: Received) -> None:
    """Accept, and never answer."""
    while data := connection.recv(65536):
        received.data += data


@contextmanager
def a_store_that_hangs() -> Iterator[dict[str, Any]]:
    with serving(hang) as server:
        yield {"conn_type": "postgres", "host": "127.0.0.1", "port": server.port, "login": "x", "schema": "x"}


@contextmanager
def a_store_that_is_down() -> Iterator[dict[str, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "login": "x", "schema": "x"}


@contextmanager
def a_store_of_another_kind() -> Iterator[dict[str, Any]]:
    yield {"conn_type": "http", "host": "example.com"}


@contextmanager
def no_connection() -> Iterator[dict[str, Any] | None]:
    yield None


BROKEN: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "hangs": (a_store_that_hangs, {}, "did not answer within 3 s"),
    "is down": (a_store_that_is_down, {}, "cannot be reached"),
    "of another kind": (a_store_of_another_kind, {}, "must be of type postgres, mysql or sqlite"),
    "no connection": (no_connection, {}, "does not exist"),
    "no secret": (a_store_that_is_down, {"store_secret": ""}, "store_secret: is empty"),
    "misspelt": (a_store_that_is_down, {"store_secrt": "x"}, "did you mean"),
}


@contextmanager
def over(what: str, sandbox: Sandbox) -> Iterator[FakeSupervisor]:
    opened, extra, _ = BROKEN[what]
    with opened() as connection:
        formant = json.loads(sandbox.connection_json())
        named = {"store_conn_id": "calls_db", "store_secret": SECRET, **extra}
        if "store_secrt" in named:
            del named["store_secret"]
        channel = FakeSupervisor({"formant_default": {**formant, "extra": json.dumps(named)}})
        if connection:
            channel.connections["calls_db"] = connection
        yield channel


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("what", BROKEN)
def test_no_store_keeps_a_page_from_being_sent(what: str, how: str, sandbox: Sandbox) -> None:
    """After three seconds at most it is sent unrecorded, with a warning; the vendor's key still protects."""
    with over(what, sandbox) as channel:
        began = time.monotonic()
        logs = [deadline(channel, how=how) for _ in range(2)]
        assert time.monotonic() - began < 2 * (3 + 4)
    assert sandbox.rings == {ON_CALL: 1}
    assert BROKEN[what][2] in logs[0]
    assert "sent without the call store" in logs[0]
    assert "the API knows its key" in logs[1]


@pytest.mark.parametrize("what", BROKEN)
def test_with_a_cap_nothing_is_sent_when_nobody_can_count(what: str, sandbox: Sandbox) -> None:
    """A page that was given a cap is not placed over it by mistake; the log says why."""
    with over(what, sandbox) as channel:
        log = deadline(channel, call_cap="2/1d")
    assert sandbox.requests == []
    assert BROKEN[what][2] in log
    assert "No call was placed." in log


def test_a_hanging_store_holds_up_no_event_loop(sandbox: Sandbox) -> None:
    """The triggerer's loop turns all the time while the store does not answer."""

    async def page_in_triggerer() -> None:
        await a_page(context=MISSED)

    async def turns() -> int:
        ringing, counted = asyncio.ensure_future(page_in_triggerer()), 0
        while not ringing.done():
            await asyncio.sleep(0.01)
            counted += 1
        return counted

    with over("hangs", sandbox) as channel, supervised_by(channel), captured_logs():
        assert asyncio.run(turns()) > 50  # for three seconds; pauses of the machine itself do not count
    assert sandbox.rings == {ON_CALL: 1}


def test_a_claim_that_comes_too_late_counts_as_no_call(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """A store that answers after the page was given up, for its cap, is told that nothing was sent."""
    with store.writing() as conn:  # somebody is counting the calls of this person
        lock_person(conn, store.digests.recipient(ON_CALL))
        assert "did not answer within 3 s" in deadline(channel, call_cap="1/1d")
    until = time.monotonic() + 60
    while [row["state"] for row in rows(store)] != ["never"]:
        assert time.monotonic() < until, rows(store)
        threading.Event().wait(0.05)
    assert sandbox.requests == []
    assert call(channel, call_cap=CallCap(1)).state == "success"


def test_a_store_that_is_slow_learns_of_the_page_afterwards(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store
) -> None:
    """A page without a cap is sent after three seconds, and recorded as soon as the store can."""
    with store.writing() as conn:
        conn.execute(select(chain).with_for_update())
        log = deadline(channel)
    assert "sent without the call store" in log
    assert sandbox.rings == {ON_CALL: 1}
    until = time.monotonic() + 60
    while [row["state"] for row in rows(store)] != ["placed"]:
        assert time.monotonic() < until, rows(store)
        threading.Event().wait(0.05)
