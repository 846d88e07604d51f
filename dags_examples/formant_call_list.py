"""A call list: each row of a file is called in its own daytime, at most three times, and reported on."""

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
    description="Calls everybody whose loan is due, until they are reached, and reports on each.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={
        # Enough for a first try. In production, use a location such as s3://connection@bucket/call-lists.
        "folder": Param(f"{gettempdir()}/formant", type="string"),
        "opens": Param(
            "09:00", type="string", description="by the clock of each person; 00:00 to try it now"
        ),
        "closes": Param("20:00", type="string", description="likewise; 24:00 to try it now"),
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task
    def due_loans(params: dict[str, str]) -> str:
        """Stand in for an export of your database. Only the path of its file goes to XCom."""
        file = Path(params["folder"]) / "due_loans.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="") as opened:
            rows = csv.writer(opened)
            rows.writerow(["customer_phone", "customer_name", "due_amount", "loan"])
            rows.writerow(["+14155550180", "Asha", 29000, "L-1"])
            rows.writerow(["+14155550101", "Rahul", 1250.5, "L-2"])
            rows.writerow(["+1415", "Vikram", 80, "L-3"])
        return str(file)

    FormantCallListOperator(
        task_id="call_list",
        agent_id=456,
        calls=due_loans(),
        columns={"reference": "loan"},
        calling_window=CallingWindow("{{ params.opens }}", "{{ params.closes }}"),
        attempts=Attempts(most=3, after={"no_answer": "2h", "busy": "15m"}),
        results_uri="{{ params.folder }}/called.csv",
        summary_uri="{{ params.folder }}/called.html",
    )
