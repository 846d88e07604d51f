"""Starts a second DAG when a call was placed; it reads the ids from the event of the agent's asset."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset, task

from formant_provider.operators.call import FormantCreateCallOperator

AGENT = Asset("formant://agents/456")

with DAG(
    "formant_asset",
    description="Places a call, and tells whoever listens to the agent.",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    tags=["formant"],
) as dag:
    FormantCreateCallOperator(
        task_id="call",
        agent_id=456,
        parameters={"customer_phone": "+14155550190", "customer_name": "Asha"},
        reference="LN-190",
        outlets=[AGENT],
        retries=3,
    )

with DAG(
    "formant_asset_reader",
    description="Starts when a task with the asset among its outlets has succeeded.",
    schedule=[AGENT],
    start_date=datetime(2026, 1, 1),
    tags=["formant"],
):

    @task
    def read(triggering_asset_events: Any = None) -> list[str]:
        """Stand in for whoever keeps an account of calls."""
        events = [event.extra for some in triggering_asset_events.values() for event in some]
        return [f"{each['reference']}: {each['trace_id']}" for each in events]

    read()
