"""One call for each row of a query, with `expand` and `expand_kwargs`; the results are joined to the rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator

with DAG(
    "formant_mapped_calls",
    description="Calls everybody in a list, each once.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    # Airflow logs what a task returns, unless this is off, and stores it in its database unencrypted.
    @task(show_return_value_in_logs=False)
    def due_loans() -> list[dict[str, Any]]:
        """Stand in for a query."""
        return [
            {"loan_id": "LN-1", "customer_phone": "+14155550120", "due_amount": 29000},
            {"loan_id": "LN-2", "customer_phone": "+14155550121", "due_amount": 1250.5},
            {"loan_id": "LN-3", "customer_phone": "+14155550122", "due_amount": 700},
        ]

    @task(show_return_value_in_logs=False)
    def survey(loan: dict[str, Any]) -> dict[str, Any]:
        """Turn one row into the arguments of one call."""
        in_two_days = datetime.now().astimezone() + timedelta(days=2)
        return {"parameters": loan, "scheduled_for": in_two_days.isoformat(), "reference": loan["loan_id"]}

    @task(trigger_rule="all_done")
    def by_loan(loans: list[dict[str, Any]], results: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the status of each loan, joined by reference: refused calls have a result too."""
        status = {result["reference"]: result["status"] for result in results}
        return {loan["loan_id"]: status.get(loan["loan_id"]) for loan in loans}

    loans = due_loans()
    reminders = FormantCreateCallOperator.partial(task_id="remind", agent_id=456).expand(parameters=loans)
    surveys = FormantCreateCallOperator.partial(
        task_id="survey_call", agent_id=789, trigger_rule="all_done"
    ).expand_kwargs(survey.expand(loan=loans))
    reminders >> surveys
    by_loan(loans, surveys.output)
