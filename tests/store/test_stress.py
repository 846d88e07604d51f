"""Processes place the same calls at once and are killed at random: `make test-store` does more of it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from formant_provider.sandbox import Sandbox
from support.databases import Database
from support.stores import SECRET, new_store
from support.stress import Counted, Stress, count
from support.stress_worker import Job

PROCESSES, TASKS = 3, 20


def run(database: Database, folder: Path, *, kills: int, **job: Any) -> Counted:
    store = new_store(database)
    with Sandbox(rate_limit=None, call_speed=1000, record_appears="start") as sandbox:
        # Who looks a call up for long enough finds it, however busy the machine is.
        job = {"lookup_s": 50.0, **job}
        told = Job(database.url, SECRET, sandbox.base_url, sandbox.api_key, str(folder), TASKS, **job)
        stress = Stress(told, PROCESSES, 0.5, kills, random.Random(7))  # noqa: S311 - no secret
        stress.run(timeout_s=60)
        return count(stress, sandbox, store)


def test_each_call_is_placed_once_whoever_asks_and_dies(database: Database, tmp_path: Path) -> None:
    """Of calls that several tasks ask for, and of processes that are killed, one request is accepted each."""
    counted = run(database, tmp_path, kills=4, groups=PROCESSES)
    assert counted.wrong == []
    assert counted.calls == PROCESSES * TASKS * 7 // 10 + TASKS * 3 // 10
    assert set(counted.results) == {"placed", "found"}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_no_window_holds_more_calls_to_a_person_than_the_cap(database: Database, tmp_path: Path) -> None:
    """By the sandbox's times: four calls to each person are asked for, and two an hour are allowed."""
    counted = run(database, tmp_path, kills=0, cap=(2, 3600), calls_each=4, on_capped="schedule", share=0)
    assert counted.wrong == []
    assert counted.results == {"placed": PROCESSES * TASKS}
