"""A batch call is placed once, whatever goes wrong; the exhaustive table of it is next door."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import CREATE_BATCH_CALL, LIST_BATCH_CALLS
from formant_provider.api.errors import (
    AuthenticationFailed,
    BatchOutcomeUnknown,
    InvalidInput,
    NotFound,
    RateLimited,
    RequestRefused,
    RetryableError,
    SendAborted,
    Superseded,
)
from formant_provider.api.retry import may_repeat
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.calls.placement import Result
from formant_provider.core.ledger import Sent
from formant_provider.sandbox import Fault
from support.batches import NAME, NUMBERS, Start, starting
from support.ledgers import LIMITS, LOST_AFTER, LOST_BEFORE, NOON, Died, MemoryLedger, StaleLedger, on_ask
from support.scripted_server import Answer, ScriptedServer


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


NEVER_LISTED = 10_000


def test_a_calm_first_try_uploads_once_and_asks_for_nothing(start: Start) -> None:
    """The doubt is on record before the upload, the receipt after it, and no list is read."""
    task = start()
    placement = task.place()
    (batch,) = task.sandbox.batches
    assert (placement.result, placement.batch_id) == (Result.PLACED, batch.batch_id)
    assert (placement.total_recipients, placement.name) == (3, batch.name)
    assert placement.since == NOON
    assert (task.rings, task.posts, task.lists) == ({1}, 1, 0)
    assert [json.loads(text)["sent"] for text in task.ledger.history] == ["never", "unclear", "unclear"]
    assert task.ledger.last.receipt.batch_id == batch.batch_id


def test_a_later_try_sends_nothing(start: Start) -> None:
    """With the receipt in the ledger nothing is asked, nor is a file made, however much later."""
    task = start()
    first = task.place()
    seen = len(task.sandbox.requests)
    task.sandbox.advance(40 * 24 * 3600)
    assert task.place() == first
    assert (len(task.sandbox.requests), task.files) == (seen, 1)


class SharedLedger(MemoryLedger):
    """A ledger that another process uses, which is first at a claim or a write."""

    def __init__(self, first_at: int) -> None:
        super().__init__(kind=BatchIntent)
        self.first_at, self.other = first_at, lambda: None

    def write(self, intent: Any) -> None:
        if self.writes + 1 == self.first_at:
            self.first_at = 0
            self.other()
            self.is_of_others = True
            raise Superseded("Another process has this batch call in hand")
        super().write(intent)

    claim = write


@pytest.mark.parametrize("first_at", [1, 2])
def test_who_is_second_finds_what_the_first_has_placed(first_at: int, start: Start) -> None:
    """Nothing was sent by the second, so it reads the ledger again, and decides again."""
    ledger = SharedLedger(first_at)
    task = start(ledger=ledger)
    ledger.other = task.place
    placement = task.place()
    (batch,) = task.sandbox.batches
    assert (placement.result, placement.batch_id) == (Result.FOUND, batch.batch_id)
    assert (task.rings, task.posts) == ({1}, 1)


def test_what_was_sent_before_another_took_over_is_no_reason_to_read_again(start: Start) -> None:
    """A refused send of this try is followed by no look at what others did: the next try sees to that."""
    ledger = SharedLedger(3)
    task = start(ledger=ledger)
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT)
    error = task.fail()
    assert isinstance(error, Superseded)
    assert (task.posts, task.rings) == (1, {0})


def test_the_name_says_for_people_and_for_us_what_it_is(start: Start) -> None:
    """The name for people comes first, then the marker."""
    task = start()
    task.place()
    name = task.sandbox.batches[0].name
    assert name == f"{NAME} {task.request.marker}"
    assert name.startswith(f"{NAME} [af-")


@pytest.mark.parametrize("fault", LIMITS)
def test_a_limit_is_waited_for_and_each_send_is_written_down_before(fault: Fault, start: Start) -> None:
    """A 429 was not accepted, so the upload is sent again in the same try."""
    task = start()
    task.sandbox.inject(CREATE_BATCH_CALL, fault, times=2)
    assert task.place().result is Result.PLACED
    assert (task.rings, task.posts, task.ledger.writes) == ({1}, 3, 5)


def test_a_limit_that_lasts_is_on_record_as_a_refusal(start: Start) -> None:
    """The next try looks at the list once, and uploads."""
    task = start()
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT, times=4)
    error = task.fail()
    assert isinstance(error, RateLimited)
    assert not error.maybe_placed
    assert task.ledger.last.sent is Sent.REFUSED
    assert task.place().result is Result.PLACED
    assert (task.rings, task.posts, task.lists) == ({1}, 5, 1)


@pytest.mark.parametrize("fault", [*LOST_AFTER, Fault.HANG_AFTER])
def test_an_answer_lost_after_accepting_is_found_in_the_list(fault: Fault, start: Start) -> None:
    """It is adopted in the same try, with the vendor's own id and count."""
    task = start(read_timeout_s=0.05 if fault is Fault.HANG_AFTER else 30.0)
    task.sandbox.inject(CREATE_BATCH_CALL, fault)
    placement = task.place()
    (batch,) = task.sandbox.batches
    assert (placement.result, placement.batch_id) == (Result.FOUND, batch.batch_id)
    assert (placement.total_recipients, task.posts) == (3, 1)
    assert task.place().result is Result.PLACED
    assert (task.rings, task.posts) == ({1}, 1)


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_a_list_that_lags_behind_parks_and_a_later_look_adopts(fault: Fault, start: Start) -> None:
    """Nothing is uploaded again; a further try looks again, and finds it once it is listed."""
    task = start({"batch_list_lag_reads": 12})
    task.sandbox.inject(CREATE_BATCH_CALL, fault)
    error = task.fail()
    assert isinstance(error, BatchOutcomeUnknown)
    assert error.maybe_placed
    assert (task.ledger.last.sent, task.ledger.last.receipt) == (Sent.UNCLEAR, None)
    placement = task.place()
    assert placement.result is Result.FOUND
    assert (task.rings, task.posts) == ({1}, 1)


@pytest.mark.parametrize("fault", LOST_BEFORE)
def test_what_was_never_accepted_is_parked_too(fault: Fault, start: Start) -> None:
    """Nobody can tell it from what was, so nobody is called until somebody has looked."""
    task = start()
    task.sandbox.inject(CREATE_BATCH_CALL, fault)
    assert isinstance(task.fail(), BatchOutcomeUnknown)
    for _ in range(3):
        assert isinstance(task.fail(), BatchOutcomeUnknown)
    assert (task.rings, task.posts) == ({0}, 1)


def test_what_to_check_is_said_and_nothing_private(start: Start) -> None:
    """The error names agent, marker and time: what somebody needs to look in the dashboard."""
    task = start()
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.DROP_BEFORE)
    error = task.fail()
    for needed in ("agent 456", task.request.marker, "2026-03-18T12:00:00Z"):
        assert needed in str(error)
    told = "".join(traceback.format_exception(error)) + "".join(task.ledger.history)
    assert not any(number.strip("+") in told for number in NUMBERS)
    assert "Rahul" not in told
    assert task.sandbox.api_key not in told


def test_a_wish_to_upload_again_is_granted_by_the_next_try(start: Start) -> None:
    """resubmit_if_missing leaves the task its retries; the next try looks first, and then uploads."""
    task = start(resubmit_if_missing=True)
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.ERROR_503_BEFORE)
    error = task.fail()
    assert isinstance(error, RetryableError)
    assert error.maybe_placed
    assert task.place().result is Result.PLACED
    assert (task.rings, task.posts) == ({1}, 2)


def test_a_refusal_after_a_doubt_leaves_the_doubt(start: Start) -> None:
    """An upload that is refused proves nothing of the one before."""
    task = start({"batch_list_lag_reads": NEVER_LISTED}, resubmit_if_missing=True, sends=1)
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.ERROR_503_BEFORE)
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT)
    task.fail()
    error = task.fail()
    assert isinstance(error, RateLimited)
    assert error.maybe_placed
    assert task.ledger.last.sent is Sent.UNCLEAR
    assert isinstance(task.fail(resubmit_if_missing=False), BatchOutcomeUnknown)


@pytest.mark.parametrize("fault", [None, Fault.DROP_AFTER])
def test_a_ledger_that_was_lost_is_looked_up_for(fault: Fault | None, start: Start) -> None:
    """Where Airflow forgot what was sent, the list alone tells: found is adopted."""
    task = start()
    if fault:
        task.sandbox.inject(CREATE_BATCH_CALL, fault)
    first = task.place()
    task.lose_ledger()
    again = task.place()
    assert (again.result, again.batch_id, again.total_recipients) == (Result.FOUND, first.batch_id, 3)
    assert (task.rings, task.posts) == ({1}, 1)


def test_a_name_of_the_user_s_is_looked_for_before_the_first_send(start: Start) -> None:
    """Another task may have placed it, at any time; if none has, after some seconds, it is uploaded."""
    first, ever = start(fields={"idempotency_key": "march"}), NOON - timedelta(days=20_000)
    placed = first.place(taken_since=ever)
    assert (placed.result, first.posts, first.lists) == (Result.PLACED, 1, 4)
    first.sandbox.advance(90 * 24 * 3600)
    first.ledger = MemoryLedger(kind=BatchIntent)
    first.fields |= {"name": "Another name for it"}
    found = first.place(taken_since=ever)
    assert (found.result, found.batch_id, found.since) == (Result.FOUND, placed.batch_id, placed.since)
    assert (first.rings, first.posts, first.files) == ({1}, 1, 1)


@pytest.mark.parametrize("order", ["newest_first", "oldest_first", "unordered"])
def test_the_whole_list_is_searched_and_no_more_of_it_than_needed(order: Any, start: Start) -> None:
    """It is found behind two pages of younger ones; far older ones are not read where the order allows."""
    task = start({"list_order": order})
    for number in range(500):
        task.sandbox.place_batch(NUMBERS[:1], name=f"{NAME} {number}")
        task.sandbox.advance(3600)
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.ERROR_503_AFTER)
    task.lookup_timeout_s = 0.0
    placed = task.place()
    for _ in range(250):
        task.sandbox.place_batch(NUMBERS[:1])
    assert placed.result is Result.FOUND
    task.ledger.history.pop()
    before = task.lists
    assert task.place().batch_id == placed.batch_id
    assert task.lists - before <= (9 if order == "unordered" else 6 if order == "oldest_first" else 4)


def test_the_first_of_several_is_taken(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody made another of it in the dashboard, name and all: the first one is ours."""
    task = start()
    first = task.place()
    task.sandbox.place_batch(NUMBERS[:1], name=task.request.full_name)
    task.lose_ledger()
    with caplog.at_level(logging.WARNING):
        assert task.place().batch_id == first.batch_id
    assert "all have" in caplog.text


@pytest.mark.parametrize("fault", [*LOST_BEFORE, Fault.GARBAGE, Fault.RATE_LIMIT])
def test_a_look_that_is_hindered_is_not_taken_for_an_absence(fault: Fault, start: Start) -> None:
    """The try ends so that Airflow may retry, with the doubt on record; nothing is sent."""
    task = start(lookup_timeout_s=1.0, sends=1)
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.DROP_AFTER)
    task.sandbox.inject(LIST_BATCH_CALLS, fault, times=2)
    error = task.fail()
    assert may_repeat(error)
    assert error.maybe_placed
    assert task.ledger.last.sent is Sent.UNCLEAR
    assert task.place().result is Result.FOUND
    assert (task.rings, task.posts) == ({1}, 1)


def test_a_look_passes_over_a_short_error(start: Start) -> None:
    """The list is read again in the same look."""
    task = start()
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.DROP_AFTER)
    task.sandbox.inject(LIST_BATCH_CALLS, Fault.ERROR_503_BEFORE, times=2)
    task.sandbox.inject(LIST_BATCH_CALLS, Fault.RATE_LIMIT)
    assert task.place().result is Result.FOUND


@pytest.mark.parametrize(
    ("fields", "kind"), [({"agent_id": 999}, NotFound), ({}, AuthenticationFailed)], ids=["agent", "key"]
)
def test_a_refusal_is_on_record_and_a_later_try_may_send(fields: Any, kind: Any, start: Start) -> None:
    """What the API refuses for good called nobody."""
    task = start(fields=fields, api_key=None if fields else "another-key")
    error = task.fail()
    assert isinstance(error, kind)
    assert isinstance(error, RequestRefused)
    assert not error.maybe_placed
    assert task.ledger.last.sent is Sent.REFUSED
    task.api_key = None
    if not fields:
        assert task.place().result is Result.PLACED


def test_a_process_that_is_not_the_task_s_own_sends_nothing(start: Start) -> None:
    """It is told so when it writes its intent, before and between sends."""
    task = start(ledger=StaleLedger())
    assert isinstance(task.fail(), SendAborted)
    assert task.sandbox.requests == []


def test_a_process_that_lost_its_task_between_two_sends_sends_no_second_one(start: Start) -> None:
    """While it waited for the rate limit, a newer try has taken over."""
    task = start(ledger=MemoryLedger(fails_at=[3], kind=BatchIntent))
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT)
    error = task.fail()
    assert isinstance(error, SendAborted)
    assert not error.maybe_placed
    assert task.posts == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_task_that_is_stopped_sends_nothing_more(number: int, start: Start) -> None:
    """check_before_send is asked right before each send; nothing was accepted, and the ledger says so."""
    task = start()
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT)
    error = task.fail(check_before_send=on_ask(number, SendAborted("The task was stopped")))
    assert isinstance(error, SendAborted)
    assert not error.maybe_placed
    assert task.posts == number - 1
    assert task.ledger.last.sent is (Sent.NEVER if number == 1 else Sent.REFUSED)
    assert task.place().result is Result.PLACED


def test_a_file_that_cannot_be_made_leaves_no_doubt(start: Start) -> None:
    """Contacts that are refused, or a full disk: nothing was sent, and a retry begins as a first try."""
    task = start()
    good, task.file = task.file, task.file.with_name("gone.csv")
    with pytest.raises(OSError, match="gone"):
        task.place()
    assert task.ledger.last.sent is Sent.NEVER
    task.file = good
    assert task.place().result is Result.PLACED
    assert (task.rings, task.posts) == ({1}, 1)


def test_a_try_that_dies_before_its_upload_leaves_no_doubt(start: Start) -> None:
    """Also where a lost ledger would mean a doubt: that nothing was sent is on record from the beginning."""
    task = start(ledger=MemoryLedger(dies_before=[2], kind=BatchIntent))
    task.die()
    assert task.ledger.last.sent is Sent.NEVER
    assert task.place().result is Result.PLACED


def test_an_answer_without_an_id_is_looked_up(start: Start) -> None:
    """Accepted, but nobody said which: the list says it."""
    task = start()
    with ScriptedServer(
        Answer(body={"data": {"status": "pending"}}),
        Answer(body={"data": [{"id": 7, "name": task.request.full_name}]}),
    ) as server:
        task.base_url = server.base_url
        placement = task.place()
    assert (placement.result, placement.batch_id, placement.total_recipients) == (Result.FOUND, 7, None)


def test_a_vendor_that_drops_the_marker_is_told_of(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Then a lost batch call could not be found, and the log says so."""
    task = start()
    with ScriptedServer(Answer(body={"data": {"id": 7, "name": NAME}})) as server:
        task.base_url = server.base_url
        with caplog.at_level(logging.WARNING):
            assert task.place().batch_id == 7
    assert "another name" in caplog.text


@pytest.mark.parametrize("mishap", ["fails_at", "dies_before"])
def test_a_receipt_that_was_not_written_is_found_by_the_next_try(mishap: str, start: Start) -> None:
    """A failed write, or SIGKILL before it, leaves the ledger in doubt; the list has the batch call."""
    task = start(ledger=MemoryLedger(**{mishap: [3]}, kind=BatchIntent))
    with suppress(Died):
        assert task.place().result is Result.PLACED
    assert task.ledger.last.receipt is None
    assert task.place().result is Result.FOUND
    assert (task.rings, task.posts) == ({1}, 1)


def test_death_right_before_the_send_is_a_doubt(start: Start) -> None:
    """Nobody can know that nothing was sent."""
    task = start()
    task.die(check_before_send=on_ask(1, Died()))
    assert isinstance(task.fail(), BatchOutcomeUnknown)
    assert (task.rings, task.posts) == ({0}, 0)


BAD_NAMES = ["", "   ", None, "None", "n" * 79, "two\nlines", "March [af-1234]", 7.5]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_name_that_cannot_be_used_is_refused(name: Any, start: Start) -> None:
    """Blank, too long, more than a line, or with a marker in it: nothing is sent."""
    task = start(fields={"name": name})
    error = task.fail()
    assert isinstance(error, InvalidInput)
    assert error.field == "name"
    assert task.sandbox.requests == []


def test_a_name_may_have_seventy_eight_characters(start: Start) -> None:
    """With the marker that makes a hundred."""
    task = start(fields={"name": "ü" * 78})
    task.place()
    assert len(task.sandbox.batches[0].name) == 100


def test_resubmitting_is_not_needed_for_what_is_found(start: Start) -> None:
    """Also with resubmit_if_missing a batch call that is listed is adopted."""
    task = start({"batch_list_lag_reads": 12}, resubmit_if_missing=True)
    task.sandbox.inject(CREATE_BATCH_CALL, Fault.DROP_AFTER)
    task.fail()
    assert task.place().result is Result.FOUND
    assert (task.rings, task.posts) == ({1}, 1)
