"""A line that would repeat for half a day fills no log."""

from __future__ import annotations

import logging

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.log_throttle import LogThrottle
from support.scripted_server import Answer, ScriptedServer

LIMITED = Answer(status=429, headers={"Retry-After": "20"}, body={"error": {"code": "rate_limit_exceeded"}})
RECORD = Answer(body={"data": {"conversation_id": "c", "agent_id": 456}})


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(("minutes", "lines"), [(0.9, 0), (1, 1), (10, 10), (60, 28), (14 * 60, 56)])
def test_a_long_read_has_few_lines(minutes: float, lines: int) -> None:
    """One a minute at most, and fewer the longer it takes."""
    clock = Clock()
    throttle, logged = LogThrottle(clock), []
    while clock.seconds < 1000 + 60 * minutes:
        clock.seconds += 1
        logged.append(throttle.is_due())
    assert sum(logged) == lines


def test_only_the_first_of_many_waits_for_the_rate_limit_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The others are in the debug log; a request that is refused again is shown in any case."""
    answers = [LIMITED, RECORD, LIMITED, RECORD, LIMITED, LIMITED, RECORD]
    caplog.set_level(logging.DEBUG)
    with (
        ScriptedServer(*answers) as server,
        FormantClient(ClientConfig(server.base_url, "key-1234567"), sleep=lambda _: None) as client,
    ):
        for _ in range(3):
            client.get_conversation("c")
    lines = [record for record in caplog.records if "sending again in" in record.getMessage()]
    assert [line.levelname for line in lines] == ["WARNING", "DEBUG", "DEBUG", "WARNING"]
