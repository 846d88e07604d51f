"""A conversation is a call's by its trace id, or as the only one that it can have led to; else nobody's."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.core.conversations.waiters import Watch
from support.feeds import LIST_ORDERS, Board, number, outcome_of, reading, row
from support.ledgers import NOON
from support.scripted_server import Answer

SOON = NOON + timedelta(seconds=15)
SETTLED_S = 100.0
# How the vendor may write trace ids, and what a record of a call without a known one is then like.
TRACED = pytest.mark.parametrize("where", ["list", "detail", "nowhere"])


def board_of(rows: list[dict[str, Any]], where: str = "nowhere") -> Board:
    """Write records whose trace ids stand where the vendor writes them."""
    traces = {each["conversation_id"]: {"trace_id": f"t-{each['conversation_id']}"} for each in rows}
    if where == "list":
        rows = [{**traces[each["conversation_id"]], **each} for each in rows]
    return Board(rows, details=dict(traces) if where == "detail" else {})


@TRACED
@pytest.mark.parametrize("order", LIST_ORDERS)
def test_a_lost_receipt_takes_the_only_call_of_its_time(order: str, where: str, world: Any) -> None:
    """What began before or after the time in which the call can have been placed is another call."""
    traces = {"trace_id_in_list": where == "list", "trace_id_in_detail": where != "nowhere"}
    w = world(list_order=order, **traces)
    w.place()
    w.sandbox.advance(10)
    now = w.sandbox.now()
    waiter = w.join(recipient=number("00"), since=now, until=now + timedelta(seconds=15))
    w.sandbox.advance(2)
    w.place("10")
    call = w.place()
    w.sandbox.advance(26)
    w.place()
    w.poll(300)
    assert outcome_of(waiter) == call.conversation_id


@TRACED
@pytest.mark.parametrize("start_s", [-41.0, -6.0, 21.0, 26.0, 600.0])
def test_a_call_outside_of_its_time_is_not_taken_for_want_of_a_better_one(start_s: float, where: str) -> None:
    """Another task's call to the person lends its ids to nobody, however alone it is."""
    with reading(board_of([row("theirs", start_s)], where)) as reader:
        reader.join("t-9", recipient=None, since=NOON - timedelta(hours=1))
        waiter = reader.join(until=SOON)
        reader.poll(1000)
        reader.poll(1000)
    assert (waiter.record, waiter.candidates) == (None, 0)


@TRACED
@pytest.mark.parametrize("other", ["completed", "busy", "in_progress", "voicemail_reached"])
def test_of_two_calls_of_its_time_neither_is_taken(other: str, where: str) -> None:
    """Whatever has become of the other one; how many there were is known at the end."""
    board = board_of([row("one", 3), row("other", 9, status=other)], where)
    with reading(board) as reader:
        waiter = reader.join(until=SOON)
        for _ in range(3):
            reader.poll(SETTLED_S)
    assert (waiter.record, waiter.candidates, waiter.likely) == (None, 2, None)


@pytest.mark.parametrize("named", ["trace_id", "conversation_id"])
@TRACED
def test_what_another_names_is_no_candidate(where: str, named: str) -> None:
    """Of two, one belongs to another waiter: then the other is proven."""
    if where == "nowhere" and named == "trace_id":
        return
    board = board_of([row("ours", 3), row("theirs", 9)], where)
    with reading(board) as reader:
        name = "t-theirs" if named == "trace_id" else "theirs"
        other = reader.join(**{named: name})
        waiter = reader.join(until=SOON)
        reader.poll(SETTLED_S)
    assert [outcome_of(other), outcome_of(waiter)] == ["theirs", "ours"]


def test_what_was_given_to_another_is_no_candidate_either() -> None:
    """Also a further attempt of a call that somebody waited for, after he has left."""
    board = Board([row("theirs", 3, trace_id="t-1", status="busy")])
    with reading(board) as reader:
        other = reader.join("t-1")
        reader.poll(4)
        reader.feed.leave(other)
        board.rows += [row("redial", 9, trace_id="t-1"), row("ours", 5, trace_id="t-2")]
        waiter = reader.join(until=SOON)
        reader.poll(SETTLED_S)
    assert (outcome_of(other), outcome_of(waiter)) == ("theirs", "ours")


def test_records_of_one_trace_id_are_one_call() -> None:
    """The platform's redial within the time is no rival of its own first attempt."""
    rows = [row("second", 9, trace_id="t-1"), row("first", 3, trace_id="t-1", status="busy")]
    with reading(Board(rows)) as reader:
        waiter = reader.join(until=SOON)
        reader.poll(SETTLED_S)
    assert outcome_of(waiter) == "first"


def test_a_candidate_is_taken_when_no_rival_can_appear_any_more() -> None:
    """A record may be listed at the end of its call, so the first to be listed is not yet the only one."""
    board = Board([row("busy", 3, status="busy")])
    with reading(board) as reader:
        waiter = reader.join(until=SOON)
        reader.poll(30)
        assert (waiter.record, waiter.candidates) == (None, 1)
        assert waiter.likely is not None  # it counts if the time to wait is up now
        board.rows.append(row("ours", 2))
        reader.poll(SETTLED_S)
    assert (waiter.record, waiter.candidates) == (None, 2)


@pytest.mark.parametrize(
    "detail", [{"contact_number": "+1415*****00"}, Answer(404), {"status": None}], ids=str
)
def test_a_record_that_cannot_be_told_is_a_rival(detail: Any) -> None:
    """One that may be this call's, and that cannot be read, keeps the other from being the only one."""
    odd = row("odd", 9, contact_number=None if isinstance(detail, dict) else number("00"))
    with reading(Board([row("one", 3), odd], details={"odd": detail})) as reader:
        waiter = reader.join(until=SOON)
        reader.poll(SETTLED_S)
    assert waiter.record is None


def test_a_record_without_a_start_proves_nothing() -> None:
    """Neither alone nor beside one that says when it began."""
    rows = [row("timeless", start_timestamp=None), row("one", 3)]
    for some in (rows[:1], rows):
        with reading(Board(some)) as reader:
            waiter = reader.join(until=SOON)
            reader.poll(SETTLED_S)
        assert waiter.record is None


def test_two_who_lost_their_receipts_do_not_share_two_calls_at_once() -> None:
    """Nothing tells which is whose; one that another has proven is his, though."""
    rows = [row("one", 3), row("other", 9)]
    with reading(Board(rows)) as reader:
        waiters = [reader.join(until=SOON), reader.join(until=SOON, since=NOON + timedelta(seconds=1))]
        reader.poll(SETTLED_S)
    assert [waiter.record for waiter in waiters] == [None, None]
    with reading(Board([row("one", 3), row("other", 33)])) as reader:
        later = NOON + timedelta(seconds=30)
        waiters = [reader.join(until=SOON), reader.join(since=later, until=later + timedelta(seconds=15))]
        reader.poll(SETTLED_S)
        reader.poll(SETTLED_S)
    assert [outcome_of(waiter) for waiter in waiters] == ["one", "other"]


@pytest.mark.parametrize("in_list", [True, False])
def test_who_calls_in_lends_nothing(in_list: bool) -> None:
    """A record without a trace id, where others have one, came of no call that was placed."""
    rows = [row("inbound", 3), row("old", -900, **({"trace_id": "t-old"} if in_list else {}))]
    board = Board(rows, details={} if in_list else {"old": {"trace_id": "t-old"}})
    with reading(board) as reader:
        reader.join("t-old", since=NOON - timedelta(hours=1))
        waiter = reader.join("t-1")
        for _ in range(3):
            reader.poll(SETTLED_S)
    assert waiter.record is None


def test_who_knows_a_trace_id_takes_the_only_record_of_a_vendor_that_writes_none(world: Any) -> None:
    """Of two, neither; and no conversation is given to two."""
    w = world(trace_id_in_detail=False)
    call = w.place()
    waiters = [w.join(call), w.join(call, trace_id="t-2")]
    w.poll(200)
    assert [outcome_of(waiter) for waiter in waiters] == [call.conversation_id, None]
    w.place(), w.place()
    w.poll(200)
    assert waiters[1].record is None


# Two clocks.


@TRACED
@pytest.mark.parametrize("ahead_s", [-36000, -300, -90, 90, 300, 36000])
def test_the_vendor_s_clock_may_be_wrong(ahead_s: float, where: str) -> None:
    """By its trace id a call is found, and by its time, which is corrected, as well."""
    own, theirs = row("ours", ahead_s + 3), row("theirs", ahead_s - 240)
    board = board_of([own, theirs], where)
    with reading(board) as reader:
        board.date = lambda: reader.now + timedelta(seconds=ahead_s)
        traced = reader.join("t-ours") if where != "nowhere" else None
        lost = None if traced else reader.join(until=SOON)
        for _ in range(3):
            reader.poll(SETTLED_S)
        lost = lost or reader.join(until=SOON)
        if traced:
            reader.feed.leave(traced)
    if traced:
        assert outcome_of(traced) == "ours"
    else:
        assert outcome_of(lost) == "ours"


@pytest.mark.parametrize("where", ["list", "detail"])
@pytest.mark.parametrize("ahead", [timedelta(seconds=90), timedelta(hours=5)])
def test_a_moment_from_a_clock_that_is_ahead_keeps_no_trace_id_from_its_record(
    ahead: timedelta, where: str
) -> None:
    """The worker's clock may differ from that of the triggerer and the vendor: it is looked for at once."""
    board = board_of([row("ours", 3), row("old", -600)], where)
    with reading(board) as reader:
        waiter = reader.join("t-ours", since=NOON + ahead, has_begun=True)
        for _ in range(12):
            reader.poll(30)
    assert outcome_of(waiter) == "ours"
    assert board.asked_details.count("ours") <= 1
    assert board.asked_details.count("old") <= 1


def test_a_clock_that_is_behind_delays_no_call_that_is_scheduled() -> None:
    """Once the vendor's clock is known, its time is what the call begins by."""
    with reading(board := Board()) as reader:
        board.date = lambda: reader.now + timedelta(minutes=10)
        reader.join("t-1")
        reader.poll()
        scheduled = reader.join("t-2", since=NOON + timedelta(minutes=11))
        reader.poll()
    assert scheduled.looks == 1


# What the list does not tell.


@pytest.mark.parametrize("listed", [None, "", "+1415*****00", "+1415XXXXX00", "...0100", "0100"])
@pytest.mark.parametrize("where", ["list", "detail"])
def test_a_list_without_numbers_serves_trace_ids_and_recipients(where: str, listed: str | None) -> None:
    """What it does not tell is read from the record, once, and not of what is long over."""
    rows = [row("ours", 3), row("other", 5), row("old", -600)]
    board = board_of([{**each, "contact_number": listed} for each in rows], where)
    for name, phone in (("ours", number("00")), ("other", number("77")), ("old", number("00"))):
        board.details[name] = {**board.details.get(name, {}), "contact_number": phone}
    with reading(board) as reader:
        traced = reader.join("t-other", recipient=number("77"))
        lost = reader.join(until=SOON)
        for _ in range(4):
            reader.poll(SETTLED_S)
    assert [outcome_of(traced), outcome_of(lost)] == ["other", "ours"]
    assert sorted(board.asked_details) in (["other", "ours"], ["ours"])


@pytest.mark.parametrize("where", ["list", "detail"])
def test_a_detail_without_times_keeps_those_of_the_list(where: str) -> None:
    """The vendor's own sample of a detail has none; an old conversation is not taken for a new call's."""
    board = board_of([row("old", -3000), row("ours", 3)], where)
    for name in ("old", "ours"):
        times = {"start_timestamp": None, "end_timestamp": None}
        board.details[name] = {**board.details.get(name, {}), **times}
    with reading(board) as reader:
        reader.join("t-9", recipient=number("77"), since=NOON - timedelta(hours=1))
        waiter = reader.join(until=SOON)
        reader.poll(SETTLED_S)
    assert outcome_of(waiter) == "ours"
    assert waiter.outcome is not None
    assert waiter.outcome.start_timestamp == board.rows[1]["start_timestamp"]
    assert waiter.outcome.end_timestamp == board.rows[1]["end_timestamp"]


def test_a_watch_is_written_as_plain_values() -> None:
    """What a trigger is made again of."""
    watch = Watch(NOON, "t-1", until=SOON, has_begun=True)
    assert Watch.from_json(json.loads(json.dumps(watch.to_json()))) == watch
