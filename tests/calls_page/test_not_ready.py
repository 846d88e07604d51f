"""When the calls cannot be shown, the page says why and what to do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import inspect, text

from support.calls_page import calls_page, connections_to
from support.databases import Database, postgres_database, sqlite_database
from support.stores import new_secret, new_store

BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
UPGRADE = "python -m formant_provider.store upgrade"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns what the page says with some connections; it is never an error of the server."""

    def say(connections: dict[str, dict[str, Any]]) -> str:
        with calls_page(monkeypatch, connections) as page:
            answer = page.visitor().get()
        assert answer.status_code == 503
        assert answer.headers["cache-control"] == "no-store"
        return str(answer.text.partition("<main>")[2])

    return say


def test_without_a_connection(said: Any) -> None:
    """It names the connection that it looked for."""
    assert "Connection &#39;formant_default&#39; does not exist" in said({})


def test_without_a_call_store(said: Any) -> None:
    """It says that one has to be set up."""
    assert "names no call store" in said({"formant_default": {"conn_type": "formant", "password": "key"}})


def test_with_a_store_without_tables(said: Any, tmp_path: Any) -> None:
    """It says how to make them, and makes none, although tasks of this connection would."""
    with sqlite_database(tmp_path) as database:
        assert UPGRADE in said(connections_to(database, store_auto_upgrade=True))
        assert inspect(database.engine()).get_table_names() == []


def test_with_tables_of_an_older_version(said: Any, sqlite: Database) -> None:
    """It says how to bring them up to date."""
    with sqlite.engine().begin() as conn:
        conn.execute(text("UPDATE formant_store_version SET version_num = '0002'"))
    assert UPGRADE in said(connections_to(sqlite))


def test_with_another_secret(said: Any, sqlite: Database) -> None:
    """It says so, and tells neither of the two."""
    other = new_secret()
    told = said(connections_to(sqlite, store_secret=other))
    assert "store_secret" in told
    assert other not in told


def test_with_a_store_that_does_not_answer(said: Any, sqlite: Database) -> None:
    """It says which connection leads there."""
    there = connections_to(sqlite)
    there["calls_db"] = {"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "login": "x", "schema": "x"}
    assert "(connection &#39;calls_db&#39;) cannot be reached. Check that its database runs" in said(there)


def test_with_a_store_that_breaks_between_two_looks(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was open before is not relied on, and it is shown again when it is back."""
    new_store(sqlite)
    with calls_page(monkeypatch, connections_to(sqlite)) as page:
        visitor = page.visitor()
        assert visitor.get().status_code == 200
        with sqlite.engine().begin() as conn:
            conn.execute(text("ALTER TABLE formant_intents RENAME TO gone"))
        broken = visitor.get()
        assert (broken.status_code, "gone" in broken.text) == (503, False)
        with sqlite.engine().begin() as conn:
            conn.execute(text("ALTER TABLE gone RENAME TO formant_intents"))
        assert visitor.get().status_code == 200


def test_with_a_store_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four wait for it at most, and others are told so: the other pages of Airflow have threads left."""
    with postgres_database() as database, ThreadPoolExecutor(4) as threads:
        store = new_store(database)
        with calls_page(monkeypatch, connections_to(database)) as page:
            assert page.visitor().get().status_code == 200
            with store.writing() as conn:
                conn.execute(text("LOCK TABLE formant_intents IN ACCESS EXCLUSIVE MODE"))
                waiting = [threads.submit(page.visitor().get) for _ in range(4)]
                while conn.execute(text(BLOCKED)).scalar() != 4:
                    time.sleep(0.05)
                other = page.visitor().get()
            assert (other.status_code, "Busy" in other.text) == (503, True)
            assert [each.result().status_code for each in waiting] == [200] * 4


def test_an_option_that_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection to show there is no such page."""
    with calls_page(monkeypatch, {}, calls_page_conn_ids=" , ") as page:
        assert page.visitor().get().status_code == 404
