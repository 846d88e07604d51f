"""A call store that cannot be used: nothing is sent; after the remedy that it names one call is placed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from formant_provider.api.errors import StoreUnavailable
from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import Sent
from formant_provider.hooks.formant import FormantHook
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Sandbox
from formant_provider.store.store import Store
from support.databases import Database, Postgres
from support.stores import asked, connections_with, ledger_in
from support.supervisor import FakeSupervisor, supervised_by
from support.task_run import run_task

NUMBER = "+14155550100"
ONLY_POSTGRES = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
ONLY_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def connections(database: Database, sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    return connections_with(database, sandbox)


def fails_until(
    remedy: Callable[[], None],
    connections: dict[str, dict[str, Any]],
    sandbox: Sandbox,
    *,
    says: tuple[str, ...],
) -> None:
    """One try that fails and sends nothing; after the remedy, a further one that places the call."""
    call = {"agent_id": 456, "parameters": {"customer_phone": NUMBER}, "reference": "LN-1"}
    # For a run of long ago, an Airflow that knows no earlier try sends nothing.
    today = datetime.now(UTC)

    def run(try_number: int) -> Any:
        operator = FormantCreateCallOperator(task_id="call", retries=1, **call)
        return run_task(
            operator, FakeSupervisor(connections), try_number=try_number, logical_date=today, run_after=today
        )

    first = run(1)
    assert first.state in {"failed", "up_for_retry"}, first.log_text
    for words in ("'calls_db'", *says):
        assert words in str(first.error)
        assert words in first.log_text
    assert NUMBER not in str(first.error)
    assert sandbox.requests == []
    remedy()
    second = run(2)
    assert second.state == "success", second.log_text
    assert second.xcoms["return_value"]["placement"] == "placed"
    assert sandbox.rings == {NUMBER: 1}


def server_of(database: Database) -> Postgres:
    assert database.server is not None
    return database.server


def claim_many(store: Store) -> None:
    for number in range(100):
        ledger = ledger_in(store, Intent, asked(f"{number}", f"+1415555{number:04}"), guesses=True)
        ledger.read()
        ledger.claim(Intent(f"{number}", datetime.now(UTC), Sent.UNCLEAR))


@ONLY_SQLITE
def test_a_full_disk(connections: dict[str, dict[str, Any]], sandbox: Sandbox) -> None:
    """SQLite cannot grow: nothing is sent until there is room again."""
    with supervised_by(FakeSupervisor(connections)):
        store = FormantHook().get_store()
    assert store is not None

    def no_larger(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    def make_room() -> None:
        event.remove(store.engine, "connect", no_larger)
        store.engine.dispose()

    event.listen(store.engine, "connect", no_larger)
    store.engine.dispose()
    with pytest.raises(StoreUnavailable):  # the pages that are there have some room left
        claim_many(store)
    says = ("has no space left on its disk", "Make room on the disk")
    fails_until(make_room, connections, sandbox, says=says)


@ONLY_POSTGRES
def test_a_read_only_replica(
    database: Database, connections: dict[str, dict[str, Any]], sandbox: Sandbox
) -> None:
    """A server that takes no writes, until the connection leads to one that does."""
    server, name = server_of(database), database.connection["schema"]
    server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    def becomes_primary() -> None:
        server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        of_this = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 - a name of ours
        server.execute(of_this)

    says = ("is read-only", "must lead to the primary server")
    fails_until(becomes_primary, connections, sandbox, says=says)


@ONLY_POSTGRES
def test_no_rights(database: Database, connections: dict[str, dict[str, Any]], sandbox: Sandbox) -> None:
    """A login that may read the tables and not write them, until it is granted what the message names."""
    server, name = server_of(database), database.connection["schema"]
    login = f"poor_{name}"
    server.execute(f"CREATE ROLE {login} LOGIN")
    server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {login}", name)
    connections["calls_db"] = {**connections["calls_db"], "login": login}
    says = ("does not give its login the rights", "INSERT, UPDATE and DELETE")

    def grant() -> None:
        server.execute(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {login}", name)

    fails_until(grant, connections, sandbox, says=says)
    server.execute(f"DROP OWNED BY {login}; DROP ROLE {login}", name)


def test_tables_that_are_too_new(
    database: Database, connections: dict[str, dict[str, Any]], sandbox: Sandbox
) -> None:
    """Another Airflow has upgraded the store: this one sends nothing before it is upgraded as well."""
    engine = database.engine()

    def set_version(version: str) -> None:
        with engine.begin() as conn:
            conn.exec_driver_sql(f"UPDATE formant_store_version SET version_num = '{version}'")  # noqa: S608 - ours

    with engine.begin() as conn:
        ours = conn.exec_driver_sql("SELECT version_num FROM formant_store_version").scalar_one()
    set_version("9999")
    says = ("version 9999, which is newer", "upgrade airflow-provider-formant")
    fails_until(lambda: set_version(ours), connections, sandbox, says=says)


@ONLY_SQLITE
def test_a_connection_of_another_type(connections: dict[str, dict[str, Any]], sandbox: Sandbox) -> None:
    """What is no database is refused by its type."""
    right = connections["calls_db"]
    connections["calls_db"] = {**right, "conn_type": "http"}
    fails_until(
        lambda: connections.update(calls_db=right),
        connections,
        sandbox,
        says=("must be of type postgres, mysql or sqlite",),
    )
