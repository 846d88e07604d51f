"""What is read of a webhook's body, whatever stands in it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.api.webhook_models import WebhookEvent
from support.webhook_events import AT, NUMBER, webhook


def read(event: dict[str, Any]) -> WebhookEvent:
    return WebhookEvent.from_body(json.dumps(event).encode())


@pytest.mark.parametrize(
    ("said", "next_at"),
    [
        ("2026-03-18T16:00:00+05:30", AT + timedelta(minutes=30)),
        ("2026-05-17T10:00:00Z", AT + timedelta(days=60)),
        ("2026-05-17T10:00:01Z", None),
        ("2026-03-17T09:59:59Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59-05:00", None),
        ("0001-01-01T00:00:00+05:53", None),
    ],
)
def test_a_redial_is_announced_for_a_moment_near_its_event(said: str, next_at: Any) -> None:
    """Times are reckoned with it, so one at the end of the calendar is as good as none."""
    event = read(webhook(retry={"is_final_attempt": False, "next_retry_at": said}))
    assert event.attempt.next_at == event.attempt.announced_at == next_at


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+05:53", "9999-12-31T23:59:59-05:00"])
def test_an_event_is_refused_whose_moment_is_none_in_utc(moment: str) -> None:
    """Everybody reckons in UTC; such a time of a call is not known."""
    with pytest.raises(InvalidInput, match="timestamp"):
        read(webhook(timestamp=moment))
    told = read(webhook(started_at="9999-12-31T23:59:59-05:00", ended_at=moment)).conversation
    assert told is not None
    assert (told.start_timestamp, told.end_timestamp) == (None, None)


def test_a_number_that_is_far_too_long_is_nobody_s() -> None:
    """Python reads no integer of 5000 digits; whoever is on the other side of the call is still known."""
    event = read(webhook(to_phone=NUMBER, from_phone="1" * 5000))
    assert event.numbers() == {int(NUMBER)}


def test_a_body_that_is_nested_deeply_is_refused() -> None:
    """Whoever walks through it later may have less room left than there was when it came."""
    deep: Any = "end"
    for _ in range(90):
        deep = [deep]
    assert read(webhook(results={"deep": deep})).conversation is not None
    with pytest.raises(InvalidInput, match="body"):
        read(webhook(results={"deep": [[[[[[[[[[deep]]]]]]]]]]}))
