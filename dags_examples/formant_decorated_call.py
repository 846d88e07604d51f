"""Functions that say whom to ring: `@task.formant_call`, plain and once for each row of a query."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

with DAG(
    "formant_decorated_call",
    description="Rings whom its functions name, each once.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task(show_return_value_in_logs=False)
    def due_loans() -> list[dict[str, Any]]:
        """Stand for a query."""
        return [
            {"phone": "+14155550150", "name": "Asha", "due": 29000, "late": False},
            {"phone": "+14155550151", "name": "Rahul", "due": 1250.5, "late": True},
        ]

    @task.formant_call(agent_id=456)
    def remind(loan: dict[str, Any]) -> dict[str, Any]:
        """Return what the agent is told."""
        return {"customer_phone": loan["phone"], "customer_name": loan["name"], "due_amount": loan["due"]}

    @task.formant_call
    def survey(dag_run: Any = None) -> dict[str, Any]:
        """Return a whole call: its agent, its time, its parameters."""
        return {
            "agent_id": 789,
            "parameters": {"customer_phone": "+14155550152"},
            "scheduled_for": dag_run.run_after + timedelta(days=1),
        }

    remind.expand(loan=due_loans()) >> survey()
