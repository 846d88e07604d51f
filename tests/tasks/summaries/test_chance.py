"""What is said of agents that were compared is true as often as it claims."""

from __future__ import annotations

from math import comb

import pytest

from formant_provider.tasks.summaries.chance import difference, interval, verdicts
from formant_provider.tasks.summaries.summary import Share


def test_an_interval_is_wilsons() -> None:
    """As the paper has it: of 263, 81."""
    assert interval(Share(263, 81)) == pytest.approx((25.53, 36.62), abs=0.01)


def test_a_difference_is_newcombes() -> None:
    """As the paper has it: 56 of 70 against 48 of 80."""
    assert difference(Share(70, 56), Share(80, 48)) == pytest.approx((20, 5.24, 33.39), abs=0.01)


def test_nothing_is_known_of_nobody() -> None:
    """Without calls any share may be the true one, and nothing is compared."""
    assert interval(Share()) == (0, 100)
    assert verdicts({"456": Share(10, 5), "457": Share()}) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_equal_agents_are_rarely_told_apart(share: float) -> None:
    """Of two agents that are as good as each other, it is said in at most 6 of 100 lists that they differ."""
    n = 40
    weights = [comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    wrong = sum(
        weights[one] * weights[other]
        for one in range(n + 1)
        for other in range(n + 1)
        if "more than chance" in verdicts({"456": Share(n, one), "457": Share(n, other)})[0]
    )
    assert wrong <= 0.06


def test_a_clear_difference_is_named() -> None:
    """The better agent comes first, with the interval of the difference."""
    (sentence,) = verdicts({"456": Share(5000, 2000), "457": Share(5000, 2300)})
    assert sentence.startswith(
        "Agent 457 reached 6.0 percentage points more than agent 456 (95 % interval: 4."
    )
    assert sentence.endswith("That is more than chance explains.")


def test_a_small_list_settles_nothing() -> None:
    """7 of 10 against 4 of 10 may be chance."""
    (sentence,) = verdicts({"456": Share(10, 4), "457": Share(10, 7)})
    assert sentence.endswith("The interval contains 0, so this difference may be chance.")


def test_many_agents_allow_for_many_comparisons() -> None:
    """What is clear between two agents is not when the pair was picked out of several."""
    two = {"456": Share(1000, 450), "457": Share(1000, 500)}
    assert "more than chance" in verdicts(two)[0]
    four = two | {"458": Share(1000, 470), "459": Share(1000, 480)}
    assert verdicts(four) == ["No two of these agents differ by more than chance may explain."]
    clear = four | {"460": Share(1000, 700)}
    assert all(sentence.startswith("Agent 460 reached") for sentence in verdicts(clear))
    assert len(verdicts(clear)) == 4


def test_agents_that_reached_the_same_share_are_said_to() -> None:
    """None of them is named as the better one."""
    (said,) = verdicts({"456": Share(6, 3), "789": Share(8, 4)})
    assert said.startswith("Agents 456 and 789 reached the same share (95 % interval: -")
