"""A thousand waits in one event loop: what each of them holds, and that they hold up nobody."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from waiting.conftest import channel_to

from formant_provider.api.fingerprints import Fingerprints
from formant_provider.core.conversations.waiters import Watch
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.calls import Call
from formant_provider.store.store import open_up
from formant_provider.store.webhook_events import record
from formant_provider.triggers.conversation import ConversationTrigger
from support.hearing import told_of
from support.isolation import process_left_alone
from support.loop_passes import longest_pass_s
from support.stores import SECRET, connections_with, sqlite_store
from support.supervisor import FakeSupervisor, supervised_by
from support.webhook_events import delivery

MANY, AGENT = 1000, 456
LONGEST_PASS_S = 0.05
MOST_BYTES = 4000


def place_many(sandbox: Sandbox, count: int = MANY) -> list[Call]:
    numbers = (f"+1415{number // 90 + 2000:04}{number % 90 + 10:02}0" for number in range(count))
    return [sandbox.place(number, agent_id=AGENT) for number in numbers]


def triggers_for(calls: list[Call], sandbox: Sandbox) -> list[ConversationTrigger]:
    """Make triggers as a triggerer does: of what is stored of them."""
    marks, now = Fingerprints(sandbox.api_key, AGENT), datetime.now(UTC)
    made = []
    for call in calls:
        watch = Watch(now, call.trace_id, None, marks.mark(call.customer_phone), poll_interval_s=1.0)
        receipt = {"trace_id": call.trace_id, "agent_id": AGENT, "placement": "placed", "status": "queued"}
        deadline = (now + timedelta(seconds=200)).isoformat()
        made.append(ConversationTrigger("formant_default", None, AGENT, watch.to_json(), deadline, receipt))
    return made


async def begin(triggers: list[ConversationTrigger]) -> list[asyncio.Task[Any]]:
    """Start triggers one after the other, as a triggerer does."""
    tasks = []
    for trigger in triggers:
        tasks.append(asyncio.ensure_future(anext(trigger.run())))
        await asyncio.sleep(0)
    return tasks


def longest_pass_of_many(
    sandbox: Sandbox, channel: FakeSupervisor, end: Callable[[list[Call]], None]
) -> float:
    """Let many wait, and all their calls end at once; return what the longest pass of the loop took."""
    calls = place_many(sandbox)

    async def story() -> None:
        triggers = triggers_for(calls, sandbox)
        warm = await begin(triggers[:1])
        await asyncio.sleep(1)  # what is imported once
        tasks = warm + await begin(triggers[1:])
        await asyncio.sleep(2.5)  # a poll of all of them
        await asyncio.to_thread(end, calls)
        fired = await asyncio.gather(*tasks)
        assert all(each.payload["conversation_id"] for each in fired)

    with process_left_alone(), supervised_by(channel):
        return longest_pass_s(story())


@pytest.mark.timeout(180)
def test_a_thousand_waits_that_polls_end_block_nobody(make_sandbox: Any) -> None:
    """While they begin, are looked for and end at once, no pass of the event loop takes 50 ms of CPU."""
    sandbox = make_sandbox(speed=0, record_appears="start", trace_id_in_list=True)
    longest_s = longest_pass_of_many(sandbox, channel_to(sandbox), lambda _: sandbox.advance(200))
    assert longest_s < LONGEST_PASS_S


@pytest.mark.timeout(180)
def test_a_thousand_waits_that_webhooks_end_block_nobody(make_sandbox: Any) -> None:
    """Nor when a thousand events come at once."""
    sandbox = make_sandbox(speed=0, record_appears="end")
    with sqlite_store() as database:
        store = open_up(database.engine(), "the test", SECRET)

        def tell(calls: list[Call]) -> None:
            now = datetime.now(UTC)
            record(store, [delivery(told_of(call, "completed"), received_at=now) for call in calls])

        channel = FakeSupervisor(connections_with(database, sandbox))
        longest_s = longest_pass_of_many(sandbox, channel, tell)
        assert longest_s < LONGEST_PASS_S


def test_a_wait_holds_little(make_sandbox: Any) -> None:
    """A trigger that waits holds less than 4 KB of Python's memory, with all that belongs to it."""
    sandbox = make_sandbox(speed=0, record_appears="start", trace_id_in_list=True)
    calls = place_many(sandbox, 220)

    async def story() -> float:
        stored = [trigger.serialize()[1] for trigger in triggers_for(calls, sandbox)]
        tasks = await begin([ConversationTrigger(**arguments) for arguments in stored[:20]])
        await asyncio.sleep(1.5)
        tracemalloc.start()
        try:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            tasks += await begin([ConversationTrigger(**arguments) for arguments in stored[20:]])
            await asyncio.sleep(1.5)
            gc.collect()
            return (tracemalloc.get_traced_memory()[0] - before) / 200
        finally:
            tracemalloc.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with process_left_alone(), supervised_by(channel_to(sandbox)):
        assert asyncio.run(story()) < MOST_BYTES
