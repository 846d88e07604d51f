"""One call, placed when the DAG is triggered. The number comes from the trigger form, not from this file."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, Param

from formant_provider.operators.call import FormantCreateCallOperator

with DAG(
    "formant_one_call",
    description="Calls one person.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    # A test number of the sandbox. With a real API key, enter a real number when you trigger the DAG.
    params={
        "customer_phone": Param("+14155550100", type="string", pattern=r"^\+[1-9][0-9]{1,14}$"),
        "customer_name": Param("Asha", type="string"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:
    FormantCreateCallOperator(
        task_id="call",
        agent_id=456,
        parameters={
            "customer_phone": "{{ params.customer_phone }}",
            "customer_name": "{{ params.customer_name }}",
        },
        metadata={"dag_id": "{{ dag.dag_id }}", "run_id": "{{ run_id }}"},
    )
