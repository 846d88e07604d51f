"""A call list from a query, with `@task.formant_call_list`: two agents share the people, and are compared."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from tempfile import gettempdir
from typing import Any

from airflow.sdk import DAG, Param, task

from formant_provider.stop_when import StopWhen

QUERY = """
    WITH orders (number, phone, name) AS (
        VALUES (17, '+14155550183', 'Asha'), (18, '+14155550184', 'Rahul'), (19, '+14155550103', 'Meera')
    )
    SELECT phone AS customer_phone, name AS customer_name, number AS reference FROM orders
"""

with DAG(
    "formant_call_list_decorated",
    description="Asks how a delivery was, with two agents, and compares them.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={"folder": Param(f"{gettempdir()}/formant", type="string")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["formant"],
) as dag:

    @task.formant_call_list(
        agents={456: 0.5, 789: 0.5},
        # A script that fails is noticed early, and a list of the wrong people costs no fortune.
        stop_when=StopWhen(failed_above=80, after=100, minutes=2000),
        # While this Airflow Variable is true, nobody is called.
        hold_variable="formant_hold",
        results_uri="{{ params.folder }}/surveys.jsonl",
        result_columns={"intent": "results.intent"},
        poll_interval=timedelta(seconds=10),
    )
    def survey() -> list[dict[str, Any]]:
        """Return whom to call. In production, ask the hook of your database, such as PostgresHook."""
        with closing(sqlite3.connect(":memory:")) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(QUERY)]

    @task
    def compare(result: dict[str, Any]) -> dict[str, str]:
        """Return how many of the people whom each agent called were reached."""
        agents = result["variants"].items()
        return {agent_id: f"{people['reached']} of {people['called']}" for agent_id, people in agents}

    compare(survey())
