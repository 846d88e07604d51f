"""How far a list has come: one line, and an estimate that says what it does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from formant_provider.core.call_lists.progress import Progress, percent
from formant_provider.core.call_lists.tally import Tally

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def tally(reached: int, rows: int = 10_000) -> Tally:
    return Tally(rows, rejected=500, waiting=rows - 500 - reached, reached=reached, calls=reached + 40)


def test_the_line_tells_every_row_once() -> None:
    """Its five parts together are all rows."""
    now = Tally(10_000, rejected=500, waiting=8000, in_progress=100, reached=1200, closed=200, calls=1750)
    assert Progress().line(now, NOW) == (
        "1,900 of 10,000 rows are over (19 %): 1,750 calls placed, 1,200 people reached, 8,000 waiting,"
        " 100 in progress, 200 closed without being reached, 500 left out;"
        " how long it takes cannot be told yet"
    )


def test_an_estimate_is_by_the_last_minutes_and_says_what_it_leaves_out() -> None:
    """At 300 a minute, 6,000 that are left take 20 minutes."""
    progress = Progress()
    for minute in range(6):
        progress.line(tally(2000 + 300 * minute), after(minute))
    assert progress.left(tally(3500)) == (
        "about 20 minutes left at the rate of the last 5 minutes,"
        " not counting closed hours and further attempts"
    )


def test_what_is_long_ago_does_not_count() -> None:
    """A list that was slow for an hour and is fast now is estimated as fast."""
    progress = Progress()
    for minute in range(60):
        progress.line(tally(minute), after(minute))
    for minute in range(60, 71):
        progress.line(tally(60 + 600 * (minute - 60)), after(minute))
    assert "about 6 minutes left at the rate of the last 10 minutes" in str(progress.left(tally(6060)))


def test_where_nothing_moved_there_is_no_estimate() -> None:
    """Neither for ever nor at once: it is not known."""
    progress = Progress()
    for minute in range(5):
        progress.line(tally(7), after(minute))
    assert progress.left(tally(7)) == "how long it takes cannot be told yet"


def test_long_estimates_are_round() -> None:
    """Nobody knows the minute of tomorrow."""
    progress = Progress()
    progress.line(tally(0), NOW)
    progress.line(tally(10), after(5))
    assert "about 3 days left" in str(progress.left(tally(10)))
    progress.line(tally(100), after(6))
    assert "about 9 hours left" in str(progress.left(tally(100)))


def test_a_list_that_is_over_has_nothing_left() -> None:
    """And only then are 100 percent over."""
    done = Tally(1000, rejected=1, reached=998, closed=1)
    assert Progress().left(done) is None
    assert percent(done) == 100
    assert percent(Tally(1000, waiting=1, reached=999)) == 99
    assert percent(Tally()) == 100
