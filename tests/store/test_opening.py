from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from sqlalchemy import Engine, text

from formant_provider.api.errors import InvalidInput, StoreMisconfigured
from formant_provider.api.store_config import StoreConfig
from formant_provider.store.failures import translated
from formant_provider.store.opening import engine_of, open_store
from formant_provider.store.store import open_up, set_up
from support.databases import Database
from support.stores import SECRET
from support.supervisor import FakeSupervisor, supervised_by

CONFIG = StoreConfig("call_store", "no-matter")
PASSWORD = "pass/word"


def opened(connection: str | Mapping[str, Any]) -> Engine:
    with supervised_by(FakeSupervisor({"call_store": connection})):
        return engine_of(CONFIG)


def works(engine: Engine) -> bool:
    with engine.begin() as connection:
        return connection.execute(text("SELECT 1")).scalar() == 1


def test_a_store_is_opened_by_the_fields_of_its_connection(database: Database) -> None:
    """The Airflow connection leads to the database, through Airflow's own hook."""
    engine = opened(database.connection)
    assert works(engine)
    assert engine.dialect.name == {"postgres": "postgresql"}.get(database.kind, database.kind)
    engine.dispose()


def test_a_connection_in_the_environment_is_used(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON, as people write it for workers."""
    monkeypatch.setenv("AIRFLOW_CONN_CALL_STORE", json.dumps(database.connection))
    with supervised_by(FakeSupervisor()):
        engine = engine_of(CONFIG)
    assert works(engine)
    engine.dispose()


def test_a_connection_in_a_uri_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For SQLite, the path is the host, with its slashes encoded or as Airflow documents it."""
    for number, form in enumerate(("sqlite://{}", "sqlite://{}/?timeout=3")):
        path = tmp_path / f"{number}.db"
        monkeypatch.setenv("AIRFLOW_CONN_CALL_STORE", form.format(str(path).replace("/", "%2F")))
        with supervised_by(FakeSupervisor()):
            assert works(engine_of(CONFIG))
        assert path.exists()


def test_a_process_has_one_engine_until_the_connection_changes(tmp_path: Path) -> None:
    """The same fields give the same engine, other fields another one, and the old one is closed."""
    first = {"conn_type": "sqlite", "host": str(tmp_path / "a.db")}
    engine = opened(first)
    assert works(engine)
    assert opened(first) is engine
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    other = opened({**first, "host": str(tmp_path / "b.db")})
    assert other is not engine
    assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_fork_has_an_engine_of_its_own(database: Database) -> None:
    """A child uses none of its parent's connections, and closes none of them."""
    with supervised_by(FakeSupervisor({"call_store": database.connection})):
        engine = engine_of(CONFIG)
        pid_of = text("SELECT pg_backend_pid()")
        with engine.connect() as connection:
            ours = connection.execute(pid_of).scalar()
        reader, writer = os.pipe()
        if not (child := os.fork()):
            with engine_of(CONFIG).connect() as connection:
                os.write(writer, str(connection.execute(pid_of).scalar()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        theirs = int(os.read(reader, 20))
        with engine.connect() as connection:
            assert connection.execute(pid_of).scalar() == ours != theirs
    engine.dispose()


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        ({"conn_type": "http", "host": "x.example"}, "must be of type postgres, mysql or sqlite"),
        ({"conn_type": "formant", "password": PASSWORD}, "must be of type postgres, mysql or sqlite"),
        ({"conn_type": ""}, "must be of type postgres, mysql or sqlite"),
        *[
            ({"conn_type": "sqlite", **fields}, "must have the absolute path of a file in its host")
            for fields in (
                {"host": ":memory:"},
                {"host": ""},
                {"host": "calls.db"},
                {"host": "file:/calls", "extra": '{"mode": "memory", "uri": "true"}'},
            )
        ],
        ({"conn_type": "postgres", "extra": '{"sqlalchemy_query": "x"}'}, "has fields that cannot be read"),
        ({"conn_type": "postgres", "extra": "5"}, "must have a JSON object as its extra"),
        ({"conn_type": "postgres", "extra": "[1]"}, "must have a JSON object as its extra"),
        ({"conn_type": "postgres", "extra": '{"sslmode": '}, "must have a JSON object as its extra"),
    ],
)
def test_a_connection_that_cannot_hold_a_store_is_refused(connection: dict[str, Any], said: str) -> None:
    """Another type of connection, or a database that ends with its process: the store is named, no secret."""
    with pytest.raises(InvalidInput, match=re.escape(said)) as caught:
        opened({"password": PASSWORD, **connection})
    assert caught.value.field == "store_conn_id"
    assert "'call_store'" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_connection_that_does_not_exist_is_named() -> None:
    """A typo in store_conn_id is final, and says so."""
    with supervised_by(FakeSupervisor()), pytest.raises(InvalidInput) as caught:
        engine_of(CONFIG)
    assert str(caught.value).startswith("store_conn_id: connection 'call_store' does not exist")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("conn_type", "extra"), [("postgres", "postgres"), ("sqlite", "store")])
def test_a_missing_package_is_named(conn_type: str, extra: str) -> None:
    """Where the provider package of the database is not installed, the error has the command for it."""
    code = (
        "import sys\n"
        "from support.airflow_home import use_own_airflow_home\n"
        "use_own_airflow_home()\n"
        f"sys.modules['airflow.providers.{conn_type}.hooks'] = None\n"
        "from support.supervisor import FakeSupervisor, supervised_by\n"
        "from formant_provider.api.store_config import StoreConfig\n"
        "from formant_provider.store.opening import engine_of\n"
        f"fields = {{'conn_type': '{conn_type}', 'host': '/x.db'}}\n"
        "with supervised_by(FakeSupervisor({'call_store': fields})):\n"
        "    engine_of(StoreConfig('call_store', 'x'))\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    command, environ = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert f'pip install "airflow-provider-formant[{extra}]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_what_the_connection_says_of_tls_is_used(database: Database) -> None:
    """The server speaks no TLS here, so a connection that insists on it is not made."""
    engine = opened({**database.connection, "extra": '{"sslmode": "require"}'})
    with pytest.raises(StoreMisconfigured, match="cannot be reached by TLS"), translated("call_store"):
        works(engine)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "extra",
    [
        {"sslmode": "bogus"},
        {"sslmode": "verify-full", "sslrootcert": "/nowhere/ca.pem"},
        {"sslmood": "require"},
    ],
)
def test_a_mistake_in_what_is_said_of_tls_is_told(extra: dict[str, str], database: Database) -> None:
    """It is not retried as a server would be that cannot be reached for a while."""
    engine = opened({**database.connection, "extra": json.dumps(extra)})
    with pytest.raises(StoreMisconfigured, match="what else begins with ssl"), translated("call_store"):
        works(engine)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_options_of_postgresql_are_used(database: Database) -> None:
    """The tables lie in the schema that the connection names."""
    assert database.server is not None
    with database.engine().begin() as conn:
        conn.execute(text("CREATE SCHEMA calls"))
    extra = '{"options": "-c search_path=calls"}'
    engine = opened({**database.connection, "extra": extra})
    set_up(engine, "the test", SECRET, now=datetime.now(UTC))
    assert open_up(engine, "the test", SECRET)
    with database.engine().begin() as conn:
        wanted = "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'formant%'"
        assert conn.execute(text(wanted)).scalars().all() == ["calls"]
    engine.dispose()


@pytest.mark.parametrize("name", ["my calls.db", "my#1.db", "calls\u00e9.db", "a+b&c.db"])
def test_the_path_of_a_file_is_used_as_it_stands(name: str, tmp_path: Path) -> None:
    """Whatever characters it holds."""
    engine = opened({"conn_type": "sqlite", "host": str(tmp_path / name)})
    assert works(engine)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["my%20calls.db", "calls?.db", "my db%20#1?.db"])
def test_a_path_that_the_hook_reads_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    """Else the calls would be in another file than the one that is named. Older hooks read it as it is."""
    with suppress(InvalidInput):
        assert works(opened({"conn_type": "sqlite", "host": str(tmp_path / name)}))
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()} <= {name}


def test_tables_that_are_made_at_first_use_are_told_of_loudly(tmp_path: Path, caplog: Any) -> None:
    """Perhaps somebody has lost a file, and with it the do-not-call list; the second time nothing is new."""
    config = StoreConfig("call_store", SECRET, auto_upgrade=True)
    with supervised_by(FakeSupervisor({"call_store": {"conn_type": "sqlite", "host": f"{tmp_path}/a.db"}})):
        open_store(config)
        (told,) = [each for each in caplog.records if each.levelname == "WARNING"]
        open_store(config)
    assert "knows of no call before it" in told.getMessage()
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1


def test_an_engine_is_there_at_once_the_second_time(tmp_path: Path) -> None:
    """Reading the connection again is all that it takes."""
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "a.db")}
    with supervised_by(FakeSupervisor({"call_store": connection})):
        engine_of(CONFIG)
        took = []
        for _ in range(20):
            start = time.perf_counter()
            engine_of(CONFIG)
            took.append(time.perf_counter() - start)
    assert median(took) < 0.01
