"""Waits for the API's rate limit without holding a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class WaitTrigger(BaseTrigger):
    """Fire at a moment, with what the task has to know when it goes on.

    :param until: ISO 8601 text with an offset.
    :param give_up_at: when the task stops waiting for good, ISO 8601 text; handed back in the event, since a
        trigger is all that outlives a deferral.
    """

    def __init__(self, until: str, give_up_at: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.until = until
        self.give_up_at = give_up_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: two moments, nothing private."""
        return f"{type(self).__module__}.{type(self).__name__}", {
            "until": self.until,
            "give_up_at": self.give_up_at,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep by the wall clock, so that a restart of the triggerer does not wait anew."""
        moment = datetime.fromisoformat(self.until)
        while (left_s := (moment - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(left_s, 60.0))
        yield TriggerEvent({"give_up_at": self.give_up_at})  # type: ignore[no-untyped-call]  # Airflow's
