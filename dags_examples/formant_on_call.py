"""Calls the person on duty when a task has failed for good, and when a run takes longer than an hour.

The number comes from the Airflow variable `on_call_phone`, so that it changes in one place with the shift.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference

from formant_provider.notifications.call import FormantCallNotifier

# Without the variable, a test number of the sandbox.
PAGE: dict[str, Any] = {
    "agent_id": 789,
    "parameters": {
        "customer_phone": "{{ var.value.get('on_call_phone', '+14155550160') }}",
        "what": "{{ event.kind }}",
        "dag": "{{ event.dag_id }}",
        "task": "{{ event.task_id }}",
        "error": "{{ event.exception_type }}",
    },
}

with DAG(
    "formant_on_call",
    description="Fails, and calls the person on duty about it.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timedelta(hours=1),
        callback=AsyncCallback(FormantCallNotifier, kwargs=PAGE),
    ),
    tags=["formant"],
) as dag:

    @task(retries=1, retry_delay=timedelta(seconds=10), on_failure_callback=FormantCallNotifier(**PAGE))
    def load() -> None:
        """Stand in for work that fails."""
        raise LookupError("the source is empty")

    load()
