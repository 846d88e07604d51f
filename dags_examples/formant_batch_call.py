"""A batch call: calls each row of a query once, waits for the end, and reports on each person."""

from __future__ import annotations

from datetime import datetime, timedelta
from tempfile import gettempdir
from typing import Any

from airflow.sdk import DAG, Param, task

from formant_provider.operators.batch import FormantCreateBatchCallOperator

with DAG(
    "formant_batch_call",
    description="Calls everybody whose loan is due, and reports who was reached.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    # Enough for a first try. In production, use a location such as s3://connection@bucket/batch-calls.
    params={"folder": Param(f"{gettempdir()}/formant", type="string")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task(show_return_value_in_logs=False)
    def due_loans() -> list[dict[str, Any]]:
        """Stand in for a query. Write a long result to a file instead, and pass its path as `contacts`."""
        return [
            {"customer_phone": "+14155550150", "customer_name": "Asha", "due_amount": 29000, "loan": "L-1"},
            {"customer_phone": "+14155550101", "customer_name": "Rahul", "due_amount": 1250.5, "loan": "L-2"},
            {"customer_phone": "+14155550152", "customer_name": "Meera", "due_amount": 700, "loan": "L-3"},
            {"customer_phone": "+1415", "customer_name": "Vikram", "due_amount": 80, "loan": "L-4"},
        ]

    batch_call = FormantCreateBatchCallOperator(
        task_id="batch_call",
        agent_id=456,
        name="Due loans {{ dag_run.run_after | ds }}",
        contacts=due_loans(),
        required_variables=["customer_name", "due_amount"],
        # An invalid number does not stop the others; rejected rows are in a file of their own.
        invalid_rows="reject",
        rejects_uri="{{ params.folder }}/rejects.csv",
        results_uri="{{ params.folder }}/results.csv",
        # Join the report by this column: of a number it shows the last four digits only.
        reference_column="loan",
        wait_for_completion=True,
        deferrable=True,
        min_success_rate=30,
    )

    @task
    def summarize(result: dict[str, Any]) -> str:
        """Summarize the result in one sentence."""
        return f"{result['metrics']['success_count']} of {result['total_recipients']} were reached"

    summarize(batch_call.output)
