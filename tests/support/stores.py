"""Call stores for tests, over real databases, and the ledgers that processes have in them."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from formant_provider.sandbox import Sandbox
from formant_provider.store.admission import Admission
from formant_provider.store.intents import Asked
from formant_provider.store.ledger import StoreLedger
from formant_provider.store.secrets import new_secret
from formant_provider.store.store import Store, open_up, set_up
from support.databases import Database, sqlite_database
from support.written_api import WrittenApi

SECRET = new_secret()
NUMBER = "+14155550100"
LEASE = timedelta(seconds=30)


def new_store(database: Database, *, secret: str = SECRET, now: datetime | None = None) -> Store:
    """Make the tables in a database, and open the store."""
    engine = database.engine()
    set_up(engine, "connection 'test'", secret, now=now or datetime(2026, 1, 1, tzinfo=UTC))
    return open_up(engine, "connection 'test'", secret)


def connections_with(
    database: Database, sandbox: Sandbox | WrittenApi, *, is_set_up: bool = True, **extra: Any
) -> dict[str, dict[str, Any]]:
    """Return a connection to the sandbox that names a store in the database, and that of the database.

    :param extra: further options of the store.
    """
    if is_set_up:
        set_up(database.engine(), "the test", SECRET, now=datetime(2026, 1, 1, tzinfo=UTC))
    formant = json.loads(sandbox.connection_json())
    named = {"store_conn_id": "calls_db", "store_secret": SECRET}
    return {
        "formant_default": {**formant, "extra": json.dumps({**named, **extra})},
        "calls_db": database.connection,
    }


def asked(key: str = "key", recipient: str | None = NUMBER, **fields: Any) -> Asked:
    """Return what a task asks for."""
    return Asked(key, 456, recipient, **{"dag_id": "dag", "run_id": "run", "task_id": "call", **fields})


def ledger_in(
    store: Store, kind: type[Any], what: Asked, admission: Admission | None = None, **fields: Any
) -> StoreLedger[Any]:
    """Return the ledger of one process."""
    clock = {"now": lambda: datetime.now(UTC), "sleep": time.sleep, "lease": LEASE}
    return StoreLedger(store, kind, what, admission or Admission(), **{**clock, **fields})


_FILES = ExitStack()  # they go with the process


@contextmanager
def sqlite_store() -> Iterator[Database]:
    """An SQLite file with the tables of a store, copied: migrations take a while."""
    with tempfile.TemporaryDirectory() as folder, sqlite_database(Path(folder)) as database:
        shutil.copy(_empty_store(), database.connection["host"])
        yield database


@cache
def _empty_store() -> Path:
    folder = Path(_FILES.enter_context(tempfile.TemporaryDirectory()))
    with sqlite_database(folder) as database:
        new_store(database)
    return folder / "calls.db"
