"""When a list stops before its end, and what it says then."""

from __future__ import annotations

import pytest

from formant_provider.core.call_lists.stopping import StopRule
from formant_provider.core.call_lists.tally import Tally

STOPS: dict[str, tuple[StopRule, Tally, Tally, str]] = {
    "a goal": (
        StopRule(reached=100),
        Tally(reached=99),
        Tally(reached=100),
        "100 people were reached; the goal is 100 (stop_when.reached)",
    ),
    "minutes": (
        StopRule(minutes=10),
        Tally(seconds=599),
        Tally(seconds=600),
        "the conversations lasted 10.0 minutes together; the limit is 10 (stop_when.minutes)",
    ),
    "cost": (
        StopRule(cost=2.5, cost_per_minute=0.25),
        Tally(seconds=599),
        Tally(seconds=630),
        "the conversations cost 2.62, being 10.5 minutes at 0.25; the limit is 2.5 (stop_when.cost)",
    ),
    "failures": (
        StopRule(failed_above=30, after=10),
        Tally(ended=10, failed=3),
        Tally(ended=13, failed=4),
        "4 of 13 attempts failed, 30.8 %; the limit is 30 % from 10 attempts on (stop_when.failed_above)",
    ),
}


@pytest.mark.parametrize(("rule", "before", "then", "said"), STOPS.values(), ids=STOPS)
def test_a_list_stops_at_its_limit_and_says_so_with_the_figures(
    rule: StopRule, before: Tally, then: Tally, said: str
) -> None:
    """One less, and it continues."""
    assert rule.reason(before) is None
    assert rule.reason(then) == said


def test_a_few_failures_at_the_beginning_do_not_stop_it() -> None:
    """A share says nothing until enough attempts are over; without a word, that is after 50."""
    rule = StopRule(failed_above=30)
    assert rule.reason(Tally(ended=49, failed=49)) is None
    assert rule.reason(Tally(ended=50, failed=50)) is not None


def test_exactly_the_share_is_not_above_it() -> None:
    """Also where the quotient of two whole numbers is not exact, and at both ends."""
    for failed, ended in ((7, 100), (29, 100), (57, 100), (1, 100), (0, 50), (100, 100)):
        assert StopRule(failed_above=failed, after=1).reason(Tally(ended=ended, failed=failed)) is None
    assert StopRule(failed_above=0, after=1).reason(Tally(ended=50, failed=1)) is not None


def test_without_limits_nothing_stops_it() -> None:
    """However many there are."""
    assert StopRule().reason(Tally(reached=9**9, seconds=9**9, ended=9**9, failed=9**9)) is None
