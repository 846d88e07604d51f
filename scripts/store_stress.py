"""Twenty processes place ten thousand calls over one PostgreSQL and are killed at random; then it is counted.

Runs, one after the other:

- ``plain``: each call is placed once, and everybody who asked for it has its ids;
- ``outage``: the database is killed in the middle, and started again after ten seconds;
- ``cap``: five calls to each person, of whom two a day are allowed, and the others are skipped;
- ``schedule``: two an hour are allowed, and the others are scheduled for when they are.

Needs PostgreSQL (Debian: apt-get install postgresql), no key and no network. Leaves nothing behind.
``FORMANT_TEST_MYSQL=1`` takes MariaDB instead.
``PROCESSES=20 TASKS=500`` are its size, ``SEED`` its kills; arguments name the runs.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROCESSES, TASKS = int(os.environ.get("PROCESSES", "20")), int(os.environ.get("TASKS", "500"))
SEED = int(os.environ.get("SEED", str(random.randrange(2**32))))  # noqa: S311 - no secret
IS_MYSQL = bool(os.environ.get("FORMANT_TEST_MYSQL"))
OUTAGE_S = 10
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "outage": {},
    "cap": {"cap": (2, 86400), "calls_each": 5},
    "schedule": {"cap": (2, 3600), "calls_each": 5, "on_capped": "schedule", "lookup_s": 1.0},
}


def main() -> int:
    """Run what was asked for; 0 when nothing was wrong."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    names = sys.argv[1:] or list(RUNS)
    print(f"{PROCESSES} processes with {TASKS} tasks each, 30 % of them shared; SEED={SEED}", flush=True)
    return 1 if sum([run(name) for name in names]) else 0


def run(name: str) -> int:
    """Do one run, and print what it came to; return how much was wrong."""
    from formant_provider.sandbox import Sandbox
    from support.databases import mysql_database, postgres, postgres_database
    from support.mariadb import mariadb
    from support.stores import SECRET, new_store
    from support.stress import Stress, count
    from support.stress_worker import Job

    with (
        (mysql_database if IS_MYSQL else postgres_database)() as database,
        Sandbox(rate_limit=None, call_speed=1000, record_appears="start") as sandbox,
        tempfile.TemporaryDirectory() as folder,
    ):
        server, store = mariadb() if IS_MYSQL else postgres(), new_store(database)

        def outage() -> None:
            server.kill()
            time.sleep(OUTAGE_S)
            server.start()

        job = Job(database.url, SECRET, sandbox.base_url, sandbox.api_key, folder, TASKS, **RUNS[name])
        meanwhile = outage if name == "outage" else None
        stress = Stress(job, PROCESSES, 1.0, 10_000, random.Random(SEED), meanwhile)  # noqa: S311 - no secret
        stress.run()
        counted = count(stress, sandbox, store)
        counted.wrong += deadlocks(database)
        report(name, stress, counted)
    return len(counted.wrong)


def deadlocks(database: Any) -> list[str]:
    """Return what the server says of deadlocks."""
    of_this = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    if IS_MYSQL:  # of all its databases; the status is counted since the server started
        of_this = (
            "SELECT variable_value FROM information_schema.global_status"
            " WHERE variable_name = 'INNODB_DEADLOCKS'"
        )
    found = database.server.execute(of_this, database.connection["schema"])
    return [f"{found} deadlocks"] if found != "0" else []


def report(name: str, stress: Any, counted: Any) -> None:
    """Print figures."""
    results = stress.processes * stress.job.tasks
    print(f"{name}: {results:,} tasks in {timedelta(seconds=round(stress.seconds))}, {stress.kills} kills")
    print(f"  {counted.calls:,} calls placed; results {dict(counted.results)}; answers {dict(counted.posts)}")
    print(f"  {counted.events:,} events in the chain; longest wait {counted.longest_wait_s:.1f} s")
    for error, times in counted.errors.most_common(5):
        print(f"  {times} x {error}")
    for wrong in counted.wrong[:10]:
        print(f"  WRONG: {wrong}")
    print(f"  {len(counted.wrong)} things wrong", flush=True)


if __name__ == "__main__":
    sys.exit(main())
