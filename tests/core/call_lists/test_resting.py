"""When a list gives its worker back: there is nothing to do for a while, and it is known until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from formant_provider.core.call_lists.control import QUIET, Rest, rest

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SOON, LATER = NOW + MINUTE, NOW + timedelta(hours=3)


def test_a_list_rests_until_the_next_call_is_due() -> None:
    """If that is longer than a worker may wait."""
    assert rest(NOW, LATER, MINUTE, quiet_for=None) == Rest(LATER)
    assert rest(NOW, SOON, MINUTE, quiet_for=None) is None


def test_a_list_without_anything_due_does_not_rest() -> None:
    """It is over."""
    assert rest(NOW, None, MINUTE, quiet_for=None) is None


def test_calls_in_progress_are_waited_for_by_the_worker_at_first() -> None:
    """Conversations last minutes."""
    assert rest(NOW, None, MINUTE, quiet_for=QUIET) is None
    assert rest(NOW, LATER, MINUTE, quiet_for=MINUTE) is None


def test_calls_of_which_nothing_is_heard_are_looked_for_now_and_then() -> None:
    """Nothing sleeps for an hour in a slot; what is due meanwhile is not late."""
    long = QUIET + timedelta(seconds=1)
    assert rest(NOW, None, MINUTE, quiet_for=long) == Rest(NOW + QUIET)
    assert rest(NOW, LATER, MINUTE, quiet_for=long) == Rest(NOW + QUIET)
    assert rest(NOW, NOW + 2 * MINUTE, MINUTE, quiet_for=long) == Rest(NOW + 2 * MINUTE)
    assert rest(NOW, SOON, MINUTE, quiet_for=long) is None
