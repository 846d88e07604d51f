"""Schedules a call every night for nine the next morning, counted from the end of the data interval.

The platform places the call at that time. A run that starts too late fails; the call is not placed late.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from formant_provider.operators.call import FormantCreateCallOperator

with DAG(
    "formant_scheduled_call",
    description="Schedules one call for the morning after the data interval.",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    FormantCreateCallOperator(
        task_id="call_tomorrow_at_nine",
        agent_id=456,
        parameters={
            "customer_phone": "+14155550110",
            "report_day": "{{ data_interval_start | ds }}",
        },
        scheduled_for="{{ data_interval_end + macros.timedelta(days=1, hours=9) }}",
    )
