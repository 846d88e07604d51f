"""A call with an agent in the India region, through the default connection."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from formant_provider.operators.call import FormantCreateCallOperator

with DAG(
    "formant_india_region",
    description="Calls one person from the India region.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    # No default: India reserves no numbers for examples, and an example must not call anybody.
    params={"customer_phone": Param(type="string", pattern=r"^\+91[0-9]{10}$", description="Number to call")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    FormantCreateCallOperator(
        task_id="call",
        agent_id=123,
        parameters={"customer_phone": "{{ params.customer_phone }}", "language": "hi-IN"},
        # Overrides the connection's region. A base URL in the connection's host overrides both.
        region="in",
    )
