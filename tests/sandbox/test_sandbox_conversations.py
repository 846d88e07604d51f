from __future__ import annotations

import pytest

from formant_provider.sandbox.numbers import COMPLETED, ENDINGS, ending_of, table_rows

PHONE = "+14155550100"
START_MS = 1_773_835_200_000
IN_AN_HOUR = "2026-03-18T13:00:00Z"


def test_the_record_of_a_completed_call(start):
    """A finished call has a record: epoch milliseconds, results, transcript, the receipt's trace."""
    api = start()
    trace_id = api.call().json()["data"]["trace_id"]
    api.sandbox.advance(142)
    record = api.only_record()
    assert record.pop("conversation_id") == api.sandbox.calls[0].conversation_id
    assert [turn["role"] for turn in record.pop("transcript")] == ["agent", "human", "agent"]
    assert record == {
        "agent_id": 456,
        "contact_number": "+14155550100",
        "duration_seconds": 142,
        "start_timestamp": START_MS,
        "end_timestamp": START_MS + 142_000,
        "failure_reason": None,
        "results": {"intent": "payment_confirmed", "sentiment": "positive"},
        "status": "completed",
        "trace_id": trace_id,
    }


def test_transcripts_are_not_ascii(start):
    """The transcript is UTF-8 with more than ASCII in it, so a client's decoding is tested."""
    api = start()
    api.call()
    api.sandbox.advance(142)
    answer = api.conversation(api.sandbox.calls[0].conversation_id)
    assert "हाँ" in answer.content.decode("utf-8")


@pytest.mark.parametrize("digits", [f"{number:02}" for number in range(1, 8)])
def test_the_last_two_digits_decide_the_outcome(start, digits):
    """Numbers ending in 01 to 07 end as the table says, and were no conversation."""
    api = start()
    api.call(f"+141555501{digits}")
    ending = ENDINGS[digits]
    api.sandbox.advance(ending.lasts_seconds - 1)
    assert api.conversations().json()["total"] == 0
    api.sandbox.advance(1)
    record = api.only_record()
    assert (record["status"], record["duration_seconds"]) == (ending.status, ending.duration_seconds)
    assert record["failure_reason"] == ending.failure_reason
    assert record["end_timestamp"] == START_MS + ending.lasts_seconds * 1000
    assert (record["transcript"], record["results"]) == (None, None)


def test_the_table_of_numbers():
    """The table has every outcome the vendor has a word for, one it has not, and completes the rest."""
    words = ["no_answer", "busy", "failed", "unreachable", "socket_failure", "telephony_failed"]
    assert [ENDINGS[f"{number:02}"].status for number in range(1, 7)] == words
    assert ENDINGS["07"].status not in {*words, "completed", "initiated", "scheduled"}
    assert ending_of("+14155550110") is ending_of("+14155550100") is COMPLETED
    assert [row["ends_in"] for row in table_rows()] == [*ENDINGS, "any other"]


def test_a_record_that_never_appears(start):
    """A number ending in 08 is talked to, but has no record, ever."""
    api = start()
    api.call("+14155550108")
    api.sandbox.advance(100 * 24 * 3600)
    assert api.conversations().json() == {"data": [], "has_more": False, "total": 0}
    assert api.conversation(api.sandbox.calls[0].conversation_id).status_code == 404
    assert api.sandbox.rings == {"+14155550108": 1}


@pytest.mark.parametrize("appears", ["end", "start"])
def test_a_record_that_appears_late(start, appears):
    """A number ending in 09 gets its record 60 s after the call ended, wherever others get theirs."""
    api = start(record_appears=appears)
    api.call("+14155550109")
    api.sandbox.advance(142 + 59)
    assert api.conversations().json()["total"] == 0
    api.sandbox.advance(1)
    assert api.only_record()["end_timestamp"] == START_MS + 142_000


def test_a_record_can_appear_at_the_start(start):
    """With ``record_appears="start"`` a running call has a record with a progress word and no end yet."""
    api = start(record_appears="start")
    api.call()
    record = api.only_record()
    assert record["status"] == "in_progress"
    empty = ["duration_seconds", "end_timestamp", "failure_reason", "results", "transcript"]
    assert [record[name] for name in empty] == [None] * 5
    api.sandbox.advance(142)
    assert api.only_record()["status"] == "completed"


def test_a_scheduled_call_starts_on_time(start):
    """A scheduled call has no record before its time, and starts at its time, not when it was placed."""
    api = start(record_appears="start")
    api.call(scheduled_for=IN_AN_HOUR)
    api.sandbox.advance(3599)
    assert api.conversations().json()["total"] == 0
    api.sandbox.advance(1)
    assert api.only_record()["start_timestamp"] == START_MS + 3_600_000


def test_the_record_id_is_not_the_receipts_id(start):
    """The record of a call is found under its own id, not under the id its receipt gave."""
    api = start(receipt_conversation_id="always")
    given = api.call().json()["data"]["conversation_id"]
    api.sandbox.advance(142)
    assert api.conversation(given).status_code == 404
    assert api.only_record()["conversation_id"] == f"{given}_1"


def place_three(api):
    for agent_id in (123, 456, 123):
        api.call("+14155550102", agent_id=agent_id)
        api.sandbox.advance(10)
    return [call.conversation_id for call in api.sandbox.calls]


def ids(answer):
    return [item["conversation_id"] for item in answer.json()["data"]]


@pytest.mark.parametrize(("order", "step"), [("newest_first", -1), ("oldest_first", 1)])
def test_the_order_of_the_list_is_a_switch(start, order, step):
    """The list is ordered by start of the call, newest or oldest first."""
    api = start(list_order=order)
    placed = place_three(api)
    assert ids(api.conversations()) == placed[::step]


def test_calls_that_start_together_keep_their_order(start):
    """Calls that start at the same instant are ordered by when they were placed."""
    api = start()
    for _ in range(3):
        api.call("+14155550102")
    api.sandbox.advance(10)
    assert ids(api.conversations()) == [call.conversation_id for call in api.sandbox.calls][::-1]


def test_the_order_is_by_start_not_by_placing(start):
    """A call scheduled first and starting last is the newest."""
    api = start()
    api.call(scheduled_for=IN_AN_HOUR)
    api.call()
    api.sandbox.advance(2 * 3600)
    scheduled, immediate = (call.conversation_id for call in api.sandbox.calls)
    assert ids(api.conversations()) == [scheduled, immediate]


def test_the_order_can_be_by_the_end(start):
    """By end, newest first: a long call comes before a short one that started later, a running one first."""
    api = start(list_order="newest_end_first", record_appears="start")
    long, short = api.sandbox.place("+14155550100"), api.sandbox.place("+14155550102")
    api.sandbox.advance(100)
    running = api.sandbox.place("+14155550100")
    assert ids(api.conversations()) == [call.conversation_id for call in (running, long, short)]
    api.sandbox.advance(142)
    assert ids(api.conversations()) == [call.conversation_id for call in (running, long, short)]


def test_the_list_can_be_unordered(start):
    """Unordered is neither by start nor by end, but the same on every look; new records come in anywhere."""
    api = start(list_order="unordered")
    placed = [api.sandbox.place("+14155550102").conversation_id for _ in range(50)]
    api.sandbox.advance(5)
    first = ids(api.conversations(limit=100))
    assert first not in (placed, placed[::-1])
    assert ids(api.conversations(limit=100)) == first
    pages = [ids(api.conversations(limit=7, offset=offset)) for offset in range(0, 50, 7)]
    assert [record for page in pages for record in page] == first
    new = [api.sandbox.place("+14155550102").conversation_id for _ in range(50)]
    api.sandbox.advance(5)
    grown = ids(api.conversations(limit=100))
    assert [record for record in grown if record in placed] == first
    assert set(grown[:50]) not in (set(placed), set(new))


@pytest.mark.parametrize("order", ["newest_first", "oldest_first", "newest_end_first", "unordered"])
@pytest.mark.parametrize("few", [True, False])
def test_records_that_come_in_later_find_their_place(start, order, few):
    """Whether records come in one by one or all together, the order of the list is the same."""
    api = start(list_order=order, record_appears="end", rate_limit=None)
    for number in range(300):
        api.sandbox.place(f"+141555501{number % 10:02}")
        api.sandbox.advance(1)
        if few:
            api.conversations(limit=1)
    api.sandbox.advance(300)
    pages = [api.conversations(limit=100, offset=offset).json() for offset in (0, 100, 200)]
    records = [item for page in pages for item in page["data"]]
    assert len({item["conversation_id"] for item in records}) == 270
    field = "end_timestamp" if order == "newest_end_first" else "start_timestamp"
    moments = [item[field] for item in records]
    expected = {"oldest_first": sorted(moments), "unordered": moments}
    assert moments == expected.get(order, sorted(moments, reverse=True))


def test_the_list_is_paged(start):
    """``limit`` and ``offset`` select a page; ``total`` counts it all, ``has_more`` says if more follow."""
    api = start()
    newest, middle, oldest = place_three(api)[::-1]
    first, second = api.conversations(limit=2), api.conversations(limit=2, offset=2)
    assert ids(first) == [newest, middle]
    assert ids(second) == [oldest]
    assert [(page.json()["has_more"], page.json()["total"]) for page in (first, second)] == [
        (True, 3),
        (False, 3),
    ]
    assert not api.conversations(limit=3).json()["has_more"]
    assert api.conversations(offset=3).json() == {"data": [], "has_more": False, "total": 3}


def test_a_page_holds_20_by_default(start):
    """Without ``limit`` a page has 20 items."""
    api = start()
    for _ in range(21):
        api.call("+14155550102")
    api.sandbox.advance(10)
    answer = api.conversations().json()
    assert (len(answer["data"]), answer["has_more"], answer["total"]) == (20, True, 21)


def test_the_list_can_be_filtered_by_agent(start):
    """``agent_id`` selects the calls of that agent, and none for an agent without calls."""
    api = start()
    first, _, third = place_three(api)
    assert ids(api.conversations(agent_id=123)) == [third, first]
    assert api.conversations(agent_id=999).json() == {"data": [], "has_more": False, "total": 0}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit must be at least 1"),
        ("limit=101", "limit must be at most 100"),
        ("limit=ten", "limit must be an integer"),
        ("limit=", "limit must be an integer"),
        ("limit=1.0", "limit must be an integer"),
        ("limit=%2B1", "limit must be an integer"),
        ("limit=1_0", "limit must be an integer"),
        ("limit=%D9%A1", "limit must be an integer"),
        ("limit=" + "9" * 5000, "limit must be an integer"),
        ("offset=-1", "offset must be an integer"),
        ("agent_id=abc", "agent_id must be an integer"),
        ("limit=1&limit=2", "query parameters must not repeat a name"),
        ("status=completed", "status is not a known field"),
        ("page=2", "page is not a known field"),
    ],
)
def test_a_query_that_is_not_as_documented_is_refused(start, query, message):
    """A value out of range or ill-typed, a repeated name and an unknown filter are a 400."""
    answer = start().send("GET", f"/v1/conversations?{query}")
    assert answer.status_code == 400
    assert answer.json() == {"error": {"message": message, "type": "invalid_request"}}


@pytest.mark.parametrize("query", [{"limit": 1}, {"limit": 100}, {"offset": 0}, {"agent_id": 1}])
def test_the_bounds_of_the_query_are_allowed(start, query):
    """The smallest and the largest values pass."""
    assert start().conversations(**query).status_code == 200


@pytest.mark.parametrize("in_list", [False, True])
@pytest.mark.parametrize("in_detail", [False, True])
def test_where_trace_ids_appear_is_a_switch(start, in_list, in_detail):
    """List items and details have the trace id of the receipt, or no such field, each by its own setting."""
    api = start(trace_id_in_list=in_list, trace_id_in_detail=in_detail)
    trace_id = api.call().json()["data"]["trace_id"]
    api.sandbox.advance(142)
    (item,) = api.conversations().json()["data"]
    assert item.get("trace_id", "left out") == (trace_id if in_list else "left out")
    assert api.only_record().get("trace_id", "left out") == (trace_id if in_detail else "left out")


@pytest.mark.parametrize(
    ("choice", "shown"), [("full", PHONE), ("masked", "+1415*****00"), ("none", "left out")]
)
def test_the_list_may_mask_or_omit_numbers(start, choice, shown):
    """``list_numbers`` masks the number in the list or leaves it out; the detail has it in full."""
    api = start(list_numbers=choice)
    call = api.sandbox.place(PHONE)
    api.sandbox.advance(142)
    (item,) = api.conversations().json()["data"]
    assert item.get("contact_number", "left out") == shown
    assert api.conversation(call.conversation_id).json()["data"]["contact_number"] == PHONE


def test_a_detail_may_come_without_times(start):
    """Without ``times_in_detail`` a detail has no start and no end, like the vendor's sample."""
    api = start(times_in_detail=False)
    api.sandbox.place(PHONE)
    api.sandbox.advance(142)
    (item,) = api.conversations().json()["data"]
    assert item["end_timestamp"] - item["start_timestamp"] == 142_000
    assert not {"start_timestamp", "end_timestamp"} & api.only_record().keys()


def test_results_may_come_later_than_the_record(start):
    """Until ``results_delay_seconds`` after the end, results and transcript are null; the rest is there."""
    api = start(results_delay_seconds=30)
    api.call()
    api.sandbox.advance(142 + 29)
    record = api.only_record()
    assert (record["status"], record["duration_seconds"]) == ("completed", 142)
    assert (record["results"], record["transcript"]) == (None, None)
    api.sandbox.advance(1)
    record = api.only_record()
    assert record["results"]
    assert record["transcript"]


def test_another_tenants_record_looks_absent(start, another):
    """A record of another key is a 404 in detail, is not in the list and cannot be joined."""
    api = start(other_keys=["second"])
    api.call()
    api.sandbox.advance(142)
    other, (call,) = another(api, "second"), api.sandbox.calls
    assert other.conversation(call.conversation_id).status_code == 404
    assert other.conversations().json()["total"] == 0
    assert other.call(conversation_id=call.conversation_id).status_code == 404


def test_an_unknown_record_is_not_found(start):
    """An unknown id is a 404 in the vendor's shape that does not repeat the id."""
    answer = start().conversation("e36853de-9cbb-441e-ad75-d3c8ac82abfb_1")
    assert answer.status_code == 404
    assert answer.json() == {"error": {"message": "conversation not found", "type": "not_found"}}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/call"),
        ("DELETE", "/v1/conversations"),
        ("GET", "/v1/calls"),
        ("POST", "/v1/call/"),
        ("GET", "/"),
    ],
)
def test_what_is_no_endpoint_is_not_found(start, method, path):
    """Any other method or path is a 404 in the vendor's shape, and is counted under its own name."""
    api = start()
    answer = api.send(method, path)
    assert answer.status_code == 404
    assert answer.json() == {"error": {"message": "endpoint not found", "type": "not_found"}}
    assert [seen.endpoint for seen in api.sandbox.requests] == [f"{method} {path}"]
