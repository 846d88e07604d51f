"""A call list: calls each row of a file in the daytime of the person, up to three times, and reports on each."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import gettempdir

from airflow.sdk import DAG, Param, task

from formant_provider.attempts import Attempts
from formant_provider.calling_window import CallingWindow
from formant_provider.operators.call_list import FormantCallListOperator

with DAG(
    "formant_call_list",
    description="Calls everybody whose loan is due, each in their own daytime.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={
        # Enough for a first try. In production, use a location such as s3://connection@bucket/call-lists.
        "folder": Param(f"{gettempdir()}/formant", type="string"),
        "opens": "09:00",
        "closes": "20:00",
        "wait": Param("2h", description="how long after no answer somebody is called again"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task
    def due_loans(folder: str) -> str:
        """Stand in for an export of a database: its numbers are in no XCom."""
        file = Path(folder) / "due_loans.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="") as text:
            csv.writer(text).writerows([
                ("customer_phone", "customer_name", "due_amount", "loan"),
                ("+14155550180", "Asha", 29000, "L-1"),
                ("+14155550101", "Rahul", 1250.5, "L-2"),
                ("+14155550182", "Meera", 700, "L-3"),
                ("+1415", "Vikram", 80, "L-4"),
            ])  # fmt: skip
        return str(file)

    call_list = FormantCallListOperator(
        task_id="call_list",
        agent_id=456,
        calls=due_loans("{{ params.folder }}"),
        columns={"reference": "loan"},
        calling_window=CallingWindow(start="{{ params.opens }}", end="{{ params.closes }}"),
        attempts=Attempts(most=3, after={"no_answer": "{{ params.wait }}", "busy": "15m"}, per_day=2),
        results_uri="{{ params.folder }}/called.csv",
        summary_uri="{{ params.folder }}/called.html",
    )
