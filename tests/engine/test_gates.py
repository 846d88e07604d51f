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
