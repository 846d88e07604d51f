from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import BadResponse, InvalidInput
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.history import LONGEST_CALL, History, Interval, to_interval
from formant_provider.core.paging import MAX_PAGES
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.settings import ListOrder
from support.feeds import Board
from support.feeds import row as a_row
from support.scripted_server import Answer, ScriptedServer, Seen

KEY = "key-1234567"
NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
AGENT = 456
HOUR = timedelta(hours=1)
AFTERNOON = Interval(NOON + 2 * HOUR, NOON + 6 * HOUR)
LISTED = ("conversation_id", "status", "started_at")


def a_sandbox(**settings: Any) -> Sandbox:
    return Sandbox(**{"api_key": KEY, "speed": 0, "start_at": NOON, "rate_limit": None, **settings})


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with a_sandbox() as sandbox:
        yield sandbox


def place(sandbox: Sandbox, *minutes: float, number: str = "+14155550100") -> None:
    """Place a call so many minutes after noon, each."""
    for minute in minutes:
        sandbox.place(number, scheduled_for=NOON + timedelta(minutes=minute))


def read(
    server: Any, interval: Interval = AFTERNOON, fields: tuple[str, ...] = LISTED
) -> tuple[list[Conversation], History]:
    with (
        FormantClient(ClientConfig(server.base_url, KEY), sleep=lambda _: None) as client,
        History(client, AGENT, interval) as history,
    ):
        history.read_list()
        return list(history.records(fields)), history


def starts(records: list[Conversation]) -> list[float]:
    """How many minutes after noon each record began."""
    return [((record.start_timestamp or 0) / 1000 - NOON.timestamp()) / 60 for record in records]


def count(sandbox: Sandbox, endpoint: str) -> int:
    return sum(seen.endpoint == endpoint for seen in sandbox.requests)


@pytest.mark.parametrize("order", get_args(ListOrder))
@pytest.mark.parametrize("seconds_per_request", [0, 45, 200])
@pytest.mark.parametrize("appears", ["start", "end"])
def test_nothing_is_missed_or_read_twice_while_calls_come_in(
    order: str, seconds_per_request: float, appears: str
) -> None:
    """In every order of the list, with up to eight new records between two pages, none is missing."""
    settings = {"list_order": order, "seconds_per_request": seconds_per_request, "record_appears": appears}
    with a_sandbox(**settings) as sandbox:
        place(sandbox, *(0.1 + number * 0.4 for number in range(1500)))  # ten hours of calls
        sandbox.advance(7 * 3600)
        records, _ = read(sandbox)
        wanted = {
            call.conversation_id
            for call in sandbox.calls
            if AFTERNOON.start <= call.starts_at < AFTERNOON.end
        }
    found = [record.conversation_id for record in records]
    assert len(wanted) == 600
    assert (len(found), set(found)) == (600, wanted)
    assert starts(records) == sorted(starts(records))
    assert len(sandbox.requests) < 2 * 1500 / 100


def test_a_long_call_from_before_does_not_end_the_search() -> None:
    """Sorted by their end, one long call from before the interval stands in front of short ones within it."""
    rows = [row(minute) for minute in range(400, 201, -2)]
    rows[99] = row(100, ends=203)  # the last of its page
    rows += [row(minute) for minute in range(200, 110, -2)]
    assert LONGEST_CALL >= 2 * HOUR
    with ScriptedServer(Board(rows).answer) as server:
        records, _ = read(server)
    assert starts(records) == [*range(120, 202, 2), *range(204, 360, 2)]


def row(minute: float | None, ends: float | None = None, **fields: Any) -> dict[str, Any]:
    """A record of the list that began so many minutes after noon."""
    if minute is None:
        return a_row("none", start_timestamp=None, end_timestamp=None, **fields)
    end_ms = int((NOON.timestamp() + (ends or minute) * 60) * 1000)
    return a_row(f"c{minute}", minute * 60, **{"end_timestamp": end_ms, **fields})


def test_the_interval_has_its_start_and_not_its_end(sandbox: Sandbox) -> None:
    """A conversation that began at the start belongs to it, one at the end to the next."""
    place(sandbox, 119.999, 120, 359.999, 360)
    sandbox.advance(24 * 3600)
    assert starts(read(sandbox)[0]) == [120, pytest.approx(359.999)]
    following = Interval(AFTERNOON.end, AFTERNOON.end + HOUR)
    assert starts(read(sandbox, following)[0]) == [360]


def test_other_agents_are_left_out(sandbox: Sandbox) -> None:
    """Only the agent's own conversations are read."""
    place(sandbox, 130)
    sandbox.place("+14155550100", agent_id=789, scheduled_for=NOON + 3 * HOUR)
    sandbox.advance(24 * 3600)
    assert starts(read(sandbox)[0]) == [130]


def test_details_are_read_only_when_they_are_wanted(sandbox: Sandbox) -> None:
    """One request for each conversation of the interval, and none for what the list tells."""
    place(sandbox, 10, 130, 140, 400)
    sandbox.advance(24 * 3600)
    read(sandbox)
    assert (count(sandbox, LIST_CONVERSATIONS), count(sandbox, GET_CONVERSATION)) == (1, 0)
    records, _ = read(sandbox, fields=("results", "transcript", "failure_reason"))
    assert count(sandbox, GET_CONVERSATION) == 2
    assert all(record.results and record.transcript for record in records)
    assert starts(records) == [130, 140]


@pytest.mark.parametrize(("in_list", "requests"), [(True, 0), (False, 1)])
def test_the_trace_id_is_looked_up_where_the_list_lacks_it(in_list: bool, requests: int) -> None:
    """A trace id that the list tells costs nothing."""
    with a_sandbox(trace_id_in_list=in_list) as sandbox:
        place(sandbox, 130)
        sandbox.advance(24 * 3600)
        (record,), _ = read(sandbox, fields=("trace_id",))
    assert record.trace_id == sandbox.calls[0].trace_id
    assert count(sandbox, GET_CONVERSATION) == requests


def test_a_detail_that_is_not_there_leaves_what_the_list_told(sandbox: Sandbox) -> None:
    """A 404 on one detail loses no conversation."""
    place(sandbox, 130, 140)
    sandbox.advance(24 * 3600)
    sandbox.inject(GET_CONVERSATION, Fault.NOT_FOUND)
    first, second = read(sandbox, fields=("results",))[0]
    assert (first.status, first.results) == ("completed", None)
    assert second.results


def test_a_detail_takes_nothing_away() -> None:
    """The vendor's sample of a detail has no times: those of the list stay."""
    detail = {"conversation_id": "c130", "status": "completed", "results": {"intent": "paid"}}
    board = Board([row(130, duration_seconds=7)], details={"c130": Answer(body={"data": detail})})
    with ScriptedServer(board.answer) as server:
        (record,), _ = read(server, fields=("results",))
    assert (starts([record]), record.duration_seconds) == ([130], 7)
    assert record.results == {"intent": "paid"}


def test_a_record_without_a_time_is_counted_and_left_out() -> None:
    """It belongs to no interval, and nobody may think that there is none."""
    rows = [row(150), {**row(None), "conversation_id": "x"}, row(130), {**row(None), "conversation_id": "y"}]
    with ScriptedServer(Board(rows).answer) as server:
        records, history = read(server)
    assert starts(records) == [130, 150]
    assert history.undated == 2


def test_a_list_without_an_end_is_an_error() -> None:
    """Rather no file than one that lacks what was not reached."""
    numbers = itertools.count()

    def endless(_: Seen) -> Answer:
        page = [{**row(9_000), "conversation_id": f"c{next(numbers)}"} for _ in range(3)]
        return Answer(body={"data": page, "has_more": True})

    with ScriptedServer(endless) as server, pytest.raises(BadResponse, match="may be missing"):
        read(server)
    assert len(server.seen) == MAX_PAGES


@pytest.mark.parametrize(
    ("start", "end", "field", "reason"),
    [
        (None, NOON, "start", "CronDataIntervalTimetable"),
        (NOON, None, "end", "give start and end"),
        (NOON, NOON, "end", "CronDataIntervalTimetable"),
        (NOON, NOON - HOUR, "end", "lies before start"),
        (NOON.replace(tzinfo=None), NOON, "start", "no time zone"),
        ("2026-03-18T12:00:00", NOON, "start", "no time zone"),
        (NOON, "tomorrow", "end", "not ISO 8601"),
        (NOON, "None", "end", "not ISO 8601"),
        (1773835200, NOON, "start", "must be a datetime or ISO 8601 text; got int"),
    ],
)
def test_an_invalid_interval_is_refused(start: Any, end: Any, field: str, reason: str) -> None:
    """The error names the field and, for an interval without length, what to do."""
    with pytest.raises(InvalidInput, match=reason) as caught:
        to_interval(start, end)
    assert caught.value.field == field


def test_an_interval_may_be_given_as_text() -> None:
    """As a template writes a pendulum datetime, or as the vendor writes a time."""
    interval = to_interval("2026-03-18 12:00:00+00:00", "2026-03-18T21:00:00+05:30")
    assert (interval.start, interval.end) == (NOON, NOON + 3.5 * HOUR)
    assert interval.start_ms == 1773835200000


def test_progress_is_logged_by_time(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """At most once a minute, of the list and of what is read in detail, however many records there are."""
    place(sandbox, *range(120, 240))
    sandbox.advance(86400)
    caplog.set_level("INFO")
    seconds = itertools.count(step=1.5)
    with (
        FormantClient(ClientConfig(sandbox.base_url, KEY, 2.0, 5.0)) as client,
        History(client, AGENT, AFTERNOON, clock=lambda: next(seconds)) as history,
    ):
        history.read_list()
        assert len(list(history.records(["results"]))) == 120
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("history")]
    # 120 records of the list and 120 details, each 1.5 seconds after the one before: six minutes.
    assert lines == [
        *(f"The list of conversations is being read: {count} so far." for count in (39, 79, 119)),
        *(f"{count} of 120 conversations are read in detail." for count in (40, 80, 120)),
    ]
