"""Waits for the API's rate limit without holding a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class WaitTrigger(BaseTrigger):
    """Fire at a moment, with what the task has to know when it continues.

    :param until: ISO 8601 text with an offset.
    :param give_up_at: when the task stops waiting for good, ISO 8601 text.
    :param doubt_since: when a send whose answer was lost may have left, ISO 8601 text; ``None`` when there
        was none. This and ``give_up_at`` are returned in the event: where Airflow keeps no task state, a
        trigger is all that outlives a deferral.
    """

    def __init__(self, until: str, give_up_at: str, doubt_since: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.until = until
        self.give_up_at = give_up_at
        self.doubt_since = doubt_since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: moments, nothing private."""
        names = ("until", "give_up_at", "doubt_since")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep by the wall clock, so that a restart of the triggerer does not start the wait again."""
        moment = datetime.fromisoformat(self.until)
        while (left_s := (moment - datetime.now(UTC)).total_seconds()) > 0:
            await asyncio.sleep(min(left_s, 60.0))
        payload = {"give_up_at": self.give_up_at, "doubt_since": self.doubt_since}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow's
