"""Where many wait in one event loop, whatever is done for all of them is done in parts."""

from __future__ import annotations

import asyncio
from typing import Any

from formant_provider.core.flows import AT_ONCE, breathe, proceed, send
from formant_provider.core.polling.async_poller import TOLD_AT_ONCE
from formant_provider.core.polling.news import Answer
from support.feeds import AGENT
from support.triggerer import LONG_OVER


def test_waits_that_end_together_are_told_in_turns(triggerer: Any) -> None:
    """Others have their turn in between, however many have ended."""
    t = triggerer(trace_id_in_list=True)
    calls = [t.sandbox.place(f"+1415{number + 2000:04}020", agent_id=AGENT) for number in range(100)]
    went_on = []

    async def story() -> None:
        passes = 0
        tasks = [t.wait(call) for call in calls]
        for task in tasks:
            task.add_done_callback(lambda _: went_on.append(passes))
        await t.until(lambda: t.lists > 0)
        t.sandbox.advance(LONG_OVER)
        while len(went_on) < len(tasks):
            passes += 1
            await asyncio.sleep(0)

    t.run(story)
    assert max(map(went_on.count, went_on)) <= TOLD_AT_ONCE


def test_a_poll_for_many_lets_others_go_on(triggerer: Any) -> None:
    """After a hundred records or people who wait it pauses for a moment; that asks the API nothing."""
    w = triggerer(trace_id_in_list=True).world
    calls = [w.sandbox.place(f"+1415{number + 2000:04}020", agent_id=AGENT) for number in range(250)]
    waiters = [w.join(call) for call in calls]
    w.sandbox.advance(LONG_OVER)
    w.feed.use(w.client)
    flow, ended = w.feed.poll(), []
    query = next(flow)
    while query is not None:
        if query is breathe:
            ended.append(sum(waiter.is_done for waiter in waiters))
        try:
            query = proceed(flow, send(query, w.client))
        except StopIteration:
            break
    assert all(waiter.outcome for waiter in waiters)
    assert ended == [0, 0, AT_ONCE - 1, 2 * AT_ONCE - 1]
    assert len(w.sandbox.requests) == 3


def test_many_events_are_heard_in_parts() -> None:
    """Each part says the same of everything else; an answer that tells nothing is one."""
    answer = Answer(told=list(range(450)), seq=7)  # type: ignore[arg-type]  # whatever they are
    parts = list(answer.in_parts(200))
    assert [list(part.told) for part in parts] == [
        list(range(200)),
        list(range(200, 400)),
        list(range(400, 450)),
    ]
    assert {part.seq for part in parts} == {7}
    assert list(Answer(seq=8).in_parts(200)) == [Answer(seq=8)]
