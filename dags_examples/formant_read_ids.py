"""Passes the ids of calls to a downstream task: one call now, one later, and one for each entry of a list."""

from __future__ import annotations

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
    description="Places five calls and lists their ids in a downstream task.",
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
        now: dict[str, Any], now_trace_id: str, later: dict[str, Any], each: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Read the whole receipts, and the trace id of one call from its own XCom key."""
        rows = [{"call": "call_now", **now, "trace_id": now_trace_id}, {"call": "call_later", **later}]
        return rows + [{"call": f"call_each [{receipt['map_index']}]", **receipt} for receipt in each]

    list_calls(now.output, now.output["trace_id"], later.output, each.output)
