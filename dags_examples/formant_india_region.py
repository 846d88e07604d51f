"""A call through an agent that lives in the India region, with the connection everyone else uses."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from formant_provider.operators.call import FormantCreateCallOperator

with DAG(
    "formant_india_region",
    description="Rings one person from the India region.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    FormantCreateCallOperator(
        task_id="call",
        agent_id=123,
        parameters={"customer_phone": "+919876543210", "customer_name": "Rahul", "language": "hi-IN"},
        # Overrides the connection's region. A base URL in the connection's host overrides both.
        region="in",
    )
