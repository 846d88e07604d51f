"""Calls from Python functions, with `@task.formant_call`: one call, and one for each row of a query."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

with DAG(
    "formant_decorated_call",
    description="Calls the people its functions return, each once.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task(show_return_value_in_logs=False)
    def due_loans() -> list[dict[str, Any]]:
        """Stand in for a query."""
        return [
            {"loan_id": "LN-1", "phone": "+14155550150", "due": 29000},
            {"loan_id": "LN-2", "phone": "+14155550151", "due": 1250.5},
        ]

    @task.formant_call(agent_id=456)
    def remind(loan: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters of the agent, and a reference that comes back in the result."""
        parameters = {"customer_phone": loan["phone"], "due_amount": loan["due"]}
        return {"parameters": parameters, "reference": loan["loan_id"]}

    @task.formant_call
    def survey(dag_run: Any = None) -> dict[str, Any]:
        """Return a whole call: agent, parameters and time."""
        return {
            "agent_id": 789,
            "parameters": {"customer_phone": "+14155550152"},
            "scheduled_for": dag_run.run_after + timedelta(days=1),
        }

    remind.expand(loan=due_loans()) >> survey()
