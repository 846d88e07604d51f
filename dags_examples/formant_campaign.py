"""A campaign: the rows of a query are called once, waited for, and reported on, one row for each person."""

from __future__ import annotations

from datetime import datetime, timedelta
from tempfile import gettempdir
from typing import Any

from airflow.sdk import DAG, Param, task

from formant_provider.operators.batch import FormantCreateBatchCallOperator

with DAG(
    "formant_campaign",
    description="Calls everybody whose loan is due, and says who was reached.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    # Good enough to try it out. In earnest, give a place such as s3://connection@bucket/campaigns.
    params={"folder": Param(f"{gettempdir()}/formant", type="string")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task(show_return_value_in_logs=False)
    def due_loans() -> list[dict[str, Any]]:
        """Stand for a query. A long result is better written to a file, and its path given as `contacts`."""
        return [
            {"customer_phone": "+14155550150", "customer_name": "Asha", "due_amount": 29000, "loan": "L-1"},
            {"customer_phone": "+14155550101", "customer_name": "Rahul", "due_amount": 1250.5, "loan": "L-2"},
            {"customer_phone": "+14155550152", "customer_name": "Meera", "due_amount": 700, "loan": "L-3"},
            {"customer_phone": "+1415", "customer_name": "Vikram", "due_amount": 80, "loan": "L-4"},
        ]

    campaign = FormantCreateBatchCallOperator(
        task_id="campaign",
        agent_id=456,
        name="Due loans {{ dag_run.run_after | ds }}",
        contacts=due_loans(),
        required_variables=["customer_name", "due_amount"],
        # One bad number in a thousand stops nobody; who was left out is in the file of rejects.
        invalid_rows="reject",
        rejects_uri="{{ params.folder }}/rejects.csv",
        results_uri="{{ params.folder }}/results.csv",
        # The report is joined by this, and shows the last four digits of a number alone.
        reference_column="loan",
        wait_for_completion=True,
        deferrable=True,
        min_success_rate=30,
    )

    @task
    def tell_the_manager(result: dict[str, Any]) -> str:
        """Say how it went, in numbers."""
        return f"{result['metrics']['success_count']} of {result['total_recipients']} were reached"

    tell_the_manager(campaign.output)
