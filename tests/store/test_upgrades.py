"""Tables are made once, whoever does it; those of another version are refused before anything is sent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import formant_provider
from formant_provider.api.errors import InvalidInput
from formant_provider.store.schema import metadata
from formant_provider.store.store import open_up
from formant_provider.store.upgrades import SCHEMA_VERSION, VERSION_TABLE, check
from support.audit import a_call
from support.databases import Database
from support.stores import SECRET, new_store

NEWER = f"{int(SCHEMA_VERSION) + 1:04}"
MIGRATION = f'''"""One more column."""

import sqlalchemy as sa
from alembic import op

revision = "{NEWER}"
down_revision = "{SCHEMA_VERSION}"


def upgrade() -> None:
    op.add_column("formant_people", sa.Column("note", sa.Text))
'''


def test_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    """Alembic finds nothing to add to them."""
    store = new_store(database)
    with store.engine.connect() as conn:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: (kind, name) != ("table", VERSION_TABLE),
        }
        assert compare_metadata(MigrationContext.configure(conn, opts=options), metadata) == []


def commands(database: Database, folder: Path, number: int, command: str) -> list[subprocess.Popen[str]]:
    """Start a command in several processes, with the package in a folder."""
    extra = {"store_conn_id": "call_store", "store_secret": SECRET}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONN_CALL_STORE": json.dumps(database.connection),
        "AIRFLOW_CONN_FORMANT_DEFAULT": json.dumps({"conn_type": "formant", "extra": extra}),
        "PYTHONPATH": str(folder),
    }
    line = [sys.executable, "-m", "formant_provider.store", *command.split()]
    pipe = subprocess.PIPE
    return [
        subprocess.Popen(line, env=environment, cwd=folder, text=True, stdout=pipe, stderr=pipe)
        for _ in range(number)
    ]


def run(database: Database, folder: Path, command: str) -> tuple[int, str]:
    (process,) = commands(database, folder, 1, command)
    out, err = process.communicate()
    assert "Traceback" not in err
    return process.returncode, out + err.splitlines()[-1] if process.returncode else out


@pytest.mark.timeout(300)
def test_of_four_processes_at_once_one_makes_the_tables(database: Database) -> None:
    """The others wait for it, and find them."""
    processes = commands(database, Path(formant_provider.__file__).parents[1], 4, "upgrade --json")
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, results
    assert sorted(json.loads(out)["was_changed"] for out, _ in results) == [False] * 3 + [True]
    open_up(database.engine(), "here", SECRET)


@pytest.mark.timeout(300)
def test_a_newer_package_migrates_a_store_and_an_older_one_refuses_it(
    database: Database, tmp_path: Path
) -> None:
    """Each says which of the two is to be upgraded, and what was in the store is still there."""
    store = new_store(database)
    a_call(store, "key")
    package = tmp_path / "formant_provider"
    shutil.copytree(Path(formant_provider.__file__).parent, package)
    upgrades = package / "store" / "upgrades.py"
    written = f'SCHEMA_VERSION = "{SCHEMA_VERSION}"'
    assert written in upgrades.read_text()
    upgrades.write_text(upgrades.read_text().replace(written, f'SCHEMA_VERSION = "{NEWER}"'))
    (package / "store" / "migrations" / "versions" / f"v{NEWER}_note.py").write_text(MIGRATION)

    status, said = run(database, tmp_path, "verify")
    assert status == 2
    assert f"a call store of version {SCHEMA_VERSION}; this package needs {NEWER}: run" in said
    status, said = run(database, tmp_path, "upgrade --json")
    assert (status, json.loads(said)) == (0, {"version": NEWER, "was_changed": True})
    status, said = run(database, tmp_path, "verify --json")
    assert (status, json.loads(said)["events"]) == (0, 2)
    with store.engine.connect() as conn, pytest.raises(InvalidInput, match=f"{NEWER}, which is newer than"):
        check(conn, "here")


def test_a_database_without_tables_is_refused(database: Database) -> None:
    """The message says how they are made."""
    with pytest.raises(InvalidInput, match="make them with"):
        open_up(database.engine(), "here", SECRET)
