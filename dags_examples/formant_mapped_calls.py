"""One call for each row of a query: reminders with `expand`, surveys, scheduled, with `expand_kwargs`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator

with DAG(
    "formant_mapped_calls",
    description="Rings everyone in a list, each once.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    # Airflow logs what a task returns unless it is told not to, and stores it in its database as it is.
    @task(show_return_value_in_logs=False)
    def due_loans() -> list[dict[str, Any]]:
        """Stand for a query."""
        return [
            {"customer_phone": "+14155550120", "customer_name": "Asha", "due_amount": 29000},
            {"customer_phone": "+14155550121", "customer_name": "Rahul", "due_amount": 1250.5},
            {"customer_phone": "+14155550122", "customer_name": "Meera", "due_amount": 700},
        ]

    @task(show_return_value_in_logs=False)
    def survey(loan: dict[str, Any]) -> dict[str, Any]:
        """Turn one row into the arguments of one call."""
        in_two_days = datetime.now().astimezone() + timedelta(days=2)
        return {"parameters": loan, "scheduled_for": in_two_days.isoformat()}

    loans = due_loans()
    reminders = FormantCreateCallOperator.partial(task_id="remind", agent_id=456).expand(parameters=loans)
    surveys = FormantCreateCallOperator.partial(task_id="survey_call", agent_id=789).expand_kwargs(
        survey.expand(loan=loans)
    )
    reminders >> surveys
