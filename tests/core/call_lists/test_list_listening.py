"""When a call list comes back to its polls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.retry import Quota
from formant_provider.core.call_lists.listening import Clients, Listening
from formant_provider.core.call_lists.pace import Pace
from formant_provider.core.conversations.waiters import Watch

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
Asked = list[tuple[Callable[[], Any], Callable[[Any], None]]]


def waiting_for_a_call(pace: Pace, asked: Asked) -> Listening:
    """Return what waits for one call, and would send a request at once; none is ever answered."""

    def elsewhere(work: Callable[[], Any], came: Callable[[Any], None]) -> None:
        asked.append((work, came))

    clients = Clients(lambda: FormantClient(ClientConfig("http://127.0.0.1:1", "key")), lambda: None, ())
    listening = Listening(clients, pace, lambda: NOW, elsewhere)
    watch = Watch(NOW, "trace", None, has_begun=True)
    listening.join(1, 456, watch, NOW + timedelta(hours=1))
    listening.advance()
    return listening


def pace_after(quota: Quota) -> Pace:
    pace = Pace(lambda: NOW)
    pace.begin()
    pace.end()
    pace.on_success(quota)
    return pace


def test_a_poll_is_asked_while_there_is_room() -> None:
    """Nothing else is to be done until its answer is there."""
    asked: Asked = []
    listening = waiting_for_a_call(pace_after(Quota(99, 60.0, 100)), asked)
    assert len(asked) == 1
    assert listening.next_step_at() is None


def test_a_poll_without_room_is_not_come_back_to_over_and_over() -> None:
    """When the limit is used up, the next moment is that of the next window."""
    asked: Asked = []
    listening = waiting_for_a_call(pace_after(Quota(0, 60.0, 100)), asked)
    assert not asked
    moment = listening.next_step_at()
    assert moment is not None
    assert (moment - NOW).total_seconds() == pytest.approx(60.05)


def test_a_poll_whose_share_is_used_up_lets_the_loop_rest() -> None:
    """While calls are to be placed, polls have some requests of a window, and wait for the next one."""
    asked: Asked = []
    pace = pace_after(Quota(99, 60.0, 100))
    pace.is_busy = True
    while pace.has_room_for_poll():
        pace.begin(is_poll=True)
        pace.end()
    moment = waiting_for_a_call(pace, asked).next_step_at()
    assert not asked
    assert moment is not None
    assert moment - NOW >= timedelta(seconds=1)
