"""What events tell of a conversation, beside what the list tells of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.models import Conversation
from formant_provider.api.webhook_models import Attempt
from formant_provider.core.conversations.heard import Heard, is_same_attempt
from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.polling.news import Answer, Told
from support.feeds import AGENT, NOON_MS, Board, outcome_of, reading, row
from support.ledgers import NOON, NUMBER

TRACE = "t-1"


def told(name: str, start_s: float = 0.0, attempt: Attempt | None = None, **fields: Any) -> Told:
    """Return what an event tells of an attempt that began so many seconds after noon."""
    record = Conversation.from_json(row(name, start_s, **{"trace_id": TRACE, **fields}))
    sent_at = datetime.fromtimestamp((NOON_MS + start_s * 1000) / 1000 + 60, UTC)
    return Told(record, attempt or Attempt(), None, sent_at)


def test_an_attempt_that_the_list_knows_replaces_the_one_that_was_told() -> None:
    """Attempts may share an id, and the event of the last one be lost."""
    board = Board([row("chain", status="busy", trace_id=TRACE)])
    with reading(board) as reader:
        waiter = reader.join(TRACE, endings=Endings(settle_for=timedelta(hours=1)))
        reader.poll()
        attempt = Attempt(number=1, is_final=False, next_at=NOON + timedelta(minutes=5))
        reader.feed.hear(Answer([told("chain", status="busy", attempt=attempt)], 1, NOON))
        board.rows = [row("chain", 300, trace_id=TRACE)]
        reader.poll(400)
        assert outcome_of(waiter) == "chain"
        assert waiter.outcome is not None
        assert waiter.outcome.status == "completed"


def test_the_first_attempt_of_another_call_is_no_redial() -> None:
    """An event has told its number; without one it would be taken, being alone."""
    ends = {}
    for number in (None, 1, 2):
        board = Board([row("one", status="busy", trace_id=TRACE)])
        with reading(board) as reader:
            waiter = reader.join(TRACE, endings=Endings(settle_for=timedelta(minutes=7)))
            reader.poll()
            board.rows.insert(0, row("two", 300, trace_id="t-2"))
            reader.feed.hear(Answer([told("two", 300, Attempt(number=number), trace_id="t-2")], 1, NOON))
            reader.poll(700)
            ends[number] = outcome_of(waiter)
    assert ends == {None: "two", 1: "one", 2: "two"}


def test_an_event_spares_the_detail_of_its_record() -> None:
    """Where the list has no trace ids."""
    board = Board([row("c-1"), row("c-2")], {"c-1": {"trace_id": "t-9"}, "c-2": {"trace_id": "t-8"}})
    with reading(board) as reader:
        waiter = reader.join(TRACE)
        reader.feed.use(reader.client)
        reader.feed.hear(Answer([told("c-1", trace_id="t-9")], 1, NOON))
        reader.poll()
        assert (outcome_of(waiter), board.asked_details) == (None, ["c-2"])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0, 1, 0)])
@pytest.mark.parametrize("has_numbers", [True, False])
def test_the_newest_attempt_counts_in_whatever_order_they_come(
    order: tuple[int, ...], has_numbers: bool
) -> None:
    """By its number, or else by when it began."""
    attempts = [told("c", 300 * n, Attempt(number=n + 1 if has_numbers else None)) for n in range(3)]
    heard = Heard()
    for n in order:
        heard.add(attempts[n])
    assert list(heard.records()) == [attempts[2].record]
    assert not heard.add(attempts[2])


def test_times_that_differ_by_a_fraction_are_of_one_attempt() -> None:
    """An event has whole seconds, a record milliseconds."""
    one = Conversation.from_json(row("c", 0.9))
    assert is_same_attempt(one, Conversation.from_json(row("c", 0)))
    assert not is_same_attempt(one, Conversation.from_json(row("c", 60)))
    assert is_same_attempt(one, Conversation("c", AGENT, "busy"))


def test_an_unknown_status_ends_no_wait() -> None:
    """Nor does an event of a kind that is not documented."""
    with reading(Board()) as reader:
        waiter = reader.join(TRACE, recipient=NUMBER)
        reader.feed.hear(Answer([told("c", status="transferred")], 1, NOON))
        assert waiter.record is None


@pytest.mark.parametrize("status", ["in_progress", "transferred", None])
def test_an_event_that_is_not_final_hides_no_end_in_the_list(status: str | None) -> None:
    """Whatever it says, and in whatever order events come: the record of the list ends the wait."""
    board = Board()
    with reading(board) as reader:
        waiter = reader.join(TRACE)
        reader.feed.hear(Answer([told("c", status=status, end_timestamp=None)], 1, NOON))
        reader.poll()
        assert outcome_of(waiter) is None
        board.rows = [row("c", 12, trace_id=TRACE)]
        reader.poll(60)
        assert outcome_of(waiter) == "c"


def test_an_end_that_was_told_is_not_forgotten_for_what_is_told_after_it() -> None:
    """A later event of the same attempt with no status, as of a recording, changes nothing."""
    end, later = told("c", attempt=Attempt(1)), told("c", 20, Attempt(1), status=None)
    heard = Heard()
    assert (heard.add(end), heard.add(later)) == (True, False)
    assert list(heard.records()) == [end.record]


def test_one_bad_event_ends_nobodys_wait(caplog: pytest.LogCaptureFixture) -> None:
    """It is skipped, and logged by its number and the type of the error; all others count."""
    never = Attempt(1, is_final=False, next_at=datetime.max.replace(tzinfo=UTC))
    with reading(Board()) as reader:
        first, second = reader.join(TRACE), reader.join("t-2")
        bad = replace(told("bad", status="busy", attempt=never), seq=7)
        reader.feed.hear(Answer([bad, told("good", trace_id="t-2")], 2, NOON))
        assert (first.error, outcome_of(second)) == (None, "good")
    assert [each.message for each in caplog.records] == ["Webhook event 7 is skipped: OverflowError."]


def test_a_redial_is_waited_for_if_its_time_is_told_and_not_whether_the_attempt_was_the_last() -> None:
    """A time is announcement enough, unless the attempt is said to be the last."""
    at = NOON + timedelta(minutes=5)
    announced = [Attempt(1, is_final=is_final, next_at=at).announced_at for is_final in (None, False, True)]
    assert announced == [at, at, None]


def test_a_start_that_the_list_puts_seconds_later_is_of_the_same_attempt() -> None:
    """The time of the redial that an event has announced stays known."""
    board = Board([row("c", 4, status="busy", trace_id=TRACE)])
    with reading(board) as reader:
        waiter = reader.join(TRACE)
        attempt = Attempt(1, is_final=False, next_at=NOON + timedelta(minutes=20))
        reader.feed.hear(Answer([told("c", 1, attempt, status="busy")], 1, NOON))
        reader.poll(60)
        assert outcome_of(waiter) is None


@pytest.mark.parametrize("is_told", [True, False])
def test_an_attempt_that_its_redial_has_replaced_is_still_a_rival(is_told: bool) -> None:
    """Under one id the list has the newest only; who called in the same seconds is not taken for the call."""
    own = row("own", 10, status="no_answer", trace_id=TRACE)
    board = Board([] if is_told else [own])
    with reading(board) as reader:
        waiter = reader.join(None, until=NOON + timedelta(seconds=20))
        reader.poll()
        if is_told:
            attempt = Attempt(1, is_final=False, next_at=NOON + timedelta(seconds=53))
            reader.feed.hear(Answer([told("own", 10, attempt, status="no_answer")], 1, NOON))
        board.rows = [row("own", 53, status="busy", trace_id=TRACE), row("in", 4, trace_id="t-2")]
        reader.poll(600)
        assert (outcome_of(waiter), waiter.candidates) == (None, 2)


def test_a_lost_call_is_its_own_whichever_attempt_the_list_has() -> None:
    """Its first attempt began in time, and it is the only one."""
    board = Board([row("own", 10, status="no_answer", trace_id=TRACE)])
    with reading(board) as reader:
        waiter = reader.join(None, until=NOON + timedelta(seconds=20))
        reader.poll()
        board.rows = [row("own", 53, trace_id=TRACE)]
        reader.poll(600)
        assert outcome_of(waiter) == "own"


def test_a_redial_on_record_counts_though_the_attempt_before_was_said_to_be_the_last() -> None:
    """What happened is better evidence than a flag."""
    with reading(Board()) as reader:
        waiter = reader.join(TRACE, endings=Endings(settle_for=timedelta(minutes=10)))
        last = Attempt(1, is_final=True)
        events = [told("one", 1, last, status="busy"), told("two", 60, Attempt(2, is_final=True))]
        reader.feed.hear(Answer(events, 2, NOON))
        assert outcome_of(waiter) == "two"


def test_the_second_attempt_of_another_call_is_no_redial() -> None:
    """Its first attempt was told, under another trace id."""
    board = Board([row("one", status="busy", trace_id=TRACE)])
    with reading(board) as reader:
        waiter = reader.join(TRACE, endings=Endings(settle_for=timedelta(minutes=7)))
        reader.feed.use(reader.client)
        reader.poll()
        events = [
            told("two", 100, Attempt(1), trace_id="t-2", status="busy"),
            told("two", 300, Attempt(2), trace_id="t-2"),
        ]
        reader.feed.hear(Answer(events, 2, NOON))
        board.rows.insert(0, row("two", 300, trace_id="t-2"))
        reader.poll(700)
        assert outcome_of(waiter) == "one"
