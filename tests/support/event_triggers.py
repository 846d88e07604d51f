"""Event triggers as a triggerer runs them: with Airflow's own streams where it has them, else alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from typing import Any

from formant_provider.triggers.event import FormantConversationEventTrigger
from support.supervisor import FakeSupervisor, supervised_by

HAS_CONFIRMATIONS = find_spec("airflow.triggers.shared_stream") is not None


class EventTriggerer:
    """A triggerer in which event triggers run.

    What they fire lies in ``fired``, and with an Airflow that confirms it is stored, so is told, unless
    ``stores`` was set to false.
    """

    def __init__(self) -> None:
        self.fired: list[dict[str, Any]] = []
        self.stores = True
        self.hold = False
        self.is_held = False
        self.errors: list[Exception] = []
        self._ids = count()
        self._tasks: list[asyncio.Task[None]] = []
        self._manager: Any = None
        if HAS_CONFIRMATIONS:
            import structlog
            from airflow.triggers.shared_stream import SharedStreamManager

            self._manager = SharedStreamManager(log=structlog.get_logger(), ack_timeout=5.0)

    def start(self, *triggers: FormantConversationEventTrigger) -> None:
        """Run triggers, as they come out of Airflow's database."""
        for each in triggers:
            again = type(each)(**each.serialize()[1])
            self._tasks.append(asyncio.create_task(self._run(next(self._ids), again)))

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60) -> None:
        """Wait for something to be so."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End all triggers, as a triggerer does that ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _run(self, trigger_id: int, trigger: FormantConversationEventTrigger) -> None:
        try:
            await self._fire(trigger_id, trigger)
        except Exception as error:
            self.errors.append(error)

    async def _fire(self, trigger_id: int, trigger: FormantConversationEventTrigger) -> None:
        key = trigger.shared_stream_key()
        if key is None:
            async for event in trigger.run():
                self.fired.append(event.payload)
            return
        stream = self._manager.subscribe(trigger_id=trigger_id, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                self.is_held = self.hold
                await asyncio.sleep(60 if self.hold else 0)  # as Airflow does when it logs that it was fired
                seq = self._manager.bind_pending_event(trigger_id=trigger_id, key=key)
                self.fired.append(event.payload)
                if self.stores:
                    asyncio.get_running_loop().call_later(0.01, self._manager.confirm_persisted, [seq])
        finally:
            await self._manager.unsubscribe(trigger_id, key)


def told_of(fired: Sequence[dict[str, Any]]) -> list[str]:
    """Return of which events was told."""
    return [payload["event_id"] for payload in fired]


def in_a_triggerer(channel: FakeSupervisor, story: Callable[[EventTriggerer], Any]) -> EventTriggerer:
    """Play a story in a triggerer that ends with it."""

    async def whole() -> EventTriggerer:
        triggerer = EventTriggerer()
        try:
            await asyncio.wait_for(story(triggerer), 30)
        finally:
            with suppress(asyncio.CancelledError):
                await triggerer.stop()
        return triggerer

    with supervised_by(channel):
        return asyncio.run(whole())
