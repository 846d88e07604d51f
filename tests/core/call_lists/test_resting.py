"""When a list gives its worker back: there is nothing to do for a while, and it is known until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from formant_provider.core.call_lists.control import QUIET, Rest, rest

NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SOON, LATER = NOW + MINUTE, NOW + timedelta(hours=3)


def unblocked(due_at: datetime | None, *, quiet_for: timedelta | None) -> Rest | None:
    """Decide where the limit lets everything go."""
    return rest(NOW, due_at, MINUTE, blocked_for=timedelta(0), quiet_for=quiet_for)


def test_a_list_rests_until_the_next_call_is_due() -> None:
    """If that is longer than a worker may wait."""
    assert unblocked(LATER, quiet_for=None) == Rest(LATER)
    assert unblocked(SOON, quiet_for=None) is None


def test_a_list_without_anything_due_does_not_rest() -> None:
    """It is over."""
    assert unblocked(None, quiet_for=None) is None


def test_calls_in_progress_are_waited_for_by_the_worker_at_first() -> None:
    """Conversations last minutes."""
    assert unblocked(None, quiet_for=QUIET) is None
    assert unblocked(LATER, quiet_for=MINUTE) is None


def test_calls_of_which_nothing_is_heard_are_looked_for_now_and_then() -> None:
    """Nothing sleeps for an hour in a slot; what is due meanwhile is not late."""
    long = QUIET + timedelta(seconds=1)
    assert unblocked(None, quiet_for=long) == Rest(NOW + QUIET)
    assert unblocked(LATER, quiet_for=long) == Rest(NOW + QUIET)
    assert unblocked(NOW + 2 * MINUTE, quiet_for=long) == Rest(NOW + 2 * MINUTE)
    assert unblocked(SOON, quiet_for=long) is None


def test_a_list_rests_while_nothing_may_be_asked() -> None:
    """A poll that is under way is not given up for a short while, for it would have to begin anew."""

    def blocked(blocked_for: timedelta, quiet_for: timedelta | None) -> Rest | None:
        return rest(NOW, SOON, MINUTE, blocked_for=blocked_for, quiet_for=quiet_for)

    assert blocked(2 * MINUTE, None) == Rest(NOW + 2 * MINUTE)
    assert blocked(2 * MINUTE, MINUTE) is None
    assert blocked(60 * MINUTE, MINUTE) == Rest(NOW + 60 * MINUTE)
