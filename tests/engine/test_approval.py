"""A person approves a list before anybody is called, with Airflow's own ApprovalOperator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engine.conftest import KEY

from formant_provider.sandbox import Sandbox
from support.approvals import answering
from support.engine import DagResult, run_dag_source
from support.engine_runs import Cleared
from support.versions import needs_state_store

pytestmark = [pytest.mark.engine, needs_state_store]

DAG_ID = "formant_approval"
SOURCE = (Path(__file__).parents[2] / "dags_examples" / f"{DAG_ID}.py").read_text()
APPROVER = "+14155550161"
LIST = "customer_phone,reference\n+14155550180,L-1\n+14155550181,L-2\n+1415,L-3\n"
CALLED = {"+14155550180": 1, "+14155550181": 1}


class World:
    """The example, over a list of two people and a number that is none."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder, self.asked = sandbox, folder, list[Any]()
        (folder / "due.csv").write_text(LIST)

    def run(self, option: str | None, **on: Any) -> DagResult:
        """Run the DAG, and answer what it asks."""
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": self.sandbox.connection_uri()}
        source = SOURCE.replace(
            'invalid_rows="reject",\n        # As',
            'invalid_rows="reject",\n        poll_interval=0.2,\n        # As',
        )
        with answering(DAG_ID, option) as asked:
            conf = {"calls": str(self.folder / "due.csv")}
            result = run_dag_source(source, self.folder, DAG_ID, env=env, run_conf=conf, **on)
        self.asked += asked.values()
        return result

    @property
    def called(self) -> dict[str, int]:
        """How often each person of the list was called."""
        return {number: rings for number, rings in self.sandbox.rings.items() if number != APPROVER}


@pytest.fixture
def world(tmp_path: Path) -> Any:
    with Sandbox(api_key=KEY, call_speed=500_000, rate_limit=None) as sandbox:
        yield World(sandbox, tmp_path)


def test_who_is_approved_is_called_once(world: World) -> None:
    """The approver is called, is shown what the dry run counted, and only then are people called."""
    result = world.run("Approve")
    assert result.state == "success", result.log_text
    (question,) = world.asked
    assert question["subject"] == "Call 2 people?"
    assert "1 rows are left out:\n\n- impossible_number: 1" in question["body"]
    assert world.sandbox.rings == {**CALLED, APPROVER: 1}
    assert result["call"].xcoms["return_value"]["reached"] == 2


@pytest.mark.parametrize(
    ("option", "states"), [("Reject", ("success", "skipped")), (None, ("failed", "upstream_failed"))]
)
def test_without_an_approval_nobody_is_called(
    option: str | None, states: tuple[str, str], world: World
) -> None:
    """Neither after a rejection, nor when nobody has answered in time; the approver is called once."""
    result = world.run(option)
    assert (result["approve"].state, result["call"].state) == states
    assert world.sandbox.rings == {APPROVER: 1}


@pytest.mark.parametrize(
    "tasks", [["call"], ["check", "approve", "call"]], ids=["the calls", "the whole run"]
)
def test_a_clear_after_an_approval_calls_nobody_again(tasks: list[str], world: World) -> None:
    """The calls are on record; a question that is cleared is asked again, and pages nobody again."""
    run = world.run("Approve")
    result = world.run("Approve", on=Cleared(run.run_id, tasks))
    assert result.state == "success", result.log_text
    assert len(world.asked) == 1 + ("approve" in tasks)
    assert world.sandbox.rings == {**CALLED, APPROVER: 1}


@pytest.mark.parametrize(("days", "rings"), [(3, 1), (5, 0)], ids=["after a weekend", "after a week"])
def test_a_run_of_friday_that_is_approved_on_monday_is_not_late(days: int, rings: int, world: World) -> None:
    """The list allows for the time that an answer may take, and for no more."""
    result = world.run("Approve", on=datetime.now(UTC) - timedelta(days=days))
    assert result.state == "success", result.log_text
    assert world.called == (CALLED if rings else {})
    assert result["call"].xcoms["return_value"]["reason"] == (None if rings else "delayed")
