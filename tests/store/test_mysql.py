"""What MySQL and MariaDB do otherwise than PostgreSQL; runs with ``FORMANT_TEST_MYSQL``."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from formant_provider.api.errors import FormantError, StoreMisconfigured, StoreUnavailable
from formant_provider.api.models import CallReceipt
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.ledger import Sent
from formant_provider.store.engines import create
from formant_provider.store.failures import translated
from formant_provider.store.outcomes import record_outcome
from formant_provider.store.store import set_up
from support.databases import Database
from support.stores import SECRET, asked, ledger_in, new_store

pytestmark = [
    pytest.mark.skipif(not os.environ.get("FORMANT_TEST_MYSQL"), reason="FORMANT_TEST_MYSQL is not set"),
    pytest.mark.parametrize("database", ["mysql"], indirect=True),
]
NOW = datetime.now(UTC)
DOUBT = Intent("one", NOW, Sent.UNCLEAR, sends=(SendRecord(NOW),))


def failure_of(engine: Engine, *statements: str) -> FormantError:
    def run() -> None:
        with translated("calls_db"), engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    with pytest.raises(FormantError) as caught:
        run()
    return caught.value


def problem(engine: Engine, *statements: str) -> str | None:
    error = failure_of(engine, *statements)
    assert isinstance(error, StoreUnavailable | StoreMisconfigured)
    return error.problem


def test_ids_that_differ_in_case_alone_are_two(database: Database) -> None:
    """The vendor's ids tell upper from lower case, and so do the tables, whatever the server's default."""
    store = new_store(database)
    ledger = ledger_in(store, Intent, asked("one"))
    ledger.read()
    ledger.claim(DOUBT)
    ledger.write(replace(DOUBT, receipt=CallReceipt(456, "aB", "initiated", None, None)))

    def is_known(trace_id: str) -> bool:
        about = {"outcome": "completed", "ended_at": NOW, "now": NOW}
        return record_outcome(store, trace_id=trace_id, conversation_id=None, **about)  # type: ignore[arg-type]

    assert not is_known("ab")
    assert is_known("aB")


def test_any_text_is_kept_whole(database: Database) -> None:
    """A name of any script, and an entry longer than MySQL's TEXT, which would be cut without strict mode."""
    engine = new_store(database).engine
    value = "Zoë 😀" * 20_000
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO formant_store VALUES ('x', :value)"), {"value": value})
    with engine.connect() as connection:
        read = connection.execute(text("SELECT value FROM formant_store WHERE name = 'x'"))
        assert read.scalar() == value


def test_its_clock_never_goes_back(database: Database) -> None:
    """Turns are given by the time of UTC, in whatever time zone the server is; too long texts are refused."""
    with database.engine().connect() as connection:
        assert connection.execute(text("SELECT @@time_zone")).scalar() == "+00:00"
        assert "STRICT_ALL_TABLES" in connection.execute(text("SELECT @@sql_mode")).scalar_one()
        assert connection.execute(text("SELECT @@tx_isolation")).scalar() == "READ-COMMITTED"
        assert connection.execute(text("SELECT @@lock_wait_timeout")).scalar() == 30


def test_an_upgrade_that_died_is_completed_by_the_next(database: Database) -> None:
    """It keeps each table that was made; the next one makes the others, and their indexes."""
    engine = database.engine()
    set_up(engine, "calls_db", SECRET, now=NOW)
    with engine.begin() as connection:
        for statement in (
            "DELETE FROM formant_store_version",
            "DELETE FROM formant_store",
            "DELETE FROM formant_chain",
            "DROP TABLE formant_events",
            "DROP INDEX formant_intents_asked ON formant_intents",
        ):
            connection.execute(text(statement))
    assert set_up(engine, "calls_db", SECRET, now=NOW)
    assert not set_up(engine, "calls_db", SECRET, now=NOW)
    with engine.connect() as connection:
        indexes = connection.execute(text("SHOW INDEX FROM formant_intents")).mappings().all()
        assert "formant_intents_asked" in {index["Key_name"] for index in indexes}


def test_of_many_upgrades_at_once_one_makes_the_tables(database: Database) -> None:
    """The others wait for it, to its last row; afterwards nobody holds the lock."""
    came: list[object] = []

    def upgrade() -> None:
        try:
            came.append(set_up(database.engine(), "calls_db", SECRET, now=NOW))
        except Exception as error:
            came.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == [False] * 5 + [True], came  # type: ignore[type-var]
    with database.engine().connect() as connection:
        assert connection.execute(text("SELECT IS_USED_LOCK('formant_store')")).scalar() is None


def test_what_is_wrong_is_named(database: Database) -> None:
    """Each from the server's own words: mistypes are not retried, what may pass is."""
    assert database.server is not None
    engine, name = database.engine(), database.connection["schema"]
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE formant_here (id VARCHAR(5) PRIMARY KEY)"))
    write = "INSERT INTO formant_here VALUES ('x')"
    execute = database.server.execute
    execute("CREATE OR REPLACE USER weak@127.0.0.1")
    weak = create(database.url.replace("formant@", "weak@"))
    assert problem(weak, write) == "no_login"  # there is no such database, for this login
    execute(f"GRANT SELECT ON {name}.* TO weak@127.0.0.1; GRANT INSERT ON {name}.* TO weak@127.0.0.1")
    assert problem(weak, "DELETE FROM formant_here") == "no_rights"
    assert problem(weak, "CREATE TABLE another (id INTEGER)") == "no_rights"
    assert problem(create(database.url.replace("formant@", "nobody_here@")), write) == "no_login"
    assert problem(create(f"{database.url}x"), write) == "no_login"
    assert problem(engine, "SELECT 1 FROM formant_nowhere") == "no_tables"
    assert problem(engine, "SELECT colour FROM formant_here") == "no_tables"
    assert problem(engine, write, write) == "failed"
    assert problem(engine, "INSERT INTO formant_here VALUES ('longer')") == "failed"
    execute("SET GLOBAL read_only = ON")
    try:
        assert problem(weak, write) == "read_only"
    finally:
        execute("SET GLOBAL read_only = OFF")
    execute("DROP USER weak@127.0.0.1")


def test_a_lock_that_is_held_too_long_is_busy(database: Database) -> None:
    """A wait for another transaction ends, with an error that is retried."""
    engine = new_store(database).engine
    lock = "SELECT * FROM formant_chain FOR UPDATE"
    with engine.begin() as holder:
        holder.execute(text(lock))
        assert problem(engine, "SET SESSION innodb_lock_wait_timeout = 1", lock) == "busy"


def test_those_who_wait_for_a_call_that_is_given_up_are_not_ended_by_a_deadlock(database: Database) -> None:
    """The first one takes its row back; of the others one has the call, and the rest are told so."""
    store = new_store(database)
    came: list[str] = []

    def claim() -> None:
        ledger = ledger_in(store, Intent, asked("one"), guesses=True)
        ledger.read()
        try:
            ledger.claim(DOUBT)
            came.append("claimed")
        except FormantError as error:
            came.append(type(error).__name__)

    first = ledger_in(store, Intent, asked("one"), guesses=True)
    with store.engine.connect() as connection:
        first._put(connection, DOUBT, {"sending_by": None, "sending_until": None}, NOW)
        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        connection.rollback()
    for thread in threads:
        thread.join()
    assert sorted(came) == ["Superseded"] * 3 + ["claimed"]


def test_a_server_that_dies_is_unreachable_and_one_that_is_back_is_used(database: Database) -> None:
    """In the middle of a transaction, and before one; a restart that nobody saw is not noticed."""
    assert database.server is not None
    engine, server = new_store(database).engine, database.server

    def dies_in_between() -> None:
        with translated("calls_db"), engine.begin() as connection:
            connection.execute(text("SELECT * FROM formant_chain FOR UPDATE"))
            server.kill()
            connection.execute(text("SELECT 1"))

    try:
        with pytest.raises(StoreUnavailable) as caught:
            dies_in_between()
        assert caught.value.problem == "unreachable"
        assert problem(engine, "SELECT 1") == "unreachable"
    finally:
        server.start()
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    server.kill()
    server.start()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM formant_chain")).scalar() == 1
