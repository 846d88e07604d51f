"""Rows of a mapped task group that are not to be called, in the form that every Airflow keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import run_dag_source

pytestmark = pytest.mark.engine

DAG = """
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG, task, task_group

from formant_provider.operators.call import FormantCreateCallOperator

with DAG("gates", schedule=None):
    @task_group
    def per_loan(loan):
        @task(show_return_value_in_logs=False)
        def parameters(loan):
            if loan["paid"]:
                raise AirflowSkipException("it is paid")
            return {"customer_phone": loan["phone"]}

        FormantCreateCallOperator(task_id="call", agent_id=456, parameters=parameters(loan))

    per_loan.expand(
        loan=[
            {"phone": "+14155550110", "paid": False},
            {"phone": "+14155550111", "paid": True},
            {"phone": "+14155550112", "paid": False},
        ]
    )
"""


def test_a_row_that_skips_itself_in_a_mapped_group_is_not_called(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """A short circuit or a branch in its place lets it through on Airflow 3.2 and 3.3."""
    result = run_dag_source(DAG, tmp_path, "gates", env=env)
    assert [result["per_loan.call", row].state for row in range(3)] == ["success", "skipped", "success"]
    assert sandbox.rings == {"+14155550110": 1, "+14155550112": 1}


APPROVALS = """
from datetime import UTC, datetime

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, task_group

from formant_provider.operators.call import FormantCreateCallOperator


class Answered(ApprovalOperator):
    def execute(self, context):
        answer = ["Approve", "Reject"][context["ti"].map_index]
        user = {"id": "1", "name": "approver"}
        event = {"chosen_options": [answer], "params_input": {}, "responded_at": datetime.now(UTC)}
        return self.execute_complete(context, {**event, "responded_by_user": user})


with DAG("approvals", schedule=None):
    @task_group
    def per_loan(parameters):
        approve = Answered(task_id="approve", subject="Call?", fail_on_reject=True)
        approve >> FormantCreateCallOperator(task_id="call", agent_id=456, parameters=parameters)

    per_loan.expand(parameters=[{"customer_phone": "+14155550110"}, {"customer_phone": "+14155550111"}])
"""


def test_a_row_whose_rejection_fails_in_a_mapped_group_is_not_called(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """A rejection that only skips lets the row through on Airflow 3.2 and 3.3."""
    result = run_dag_source(APPROVALS, tmp_path, "approvals", env=env)
    assert [result["per_loan.call", row].state for row in range(2)] == ["success", "upstream_failed"]
    assert sandbox.rings == {"+14155550110": 1}
