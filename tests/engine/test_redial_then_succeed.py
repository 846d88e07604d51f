"""Ring again up to n times, then succeed: redial_on with on_unsuccessful, in the real Airflow engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import DagResult, run_dag_source
from support.versions import needs_state_store

pytestmark = [pytest.mark.engine, needs_state_store]

DAG = """
from airflow.sdk import DAG, task
from formant_provider.operators.call import FormantCreateCallOperator

with DAG("until", schedule=None):
    call = FormantCreateCallOperator.partial(
        task_id="call", agent_id=456, wait_for_completion=True, poll_interval=0.2, retries=2,
        redial_on={"no_answer"}, on_unsuccessful="CHOICE", deferrable=DEFER,
    ).expand(parameters=[{"customer_phone": "+14155550101"}, {"customer_phone": "+14155550100"},
                         {"customer_phone": "+14155550102"}])

    @task(trigger_rule="all_done")
    def collect(results):
        return [row["status"] for row in results]

    collect(call.output)
"""


def run(choice: str, folder: Path, *, deferrable: bool = False) -> tuple[DagResult, Sandbox]:
    with Sandbox(call_speed=10_000, rate_limit=None) as sandbox:
        source = DAG.replace("CHOICE", choice).replace("DEFER", str(deferrable))
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
        return run_dag_source(source, folder, "until", env=env), sandbox


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("choice", "states"),
    [
        ("succeed", ["success", "success", "success"]),
        ("skip", ["skipped", "success", "skipped"]),
        ("fail", ["failed", "success", "failed"]),
    ],
)
def test_who_was_not_reached_is_rung_again_until_the_last_try(
    choice: str, states: list[str], deferrable: bool, tmp_path: Path
) -> None:
    """Nobody answers: one call for each try, and the last one ends as on_unsuccessful says. Others: one."""
    result, sandbox = run(choice, tmp_path, deferrable=deferrable)
    assert sandbox.rings == {"+14155550101": 3, "+14155550100": 1, "+14155550102": 1}
    assert [result["call", index].state for index in range(3)] == states
    assert [result["call", index].try_number for index in range(3)] == [3, 1, 1]
    assert result["collect"].xcoms["return_value"] == ["no_answer", "completed", "busy"]
