"""What the page costs over a store of 100,000 calls of one day: CPU, since machines are busy."""

from __future__ import annotations

import time

import psutil
import pytest
from sqlalchemy import text

from formant_provider.store.store import Store, to_ms
from support.calls_page import calls_page, connections_to, now
from support.databases import Database
from support.stores import new_store

CALLS = 100_000
LONGEST_S = 0.3

# Eight hours of calls of forty DAGs and five agents, with rows as large as those of a real call.
FILL = """
INSERT INTO formant_intents (id, kind, agent_id, recipient, dag_id, run_id, task_id, map_index, reference,
    asked_by, account, asked_at, knew_all, state, call_at, trace_id, conversation_id, outcome, intent,
    try_number, version)
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :calls - 1)
SELECT 'call-' || n, 'call', n % 5, 'person-' || n, 'dag_' || (n % 40), 'scheduled__2026-11-28', 'call_all',
    n, 'loan-' || n, 'scheduled', 'account', :since + n * 288, true,
    CASE WHEN n % 50 = 0 THEN 'unclear' ELSE 'placed' END,
    :since + n * 288, 'trace-' || n, 'conversation-' || n,
    CASE n % 4 WHEN 0 THEN 'completed' WHEN 1 THEN 'no_answer' WHEN 2 THEN 'busy' END, :intent, 1, 2
FROM numbers
"""


def fill(store: Store) -> None:
    since = to_ms(now().replace(hour=0, minute=0, second=0, microsecond=0))
    with store.writing() as conn:
        conn.execute(text(FILL), {"calls": CALLS, "since": since, "intent": "x" * 500})
    if store.engine.dialect.name == "postgresql":  # as its autovacuum does within a minute
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("VACUUM ANALYZE formant_intents"))


def server_cpu_s(store: Store) -> float:
    """CPU that the processes of the database server have used for this store; SQLite has none of its own."""
    if store.engine.dialect.name != "postgresql":
        return 0.0
    with store.reading() as conn:
        pids = conn.execute(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids.scalars())


@pytest.fixture
def store(database: Database) -> Store:
    if database.kind == "mysql":
        pytest.skip("the statement that fills the store is not MySQL's")
    store = new_store(database)
    fill(store)
    return store


def test_a_hundred_thousand_calls_are_shown_at_once(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole answer takes less than 300 ms of CPU, for who may read all DAGs and for who may read one."""
    with calls_page(monkeypatch, connections_to(database)) as page:
        for name, count, rows in (("ann", CALLS, 100), ("only_dag_7", CALLS // 40, 50)):
            visitor = page.visitor(name)
            assert visitor.get().status_code == 200  # what is made once is made
            before, began = server_cpu_s(store), time.process_time()
            answer = visitor.get()
            used_s = time.process_time() - began + server_cpu_s(store) - before
            assert f"<dd>{count:,}</dd>" in answer.text
            assert answer.text.count('<td class="when">') == rows
            assert used_s < LONGEST_S
