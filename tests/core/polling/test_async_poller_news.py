"""Questions for news that an event loop asks."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from formant_provider.core.conversations.feed import Feed
from formant_provider.core.polling.async_poller import Poller
from formant_provider.core.polling.news import Answer, AskNews, Question
from formant_provider.core.polling.pacing import RateLimiter
from formant_provider.core.polling.waits import utc_now


def test_a_store_that_hangs_is_asked_one_thing_at_a_time() -> None:
    """However many feeds ask such a store, another one is asked at once."""
    go_on, asked = threading.Event(), []

    class Hanging:
        def read(self, question: Question) -> Answer:
            asked.append(question)
            go_on.wait(20)
            return Answer()

    class Healthy:
        def read(self, _: Question) -> Answer:
            return Answer(seq=7)

    async def ask() -> Any:
        pollers: list[Any] = [Poller(Feed(1, utc_now), RateLimiter(utc_now), None) for _ in range(7)]  # type: ignore[arg-type]
        hanging, healthy = AskNews(Hanging(), Question(1)), AskNews(Healthy(), Question(1))
        first = [asyncio.create_task(each._answer_to(hanging)) for each in pollers[:6]]
        await asyncio.sleep(0.1)
        again = [await asyncio.wait_for(each._answer_to(hanging), 1) for each in pollers[:6]]
        answer = await asyncio.wait_for(pollers[6]._answer_to(healthy), 1)
        go_on.set()
        await asyncio.gather(*first)
        return again, answer

    again, answer = asyncio.run(ask())
    assert len(asked) == 6
    assert set(again) == {"The call store has not answered within 10 s"}
    assert answer == Answer(seq=7)
