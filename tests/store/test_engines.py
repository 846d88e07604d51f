from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, column, inspect, select, table, text
from sqlalchemy.exc import IntegrityError, OperationalError

from formant_provider.store.engines import APPLICATION_NAME, create
from support.databases import Database
from support.sockets import serving

ONLY_POSTGRES = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
READS = {"formant_reads": True}


def ask(engine: Engine, sql: str) -> Any:
    with engine.begin() as connection:
        return connection.execute(text(sql)).scalar()


@contextmanager
def counting(engine: Engine) -> Iterator[None]:
    """A table with one number in it."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE formant_number (id INTEGER PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO formant_number VALUES (1, 0)"))
    yield


@ONLY_SQLITE
def test_sqlite_writes_through_and_lets_readers_read(database: Database) -> None:
    """A commit is on the disk when it returns; a reader waits for no writer."""
    engine = database.engine()
    assert ask(engine, "PRAGMA journal_mode") == "wal"
    assert ask(engine, "PRAGMA synchronous") == 2  # FULL
    assert ask(engine, "PRAGMA foreign_keys") == 1
    assert ask(engine, "PRAGMA busy_timeout") == 30_000
    with counting(engine), engine.begin() as writer:
        writer.execute(text("UPDATE formant_number SET n = 1"))
        with engine.execution_options(**READS).begin() as reader:
            assert reader.execute(text("SELECT n FROM formant_number")).scalar() == 0


@ONLY_SQLITE
def test_a_connection_s_own_timeout_comes_first(database: Database) -> None:
    """What the connection says itself is not overridden."""
    assert ask(create(f"{database.url}?timeout=2"), "PRAGMA busy_timeout") == 2_000


def test_two_that_read_and_then_write_wait_for_each_other(database: Database) -> None:
    """Ten threads add one, ten times each: nobody is refused, and none is lost."""
    engine = database.engine()
    read = select(column("n")).select_from(table("formant_number")).with_for_update()  # SQLite has no need

    def add() -> None:
        for _ in range(10):
            with engine.begin() as connection:
                n = connection.execute(read).scalar()
                connection.execute(text("UPDATE formant_number SET n = :n"), {"n": n + 1})

    with counting(engine):
        threads = [threading.Thread(target=add) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ask(engine, "SELECT n FROM formant_number") == 100


def test_a_transaction_is_taken_back_as_a_whole(database: Database) -> None:
    """Tables that it made and rows that it wrote are gone; a savepoint takes back only what came after it."""
    engine = database.engine()
    with counting(engine):
        with engine.connect() as connection:
            connection.execute(text("UPDATE formant_number SET n = 7"))
            if database.kind != "mysql":  # which commits before it makes a table
                connection.execute(text("CREATE TABLE formant_other (id INTEGER)"))
            connection.rollback()
        assert inspect(engine).get_table_names() == ["formant_number"]
        with engine.begin() as connection:
            connection.execute(text("UPDATE formant_number SET n = 1"))
            with pytest.raises(IntegrityError), connection.begin_nested():
                connection.execute(text("INSERT INTO formant_number VALUES (1, 5)"))
        assert ask(engine, "SELECT n FROM formant_number") == 1


NEW_FILE = """
import sys
from sqlalchemy import text
from formant_provider.store.engines import create
sys.stdin.readline()
with create(sys.argv[1]).begin() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS formant_number (id INTEGER)"))
    connection.execute(text("INSERT INTO formant_number VALUES (1)"))
"""


@ONLY_SQLITE
def test_a_new_file_may_be_opened_by_many_at_once(database: Database) -> None:
    """Processes that make the file together all wait for each other, though SQLite itself would not."""
    command = [sys.executable, "-c", NEW_FILE, database.url]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(6)]
    for process in started:
        process.communicate(b"go\n")
    assert [process.returncode for process in started] == [0] * 6
    assert ask(database.engine(), "SELECT count(*) FROM formant_number") == 6


@ONLY_POSTGRES
def test_postgresql_is_known_by_its_name_and_waits_for_a_while_only(database: Database) -> None:
    """A DBA sees who is connected; no statement and no lock takes longer than 30 seconds."""
    assert database.server is not None
    engine = database.engine()
    name = database.connection["schema"]
    database.server.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    assert ask(engine, "SHOW application_name") == APPLICATION_NAME
    assert ask(engine, "SHOW transaction_isolation") == "read committed"
    assert ask(engine, "SHOW statement_timeout") == ask(engine, "SHOW lock_timeout") == "30s"


@ONLY_POSTGRES
def test_what_is_committed_is_on_disk_whatever_the_database_is_set_to(database: Database) -> None:
    """A claim that a power cut takes back would be a second ring."""
    assert database.server is not None
    name = database.connection["schema"]
    database.server.execute(f"ALTER DATABASE {name} SET synchronous_commit = 'off'")
    assert ask(database.engine(), "SHOW synchronous_commit") == "on"


@ONLY_POSTGRES
def test_nothing_is_prepared_that_a_pooler_would_have_in_another_session(database: Database) -> None:
    """However often a statement is executed."""
    engine = database.engine()
    for _ in range(10):
        ask(engine, "SELECT 1")
    assert ask(engine, "SELECT count(*) FROM pg_prepared_statements") == 0


@ONLY_POSTGRES
def test_limits_end_with_the_transaction(database: Database) -> None:
    """Behind a pooler others use the same session, and have no limit of ours."""
    engine = database.engine()
    ask(engine, "SELECT 1")
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("SHOW statement_timeout")
    assert cursor.fetchone() == ("0",)
    connection.close()


@ONLY_POSTGRES
def test_a_server_that_was_restarted_is_not_noticed(database: Database) -> None:
    """A connection that died while nobody used it is replaced before the next transaction."""
    assert database.server is not None
    engine = database.engine()
    assert ask(engine, "SELECT 1") == 1
    database.server.kill()
    database.server.start()
    assert ask(engine, "SELECT 1") == 1


@ONLY_POSTGRES
def test_a_connection_that_the_server_has_ended_is_not_noticed(database: Database) -> None:
    """Nothing was sent yet, so the transaction begins again on a new one; each of the pool is replaced."""
    assert database.server is not None
    engine = database.engine()
    with engine.connect() as one, engine.connect() as other:
        assert [each.execute(text("SELECT 1")).scalar() for each in (one, other)] == [1, 1]
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{schema}'"
    assert database.server.execute(ended.format(**database.connection)) == "2"
    assert [ask(engine, "SELECT 1") for _ in range(3)] == [1, 1, 1]


@ONLY_POSTGRES
def test_a_server_that_says_nothing_is_given_up_soon(database: Database) -> None:
    """A connection that is not made in 5 seconds, or the time that it says itself, here 2, is an error."""
    start = time.monotonic()
    with serving(lambda _connection, _received: time.sleep(6)) as silent:
        engine = create(f"{database.url.partition('@')[0]}@127.0.0.1:{silent.port}/calls?connect_timeout=2")
        with pytest.raises(OperationalError):
            ask(engine, "SELECT 1")
    assert time.monotonic() - start < 5


def test_no_value_is_in_an_error_of_sqlalchemy(database: Database) -> None:
    """Should one be shown untranslated, it has no parameters."""
    engine = database.engine()
    with counting(engine), pytest.raises(IntegrityError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO formant_number VALUES (1, :n)"), {"n": 415555010})
    assert "415555010" not in str(caught.value)
