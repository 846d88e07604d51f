"""Hands the ids of calls to a next task: one call now, one later, and one for each entry of a list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator

PEOPLE = [
    {"customer_phone": "+14155550131", "customer_name": "Asha"},
    {"customer_phone": "+14155550132", "customer_name": "Rahul"},
    {"customer_phone": "+14155550133", "customer_name": "Meera"},
]

with DAG(
    "formant_read_ids",
    description="Places five calls and lists their ids in a next task.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    now = FormantCreateCallOperator(
        task_id="call_now",
        agent_id=456,
        parameters={"customer_phone": "+14155550130", "customer_name": "Vikram"},
    )
    later = FormantCreateCallOperator(
        task_id="call_later",
        agent_id=456,
        parameters={"customer_phone": "+14155550139", "customer_name": "Nisha"},
        scheduled_for="{{ dag_run.run_after + macros.timedelta(hours=6) }}",
    )
    each = FormantCreateCallOperator.partial(task_id="call_each", agent_id=789).expand(parameters=PEOPLE)

    @task
    def list_calls(
        now: dict[str, Any], later: dict[str, Any], each: Sequence[dict[str, Any]], trace_ids: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Read the whole receipts, and for the mapped calls the trace ids from their own key."""
        rows = [{"call": "call_now", **now}, {"call": "call_later", **later}]
        for index, (receipt, trace_id) in enumerate(zip(each, trace_ids, strict=True)):
            rows.append({"call": f"call_each [{index}]", **receipt, "trace_id": trace_id})
        return rows

    list_calls(now.output, later.output, each.output, each.output["trace_id"])
