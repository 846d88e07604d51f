"""Counts what a report on a batch call costs with and without the events of webhooks: requests and seconds.

A batch call to 40,000 people is over. Its report is written twice by the same code, against the sandbox in
this process: first with an empty call store, as without webhooks; then with one event for each attempt in the
store, which is an SQLite file. Both files must be the same, byte for byte.

Needs no key and no network. Leaves nothing behind. The exit code is 0 when the report with events takes at
most one in a hundred of the requests.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formant_provider.sandbox import Sandbox
    from formant_provider.sandbox.batches import Batch

ROOT = Path(__file__).parents[1]
RECIPIENTS = 40_000
MOST_SHARE = 0.01
MARKER = "bench"
AT_ONCE = 500


def main(recipients: int = RECIPIENTS) -> int:
    """Print the figures of both reports; 0 when the bound is kept."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from support.airflow_home import use_own_airflow_home

    use_own_airflow_home()
    logging.disable(logging.WARNING)
    from formant_provider.sandbox import Sandbox
    from support.databases import sqlite_database
    from support.stores import connections_with, new_store

    numbers = list(islice(callable_numbers(), recipients))
    with tempfile.TemporaryDirectory() as name, sqlite_database(Path(name)) as database:
        with Sandbox(speed=0, rate_limit=None) as sandbox:
            for conn_id, fields in connections_with(database, sandbox).items():
                os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)
            batch = sandbox.place_batch(numbers)
            sandbox.advance(recipients * 60)
            without = report(sandbox, batch, numbers, Path(name) / "without.jsonl")
            began = time.perf_counter()
            store(new_store(database), batch)
            print(f"{recipients:,} events were stored in {time.perf_counter() - began:.1f} s", flush=True)
            with_events = report(sandbox, batch, numbers, Path(name) / "with.jsonl")
        same = (Path(name) / "without.jsonl").read_bytes() == (Path(name) / "with.jsonl").read_bytes()
    share = with_events / without
    print(f"{share:.2%} of the requests; the files are {'the same' if same else 'NOT the same'}")
    return 0 if same and share <= MOST_SHARE else 1


def callable_numbers() -> Iterator[str]:
    """Yield numbers whose calls have a record in the end, with a status that the vendor documents."""
    for number in count(2_000_000):
        if number % 100 not in {7, 8}:
            yield f"+1415{number}"


def report(sandbox: Sandbox, batch: Batch, numbers: list[str], path: Path) -> int:
    """Write a report; return how many requests it took."""
    from formant_provider.core.contacts.row_list import owner_line
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.tasks.batches.report import ReportOptions, write_report

    names = ["row_number", "part", "reason", "customer_phone"]
    rows = [[row, None, None, number] for row, number in enumerate(numbers, 2)]
    lines = [json.dumps(line).encode() for line in (names, rows)]
    path.with_name(f"{path.name}.recipients").write_bytes(owner_line(MARKER) + b"\n".join(lines))
    before = len(sandbox.requests)
    placed = {
        "agent_id": batch.agent_id,
        "placed_at": batch.created_at.isoformat(),
        "total_recipients": batch.total_recipients,
    }
    began = time.perf_counter()
    options = ReportOptions()
    write_report(FormantHook(), placed, str(path), options, marker=MARKER, is_complete=True)
    seconds, requests = time.perf_counter() - began, len(sandbox.requests) - before
    print(f"{path.stem} events: {requests:,} requests, {seconds:.1f} s", flush=True)
    return requests


def store(call_store: Any, batch: Batch) -> None:
    """Store the event of each attempt, as the receiver does."""
    from support.webhook_events import store_events, webhook_of

    events: Iterator[dict[str, Any]] = (
        webhook_of(batch.attempt(row, plan))
        for row in range(batch.total_recipients)
        for plan in batch.planned_attempts(row)
    )
    while some := list(islice(events, AT_ONCE)):
        store_events(call_store, *some, received_at=datetime.now(UTC))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
