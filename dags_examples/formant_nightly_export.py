"""Exports the conversations of each day to a file, and computes the percentage of completed calls."""

from __future__ import annotations

from datetime import datetime, timedelta
from tempfile import gettempdir
from typing import Any

from airflow.sdk import DAG, Param, task
from airflow.timetables.interval import CronDataIntervalTimetable

from formant_provider.operators.export import FormantExportConversationsOperator

with DAG(
    "formant_nightly_export",
    description="Exports yesterday's conversations as JSON Lines.",
    # With "0 1 * * *" instead of the timetable, the data intervals of Airflow 3 would have no length.
    schedule=CronDataIntervalTimetable("0 1 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    # Enough for a first try. In production, use a location such as s3://connection@bucket/calls.
    params={"folder": Param(f"{gettempdir()}/formant", type="string")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    tags=["formant"],
) as dag:
    export = FormantExportConversationsOperator(
        task_id="export",
        agent_id=456,
        # A call that began before midnight has ended by one o'clock, and has its record.
        start="{{ data_interval_end.start_of('day').subtract(days=1) }}",
        end="{{ data_interval_end.start_of('day') }}",
        output_uri="{{ params.folder }}/{{ data_interval_end.subtract(days=1) | ds }}.jsonl.gz",
        # contact_number is not among them, so the file contains no phone number.
        fields=["conversation_id", "status", "started_at", "duration_seconds", "failure_reason", "results"],
    )

    @task
    def completed_percent(exported: dict[str, Any]) -> float | None:
        """Return the percentage of completed calls; None if there were no calls."""
        if not exported["count"]:
            return None
        return round(100 * exported["by_status"].get("completed", 0) / exported["count"], 1)

    completed_percent(export.output)
