"""The operator of call lists: what one task does for everybody of a list."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from formant_provider.attempts import Attempts
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import run_task

KEY = "key-1234567"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over within a second."""
    with Sandbox(api_key=KEY, call_speed=200, rate_limit=None) as sandbox:
        yield sandbox


def a_list(calls: Any, **fields: Any) -> FormantCallListOperator:
    fields = {"agent_id": 456, "poll_interval": 0.2, "retries": 3, **fields}
    return FormantCallListOperator(task_id="list", calls=calls, **fields)


def people(count: int, **cells: Any) -> list[dict[str, Any]]:
    return [
        {"customer_phone": f"+1415555{100 + at:04d}", "name": f"n{at}", **cells}
        for at in range(10, 10 + count)
    ]


def test_everybody_of_a_list_is_called_once(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Each row is one call with its own parameters, and one row of the results."""
    run = run_task(
        a_list(people(30), results_uri=str(tmp_path / "results.csv"), summary_uri=str(tmp_path / "s.html")),
        channel,
    )
    print(run.log_text)
    assert run.state == "success", run.error
    assert sorted(sandbox.rings.values()) == [1] * 30
    result = run.xcoms["return_value"]
    print(result)
    assert result["reached"] == 30
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert len(rows) == 30
    assert {row["status"] for row in rows} == {"completed"}
