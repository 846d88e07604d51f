"""A summary counts rows one by one, and keeps nothing else of them."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from formant_provider.tasks.summaries.summary import OTHERS, Summary
from support.summaries import NUMBER, a_call, a_row, plausible_rows


def summed(*rows: object, **options: object) -> Summary:
    summary = Summary(**options)  # type: ignore[arg-type]
    for row in rows:
        summary.add(row)  # type: ignore[arg-type]
    return summary


def test_every_row_has_one_outcome() -> None:
    """Outcomes add up to the rows; who was left out, or is waiting, is not among the people called."""
    summary = summed(
        a_row("completed", a_call(duration_s=90)),
        a_row("no_answer", a_call(status="no_answer"), reason="attempts_used"),
        a_row("waiting"),
        a_row("rejected", reason="suppressed"),
    )
    assert summary.rows == summary.by_status.total() == 4
    assert (summary.people.called, summary.people.reached, summary.calls) == (2, 1, 2)
    assert summary.by_reason == {"suppressed": 1}
    assert summary.not_again == {"attempts_used": 1}


def test_reached_is_who_was_reached_at_last() -> None:
    """A person counts once, by the last attempt; each call counts by its own."""
    row = a_row("completed", a_call(1, "busy"), a_call(2, duration_s=30), agent_id=456)
    summary = summed(row)
    assert (summary.people.called, summary.people.reached, summary.calls) == (1, 1, 2)
    assert [(one.called, one.reached) for one in summary.by_attempt.values()] == [(1, 0), (1, 1)]
    assert summary.by_agent["456"].percent == 100


def test_an_expected_status_is_the_users_choice() -> None:
    """With other successful statuses others were reached."""
    rows = (a_row("completed", a_call()), a_row("voicemail", a_call(status="voicemail")))
    assert summed(*rows).people.reached == 1
    assert summed(*rows, successful={"completed", "voicemail"}).people.reached == 2


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("America/New_York", 1), ("Asia/Kolkata", 12), ("Europe/London", 6)],
)
def test_an_hour_is_that_of_the_recipients_clock(zone: str, hour: int) -> None:
    """06:30 UTC is another hour for everybody; the clocks are those of that day."""
    at = datetime(2026, 11, 29, 6, 30, tzinfo=UTC)
    summary = summed(a_row("completed", a_call(at=at), zone=zone))
    assert [place for place, share in enumerate(summary.by_hour) if share.called] == [hour]


def test_an_hour_that_nobody_knows_is_none() -> None:
    """Without a zone, with one that does not exist, or without a beginning, a call has no local hour."""
    no_start = a_call().to_json() | {"start_ms": None}
    summary = summed(
        a_row("completed", a_call(), zone=None),
        a_row("completed", a_call(), zone="Mars/Olympus"),
        a_row("completed", type(a_call())(**no_start), zone="Asia/Kolkata"),
    )
    assert summary.without_hour == 3
    assert not any(share.called for share in summary.by_hour)


def test_minutes_are_those_of_all_attempts() -> None:
    """The duration of each attempt counts, in all, on average and in its span."""
    row = a_row("completed", a_call(1, "failed", duration_s=10), a_call(2, duration_s=110))
    summary = summed(row, a_row("no_answer", a_call(status="no_answer")))
    assert (summary.people.seconds, summary.people.average_s) == (120, 60)
    assert summary.by_duration[:4] == [0, 1, 0, 1]


def test_the_period_is_from_the_first_beginning_to_the_last_end() -> None:
    """Whichever row they are of; without a conversation there is none."""
    early, late = datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)
    rows = [a_row("completed", a_call(at=late)), a_row("busy", a_call(status="busy", at=early))]
    assert summed(*rows).period == (early, late + timedelta(minutes=1))
    assert summed(a_row("rejected")).period is None


def test_a_summary_does_not_grow_with_its_list() -> None:
    """Ten thousand rows, words, agents and attempts take no more room than some."""
    summary = Summary()
    for number in range(10_000):
        call = a_call(number + 1, f"word_{number}", duration_s=number)
        summary.add(a_row(f"word_{number}", call, agent_id=number, reason=f"why_{number}"))
        summary.add(a_row("rejected", reason=f"why_{number}"))
    assert len(pickle.dumps(summary)) < 12_000
    assert summary.by_status.total() == 20_000
    assert sum(share.called for share in summary.by_agent.values()) == 10_000
    assert summary.by_agent[OTHERS].called > 9_000


def test_a_word_that_may_be_a_number_is_not_kept() -> None:
    """What the vendor puts where a status is expected is shown only if it is a word."""
    assert summed(a_row(NUMBER), a_row("x" * 1000)).by_status == {OTHERS: 2}


def test_counts_add_up_whatever_the_rows() -> None:
    """People by agent, calls by attempt, and calls with and without an hour are all of them."""
    summary = summed(*plausible_rows(500))
    assert sum(share.called for share in summary.by_agent.values()) == summary.people.called
    assert sum(share.called for share in summary.by_attempt.values()) == summary.calls
    assert sum(share.called for share in summary.by_hour) + summary.without_hour == summary.calls
    assert sum(summary.by_duration) == summary.people.talks
    assert summary.people.called + summary.by_reason.total() == summary.rows
