"""Measures what a call costs with a call store: time and transactions, beside Airflow's task state store.

A call is claimed, and its receipt is written: all that the ledger does, without the request in between. On
SQLite and PostgreSQL (Debian: apt-get install postgresql), without a cap and with one, in alternating rounds.
The task state store is measured inside of a real task (``dag.test()``): read, claim and write through
Airflow's Execution API, which answers in this process, over its SQLite database; so it has no network either.
Beside each median stands what the fastest tenth took at most, which says more on a machine that is busy.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when a call takes at most 3 ms and two
transactions in each store, and less time than in the task state store.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROUNDS, CALLS, OPENINGS = 5, 100, 20
MOST_MS, MOST_TRANSACTIONS = 3.0, 2.0
numbers = itertools.count()

DAG = """
from airflow.sdk import DAG, task

with DAG("bench_store", schedule=None):
    @task
    def measure(**context):
        import sys
        sys.path.insert(0, {scripts!r})
        from bench_store import task_state_calls
        return task_state_calls(context)

    measure()
"""


def main() -> int:
    """Print all figures; 0 when the bounds are kept."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")]
    from support.airflow_home import use_own_airflow_home

    use_own_airflow_home()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        stores = opened(stack, Path(folder))
        times: dict[tuple[str, bool], list[float]] = {
            (name, cap): [] for name in stores for cap in (False, True)
        }
        task_state = task_state_ms(Path(folder))
        for _ in range(ROUNDS):
            for name, cap in times:
                times[name, cap] += [call_ms(stores[name][1], cap=cap) for _ in range(CALLS)]
        print(f"Task state store: {in_words(task_state)} a call")
        return report(stores, times, statistics.median(task_state))


def opened(stack: ExitStack, folder: Path) -> dict[str, tuple[Any, Any]]:
    """Return a database and a new store of each kind that there is."""
    from support.databases import postgres_database, sqlite_database
    from support.stores import new_store

    databases = {"SQLite": stack.enter_context(sqlite_database(folder))}
    try:
        databases["PostgreSQL"] = stack.enter_context(postgres_database())
    except BaseException as error:  # pytest's way to skip
        if type(error).__name__ != "Skipped":
            raise
        print(f"{error}: only SQLite is measured.")
    return {name: (database, new_store(database)) for name, database in databases.items()}


def call_ms(store: Any, *, cap: bool = False) -> float:
    """Claim one call and write its receipt; return milliseconds."""
    from formant_provider.core.calls.intent import Intent
    from formant_provider.core.caps import CapRule
    from formant_provider.store.admission import Admission
    from support.stores import asked, ledger_in

    number = next(numbers)
    key, admission = f"key-{number}", Admission(CapRule(2, timedelta(days=1)) if cap else None)
    began = time.perf_counter()
    ledger = ledger_in(store, Intent, asked(key, f"+1415{number:07d}"), admission, guesses=True)
    place(ledger, key)
    return (time.perf_counter() - began) * 1000


def place(ledger: Any, key: str) -> None:
    """Do what a placement does with its ledger."""
    from formant_provider.api.models import CallReceipt
    from formant_provider.core.calls.intent import Intent
    from formant_provider.core.conversations.evidence import SendRecord
    from formant_provider.core.ledger import Sent

    now = datetime.now(UTC)
    ledger.read()
    doubt = Intent(key, now, Sent.UNCLEAR, sends=(SendRecord(now),))
    ledger.claim(doubt)
    receipt = CallReceipt(456, f"trace-{key}", "initiated", None, None)
    ledger.write(replace(doubt, sends=(SendRecord(now, ended_at=datetime.now(UTC)),), receipt=receipt))


def task_state_ms(folder: Path) -> list[float]:
    """Return milliseconds of each call in Airflow's task state store; none before Airflow 3.3."""
    from support.engine import run_dag_source

    result = run_dag_source(DAG.format(scripts=str(ROOT / "scripts")), folder, "bench_store")
    if result.state != "success":
        raise RuntimeError(result.log_text[-2000:])
    return list(result["measure"].xcoms["return_value"])


def task_state_calls(context: Any) -> list[float]:
    """Measure in a task; each call finds an empty entry, as the only call of a task does."""
    from formant_provider.core.calls.intent import Intent
    from formant_provider.tasks.ledger import CALLS_ENTRY, ledger_for
    from formant_provider.tasks.run import TaskRun

    run, times = TaskRun(context), []
    for number in range(CALLS):
        began = time.perf_counter()
        place(ledger_for(run, Intent, f"key-{number}"), f"key-{number}")
        times.append((time.perf_counter() - began) * 1000)
        run.store.delete(CALLS_ENTRY)
    return times[10:]


def report(stores: dict[str, Any], times: dict[tuple[str, bool], list[float]], task_state: float) -> int:
    """Print figures of the stores; return how many bounds are broken."""
    broken = 0
    for name, (database, store) in stores.items():
        plain, capped = times[name, False], times[name, True]
        transactions = transactions_a_call(database, store)
        print(
            f"{name}: {in_words(plain)} a call, {in_words(capped)} with a cap;"
            f" {transactions:.2f} transactions; {opening_ms(database):.1f} ms to open;"
            f" {size_kb(database, store):,.0f} KB per 1,000 calls"
        )
        is_slow = statistics.median(plain) > min(MOST_MS, task_state)
        broken += is_slow or round(transactions, 1) > MOST_TRANSACTIONS
    return broken


def in_words(times: list[float]) -> str:
    """Return the median, and the fastest tenth."""
    return f"{statistics.median(times):.2f} ms (fastest tenth {sorted(times)[len(times) // 10]:.2f})"


def transactions_a_call(database: Any, store: Any) -> float:
    """Return how many transactions a call takes: PostgreSQL counts itself, and for SQLite its driver."""
    from sqlalchemy import event

    if database.server is None:
        begun: list[str] = []

        def count(*execution: Any) -> None:
            begun.extend(word for word in ("BEGIN", "BEGIN IMMEDIATE") if execution[2] == word)

        event.listen(store.engine, "before_cursor_execute", count)
        for _ in range(CALLS):
            call_ms(store)
        return len(begun) / CALLS
    before = committed(database, store)
    for _ in range(CALLS):
        call_ms(store)
    return (committed(database, store) - before) / CALLS


def committed(database: Any, store: Any) -> int:
    """Return how many transactions there were in a database of PostgreSQL, by its own count."""
    store.engine.dispose()  # a session counts for others when it ends, at the latest
    time.sleep(1.5)
    name = database.connection["schema"]
    return int(database.server.execute(
        f"SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{name}'"  # noqa: S608 - ours
    ))  # fmt: skip


def opening_ms(database: Any) -> float:
    """Return what a process needs for its first connection, the check of the version, and the digest key."""
    from formant_provider.store.store import open_up
    from support.stores import SECRET

    times = []
    for _ in range(OPENINGS):
        began = time.perf_counter()
        open_up(database.engine(), "call store 'bench'", SECRET)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def size_kb(database: Any, store: Any) -> float:
    """Return how much a thousand calls take, with their events and indexes."""
    from sqlalchemy import func, select

    from formant_provider.store.schema import intents, metadata

    with store.reading() as conn:
        calls = conn.execute(select(func.count()).select_from(intents)).scalar_one()
        if database.server is None:
            size = os.stat(database.connection["host"]).st_size
        else:
            sizes = [func.pg_total_relation_size(name) for name in metadata.tables]
            size = sum(conn.execute(select(*sizes)).one())
    return size / 1024 / calls * 1000


if __name__ == "__main__":
    sys.exit(main())
