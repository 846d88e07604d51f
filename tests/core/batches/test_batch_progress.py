"""When a batch call is done, stalled, or neither; and what is said of it meanwhile."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.batch_models import BatchMetrics
from formant_provider.core.batches.progress import (
    BatchProgress,
    MetricsSnapshot,
    has_people_left,
    is_done,
    success_rate,
)
from support.ledgers import NOON

SAMPLE = {
    "avg_duration_seconds": 125.5,
    "busy_count": 15,
    "completed_count": 420,
    "failed_count": 30,
    "in_progress_count": 5,
    "no_answer_count": 20,
    "pending_retry_count": 10,
    "socket_failure_count": 0,
    "success_count": 420,
    "success_rate": 84.0,
    "total_processed": 485,
    "unreachable_count": 0,
}
OVER = {**SAMPLE, "in_progress_count": 0, "pending_retry_count": 0, "total_processed": 500}
HOUR = timedelta(hours=1)


def metrics(**changes: Any) -> BatchMetrics:
    return BatchMetrics.from_json({**OVER, **changes})


def progress(total: int | None = 500, stall_timeout: timedelta = HOUR) -> BatchProgress:
    return BatchProgress(total, stall_timeout)


def test_the_vendor_s_sample_is_not_done_and_what_follows_from_it_is() -> None:
    """Nobody in progress, nobody to be called again, all processed."""
    assert not is_done(BatchMetrics.from_json(SAMPLE), 500)
    assert is_done(metrics(), 500)
    assert is_done(metrics(total_processed=501), 500)


@pytest.mark.parametrize(
    "changes",
    [
        {"in_progress_count": 1},
        {"pending_retry_count": 1},
        {"total_processed": 499},
        {"in_progress_count": None},
        {"pending_retry_count": None},
        {"total_processed": None},
        {"in_progress_count": "many"},
        {"total_processed": 500.5},
    ],
    ids=str,
)
def test_what_is_going_on_or_unknown_is_not_done(changes: dict[str, Any]) -> None:
    """No number that is missing or odd ends a batch call by accident."""
    assert not is_done(metrics(**changes), 500)


@pytest.mark.parametrize("total", [None, 0])
def test_without_a_number_of_recipients_nothing_is_done(total: int | None) -> None:
    """A vendor that has not counted them yet has not called them either."""
    assert not is_done(metrics(), total)
    assert not is_done(BatchMetrics.from_json({}), total)


fields = st.none() | st.integers(0, 3)


@given(st.fixed_dictionaries(dict.fromkeys(SAMPLE, fields)), st.none() | st.integers(0, 3))
def test_done_means_all_three_are_known_and_say_so(counts: dict[str, Any], total: int | None) -> None:
    """Whatever else is in the metrics."""
    done = is_done(BatchMetrics.from_json(counts), total)
    assert done == (
        counts["in_progress_count"] == counts["pending_retry_count"] == 0
        and counts["total_processed"] is not None
        and total is not None
        and 0 < total <= counts["total_processed"]
    )


@pytest.mark.parametrize(
    ("changes", "total", "rate"),
    [
        ({}, 500, 84.0),
        ({"success_rate": 99.0}, 500, 84.0),
        ({"success_count": None}, 500, 84.0),
        ({"success_count": None, "success_rate": None}, 500, None),
        ({"success_rate": 83.5}, None, 83.5),
        ({"success_rate": 83.5}, 0, 83.5),
        ({"success_count": 0}, 500, 0.0),
    ],
)
def test_the_success_rate_is_one_of_all_recipients(changes: Any, total: Any, rate: Any) -> None:
    """Counted by us where it can be, else as the vendor says, else unknown."""
    assert success_rate(metrics(**changes), total) == rate


def test_numbers_that_never_add_up_end_when_nothing_has_changed_for_long() -> None:
    """The time counts from the last change, and any change begins it anew."""
    one = progress()
    for minutes, processed, over in ((0, 100, False), (59, 100, False), (61, 101, False), (120, 101, False)):
        one.see(metrics(total_processed=processed), NOON + timedelta(minutes=minutes))
        assert one.is_over is over
    one.see(metrics(total_processed=101), NOON + timedelta(minutes=121))
    assert (one.is_over, one.is_stalled) == (True, True)


def test_who_is_done_has_not_stalled() -> None:
    """Also when it took so long that it looked like it."""
    one = progress()
    one.see(metrics(total_processed=499), NOON)
    one.see(metrics(), NOON + 2 * HOUR)
    assert (one.is_over, one.is_stalled) == (True, False)
    one.see(metrics(), NOON + 9 * HOUR)
    assert (one.is_over, one.is_stalled) == (True, False)


def test_averages_may_tremble() -> None:
    """Only what is counted is a change."""
    one = progress()
    assert one.see(metrics(in_progress_count=1), NOON)
    assert not one.see(metrics(in_progress_count=1, avg_duration_seconds=3.0, success_rate=1.0), NOON + HOUR)
    assert one.is_stalled


def test_nothing_at_all_stalls_as_well() -> None:
    """Metrics without any number end a wait, but not as done."""
    one = progress(None)
    one.see(BatchMetrics.from_json({}), NOON)
    one.see(BatchMetrics.from_json({}), NOON + HOUR)
    assert (one.is_over, one.is_stalled) == (True, True)


def test_another_process_goes_on_from_the_last_change() -> None:
    """It is written as plain values, and read back."""
    one, other = progress(), progress()
    one.see(metrics(total_processed=100), NOON)
    assert one.changed is not None
    other.changed = MetricsSnapshot.from_json(json.loads(json.dumps(one.changed.to_json())))
    assert not other.see(metrics(total_processed=100), NOON + HOUR)
    assert other.is_stalled


def test_the_end_is_estimated_from_the_rate_so_far() -> None:
    """A hundred in ten minutes, three hundred to go."""
    one = progress()
    one.see(metrics(total_processed=100), NOON)
    assert one.ends_at() is None
    one.see(metrics(total_processed=200), NOON + timedelta(minutes=10))
    assert one.ends_at() == NOON + timedelta(minutes=40)


@pytest.mark.parametrize(("total", "after"), [(500, 100), (500, 50), (None, 200), (500, None)])
def test_without_a_rate_there_is_no_estimate(total: Any, after: Any) -> None:
    """Nothing gained, or nothing known."""
    one = progress(total)
    one.see(metrics(total_processed=100), NOON)
    one.see(metrics(total_processed=after), NOON + HOUR)
    assert one.ends_at() is None


def test_an_end_beyond_all_dates_is_no_estimate() -> None:
    """One in ten days, of a million."""
    one = progress(10**6)
    one.see(metrics(total_processed=0), NOON)
    one.see(metrics(total_processed=1), NOON + timedelta(days=10))
    assert one.ends_at() is None


def test_progress_is_told_in_words() -> None:
    """Numbers, percent, and the time at which it may be over."""
    one = progress()
    assert one.in_words() == "nothing is known yet"
    one.see(metrics(total_processed=100, in_progress_count=7, pending_retry_count=2), NOON)
    words = "100 of 500 recipients are processed (20 %), 7 in progress, 2 to be called again"
    assert one.in_words() == words
    one.see(metrics(total_processed=200, in_progress_count=None), NOON + timedelta(minutes=10))
    assert one.in_words() == (
        "200 of 500 recipients are processed (40 %), unknown in progress, 0 to be called again;"
        " expected to finish about 2026-03-18 12:40 UTC"
    )
    one.see(metrics(), NOON + timedelta(minutes=11))
    assert one.in_words().endswith("(100 %), 0 in progress, 0 to be called again")


@pytest.mark.parametrize(
    ("counts", "left"),
    [
        ({"in_progress_count": 0, "pending_retry_count": 0, "total_processed": 485}, False),
        ({"in_progress_count": 1, "pending_retry_count": 0, "total_processed": 485}, True),
        ({"in_progress_count": 0, "pending_retry_count": 1, "total_processed": 485}, True),
        ({"in_progress_count": 0, "pending_retry_count": 0, "total_processed": 0}, True),
        ({"pending_retry_count": 0, "total_processed": 485}, True),
        ({"in_progress_count": 0, "total_processed": 485}, True),
        ({}, True),
    ],
    ids=str,
)
def test_who_is_counted_as_left_is_left_and_who_is_not_counted_is_not(
    counts: dict[str, int], left: bool
) -> None:
    """Telephony failures are in no count; a count that is missing is unknown, and never taken for none."""
    assert has_people_left(BatchMetrics.from_json(counts)) is left
