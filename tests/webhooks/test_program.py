"""``python -m formant_provider.webhooks`` as a process: it may die, or be asked to end, at any moment."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from formant_provider.store.schema import cursors
from formant_provider.store.webhook_events import events_after
from formant_provider.webhooks.__main__ import command_line, main
from support.databases import Database, postgres_database
from support.queues import redis_server
from support.stores import new_store
from support.webhook_events import NUMBER
from support.webhook_server import event, open_store, program, wait_until

STORED, KNOWN = (200, {"status": "stored"}), (200, {"status": "known"})


def test_what_was_answered_survives_the_process(sqlite: Database, tmp_path: Path) -> None:
    """Killed right after the answer: the event is there, and the next process knows it.

    What a proxy says of who is asking is neither believed nor logged.
    """
    new_store(sqlite)
    with program(sqlite, tmp_path) as running:
        assert running.post(event("a")) == STORED
        running.kill()
    store = open_store(sqlite)
    assert [each.event.event_id for each in events_after(store, 0).events] == ["a"]
    with program(sqlite, tmp_path) as running:
        assert running.post(event("a")) == KNOWN
        proxied = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
        assert running.post(event("a"), headers=proxied)[0] == 401
        assert running.get("/healthz").status_code == 200
        assert running.get("/").status_code == 404
        assert running.stop() == 0
    log = (tmp_path / "receiver.log").read_text()
    assert "Webhook for connection 'formant_default': call.completed" in log
    assert "Traceback" not in log
    assert "203.0.113.7" not in log


def test_what_was_begun_is_finished_before_the_end(tmp_path: Path) -> None:
    """Asked to end while an event waits for the store: it is stored and answered before that."""
    with postgres_database() as database:
        new_store(database)
        with program(database, tmp_path) as running, ThreadPoolExecutor(2) as threads:
            assert running.post(event("a")) == STORED
            with database.engine().begin() as conn:
                conn.execute(text("LOCK TABLE formant_cursors IN EXCLUSIVE MODE"))
                posted = threads.submit(running.post, event("b"))
                wait_until(lambda: _somebody_waits(database))
                stopped = threads.submit(running.stop)
                wait_until(lambda: not _accepts(running.port))
                assert not posted.done()
            assert posted.result() == STORED
            assert stopped.result() == 0


def _somebody_waits(database: Database) -> bool:
    assert database.server is not None
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'RowShareLock'"
    return database.server.execute(waiting) != "0"


def _accepts(port: int) -> bool:
    """Whether a new request would be answered."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_an_address_that_is_taken_is_refused(sqlite: Database, tmp_path: Path) -> None:
    """With exit code 2, and a line that says why."""
    new_store(sqlite)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        with program(sqlite, tmp_path, port=port) as running:
            assert running.process.wait(30) == 2
    assert "address already in use" in (tmp_path / "receiver.log").read_text()


def test_the_command_line_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """It listens on loopback unless it is told otherwise, since what comes there is not encrypted."""
    given = command_line().parse_args(["--conn-id", "a", "--conn-id", "b"])
    assert (given.conn_ids, given.host, given.port) == (["a", "b"], "127.0.0.1", 8088)
    with pytest.raises(SystemExit) as ended:
        main(["--nonsense"])
    assert ended.value.code == 2
    assert "--conn-id ID" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "70000", "-1"])
def test_a_port_that_cannot_be_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the range, before anything else is done."""
    with pytest.raises(SystemExit) as ended:
        main(["--port", port])
    assert ended.value.code == 2
    assert "must be from 1 to 65535" in capsys.readouterr().err


def test_a_connection_that_does_not_exist_is_refused_at_the_start(sqlite: Database, tmp_path: Path) -> None:
    """With exit code 2 and its name: a misspelt id must not look like a healthy service."""
    new_store(sqlite)
    with program(sqlite, tmp_path, "--conn-id", "formant_defualt") as running:
        assert running.process.wait(30) == 2
    log = (tmp_path / "receiver.log").read_text()
    assert "connection 'formant_defualt' does not exist" in log
    assert "Traceback" not in log


def test_a_store_without_tables_is_refused_at_the_start(sqlite: Database, tmp_path: Path) -> None:
    """With exit code 2, and the command that makes them."""
    Path(sqlite.connection["host"]).write_bytes(b"")
    with program(sqlite, tmp_path) as running:
        assert running.process.wait(30) == 2
    assert "formant_provider.store upgrade" in (tmp_path / "receiver.log").read_text()


def test_what_is_stored_is_forwarded(sqlite: Database, tmp_path: Path) -> None:
    """To where ``--forward`` says, as soon as it is there, and without what is private."""
    new_store(sqlite)
    with redis_server(tmp_path) as server:
        heard = server.client().pubsub(ignore_subscribe_messages=True)
        heard.subscribe("calls")
        heard.get_message(timeout=60)
        with program(sqlite, tmp_path, "--forward", f"{server.url}?channel=calls") as running:
            wait_until(lambda: read_cursors(sqlite))  # it begins with what comes after its start
            assert running.post(event("a", transcript="said so")) == STORED
            message = heard.get_message(timeout=60)
    assert message is not None
    assert json.loads(message["data"])["event_id"] == "a"
    assert not [private for private in (NUMBER, "said so", "Asha") if private in str(message["data"])]


def read_cursors(database: Database) -> bool:
    """Whether a reader has noted where it begins."""
    with open_store(database).reading() as conn:
        names = conn.execute(select(cursors.c.name)).scalars().all()
    return any(name.startswith("forward:") for name in names)


def test_a_queue_that_cannot_be_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is received, and without the password that its URL may have."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as it sets for its own process
    assert main(["--forward", "amqp://user:secret-word@host/x"]) == 2
    said = capsys.readouterr().err
    assert "forward: must begin with redis://" in said
    assert "secret-word" not in said
