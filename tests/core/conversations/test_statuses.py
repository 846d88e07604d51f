from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.models import Conversation
from formant_provider.core.conversations.statuses import FINAL, Endings, ended, is_known, moment_text

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
VENDORS = (
    "completed",
    "failed",
    "no_answer",
    "busy",
    "unreachable",
    "socket_failure",
    "telephony_failed",
)
GOING_ON = ("initiated", "scheduled", "in_progress", "pending", "pending_retry")
STRANGE = ("voicemail_reached", "COMPLETED", "completed ", "")


def record(status: str | None, *, ended_at: datetime | None = None) -> Conversation:
    end_ms = None if ended_at is None else int(ended_at.timestamp() * 1000)
    return Conversation("c-1", 456, status, end_timestamp=end_ms)


def test_the_vendor_s_seven_words_are_final() -> None:
    """Seven events end an attempt, and no other word does."""
    assert set(VENDORS) == FINAL
    assert all(Endings().is_over(status) and is_known(status) for status in VENDORS)


@pytest.mark.parametrize("status", [*GOING_ON, *STRANGE, None])
def test_any_other_word_is_waited_on(status: str | None) -> None:
    """What is going on, what we do not know and what is missing ends no wait and is no success."""
    assert not Endings().is_over(status)
    assert not Endings().is_success(status)


def test_the_words_for_what_goes_on_need_no_warning() -> None:
    """Known words are not reported as strange, others are."""
    assert all(is_known(status) for status in GOING_ON)
    assert not any(is_known(status) for status in (*STRANGE, None))


@pytest.mark.parametrize("status", VENDORS)
def test_only_completed_is_a_success(status: str) -> None:
    """An unsuccessful end is not taken for what was hoped for."""
    assert Endings().is_success(status) is (status == "completed")


def test_users_may_name_further_final_words() -> None:
    """A further word ends the wait and is no success; the vendor's words stay final."""
    endings = Endings(further=frozenset({"voicemail_reached"}))
    assert endings.is_over("voicemail_reached")
    assert not endings.is_success("voicemail_reached")
    assert endings.is_over("no_answer")
    assert not endings.is_over("in_progress")


def test_users_may_name_what_they_hope_for() -> None:
    """A word that is a success is final; completed is no success when only others are hoped for."""
    endings = Endings(successful=frozenset({"voicemail_reached"}))
    assert endings.is_over("voicemail_reached")
    assert endings.is_success("voicemail_reached")
    assert endings.is_over("completed")
    assert not endings.is_success("completed")


SETTLING = Endings(settle_for=timedelta(minutes=10))


@pytest.mark.parametrize(("minutes", "counts"), [(0, False), (9.99, False), (10, True), (60, True)])
def test_an_unsuccessful_record_counts_so_long_after_its_end(minutes: float, counts: bool) -> None:
    """The time runs from the end that the record names, not from when it was seen."""
    now = NOON + timedelta(minutes=minutes)
    assert SETTLING.counts(record("busy", ended_at=NOON), now=now, seen_at=now) is counts


@pytest.mark.parametrize(("minutes", "counts"), [(0, False), (9.99, False), (10, True)])
def test_without_an_end_the_time_runs_from_when_it_was_seen(minutes: float, counts: bool) -> None:
    """A record that does not say when it ended settles all the same."""
    assert SETTLING.counts(record("busy"), now=NOON + timedelta(minutes=minutes), seen_at=NOON) is counts


def test_success_counts_at_once() -> None:
    """Nobody is rung again after a call that went well."""
    assert SETTLING.counts(record("completed", ended_at=NOON), now=NOON, seen_at=NOON)


def test_without_settling_the_first_end_counts() -> None:
    """By default an unsuccessful record ends the wait, also when the vendor's clock is ahead of ours."""
    assert Endings().counts(record("busy", ended_at=NOON), now=NOON, seen_at=NOON)


def test_an_end_in_the_future_is_taken_for_now() -> None:
    """A vendor's clock that is ahead, by a minute or by years, does not delay the outcome."""
    for ahead in (timedelta(minutes=1), timedelta(days=1000)):
        late = record("busy", ended_at=NOON + ahead)
        assert not SETTLING.counts(late, now=NOON + timedelta(minutes=9), seen_at=NOON)
        assert SETTLING.counts(late, now=NOON + timedelta(minutes=10), seen_at=NOON)
        assert Endings().counts(late, now=NOON, seen_at=NOON)


def test_timestamps_are_milliseconds() -> None:
    """The vendor's sample value is the moment its documents name."""
    sample = Conversation("c-1", 456, "completed", end_timestamp=1773867341766)
    assert ended(sample) == datetime(2026, 3, 18, 20, 55, 41, 766000, tzinfo=UTC)
    assert ended(record("completed")) is None


@pytest.mark.parametrize("timestamp", [None, "soon", float("nan"), 10**30], ids=str)
def test_a_timestamp_that_is_none_has_no_moment(timestamp: Any) -> None:
    """A result says None instead, whatever the API sends; a call that is over fails no task for it."""
    assert moment_text(timestamp) is None
    assert moment_text(1773842400123) == "2026-03-18T14:00:00.123Z"
