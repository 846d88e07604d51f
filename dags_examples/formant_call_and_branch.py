"""Calls one person, waits for the outcome without holding a worker, and branches on it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator

with DAG(
    "formant_call_and_branch",
    description="Calls one person and branches on the outcome of the conversation.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    call = FormantCreateCallOperator(
        task_id="call",
        agent_id=456,
        parameters={"customer_phone": "+14155550140", "customer_name": "Asha", "due_amount": 29000},
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(hours=2),
        # Continue also when nobody answers, and when the call has not ended after two hours.
        on_unsuccessful="succeed",
        on_timeout="return",
    )

    @task.branch
    def by_outcome(outcome: dict[str, Any]) -> str:
        """Choose the next task. The output settings of the agent decide what `results` contains."""
        if outcome["status"] != "completed":
            return "write_a_letter"
        intent = (outcome["results"] or {}).get("intent")
        return "note_the_promise" if intent == "payment_confirmed" else "hand_to_a_person"

    @task
    def note_the_promise(outcome: dict[str, Any]) -> str:
        """Continue after a promise to pay."""
        return f"{outcome['conversation_id']}: {outcome['duration_seconds']} s"

    @task
    def hand_to_a_person(outcome: dict[str, Any]) -> str:
        """Continue after a conversation without a promise."""
        return str(outcome["conversation_id"])

    @task
    def write_a_letter(outcome: dict[str, Any]) -> str:
        """Continue when there was no conversation."""
        return str(outcome["status"])

    branches = [note_the_promise(call.output), hand_to_a_person(call.output), write_a_letter(call.output)]
    by_outcome(call.output) >> branches
