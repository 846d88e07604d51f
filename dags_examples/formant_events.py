"""Starts a DAG when a conversation is over, as the vendor's webhooks tell it; no task waits for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from formant_provider.triggers.event import FormantConversationEventTrigger

CONVERSATIONS = Asset(
    "formant_conversations",
    watchers=[
        AssetWatcher(
            name="webhooks",
            trigger=FormantConversationEventTrigger(
                results=["intent"],
            ),
        )
    ],
)

with DAG(
    "formant_events",
    description="Handles the ends of conversations, which may be many in one run.",
    schedule=[CONVERSATIONS],
    start_date=datetime(2026, 1, 1),
    is_paused_upon_creation=True,  # the connection needs a call store, and a receiver that fills it
    tags=["formant"],
) as dag:

    @task
    def ended(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """Return each event once: the same may come again after a triggerer was ended."""
        told = [each.extra["payload"] for some in triggering_asset_events.values() for each in some]
        return list({each["event_id"]: each for each in told}.values())

    @task
    def handle(event: dict[str, Any]) -> str:
        """Stand in for the next step of a case, found by its reference."""
        if event["is_final_attempt"] is False:
            return "the vendor calls again"
        return f"{event['reference']}: {event['status']}, {event['results']['intent']}"

    handle.expand(event=ended())
