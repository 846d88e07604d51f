"""Checks a call list, asks a person whether to call, and calls nobody until somebody has approved."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param

from formant_provider.notifications.call import FormantCallNotifier
from formant_provider.operators.call_list import FormantCallListOperator

with DAG(
    "formant_approval",
    description="Calls a list when somebody has approved what a dry run counted.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    params={"calls": Param("/data/due.csv", type="string")},
    tags=["formant"],
) as dag:
    check = FormantCallListOperator(
        task_id="check", calls="{{ params.calls }}", agent_id=456, invalid_rows="reject", dry_run=True
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Call {{ ti.xcom_pull(task_ids='check')['waiting'] }} people?",
        body="""
**{{ ti.xcom_pull(task_ids='check')['waiting'] }}** people would be called, of {{ params.calls }}.

{{ ti.xcom_pull(task_ids='check')['rejected'] }} rows are left out:
{% for reason, rows in ti.xcom_pull(task_ids='check')['by_reason'].items() %}
- {{ reason }}: {{ rows }}
{% endfor %}""",
        # A phone call tells the approver that somebody is needed.
        notifiers=FormantCallNotifier(
            agent_id=789,
            parameters={
                "customer_phone": "{{ var.value.get('approver_phone', '+14155550161') }}",
                "people": "{{ ti.xcom_pull(task_ids='check')['waiting'] }}",
            },
        ),
        # Over the weekend, and no longer: without an answer it fails, and nobody is called.
        response_timeout=timedelta(days=3),
        retries=0,
    )
    call = FormantCallListOperator(
        task_id="call",
        calls="{{ params.calls }}",
        agent_id=456,
        invalid_rows="reject",
        # As long as an answer may take, and the day that is the default.
        max_lateness=timedelta(days=4),
    )
    check >> approve >> call
