"""Which agent calls whom: the same for each person everywhere, by the weights, and moving few people."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.errors import InvalidInput
from formant_provider.core.call_lists.variants import Variants

PEOPLE = [f"+9198{number:08}" for number in range(6000)]
NUMBERS = st.integers(10**9, 10**10 - 1).map("+91{}".format)
WEIGHTS = st.dictionaries(st.integers(1, 999), st.floats(0.01, 100), min_size=1, max_size=6)


@given(agents=WEIGHTS, number=NUMBERS)
def test_a_person_has_one_agent_in_whatever_order_they_are_named(
    agents: dict[int, float], number: str
) -> None:
    """A try that runs an hour later, on another worker, calls with the same agent."""
    turned = dict(reversed(agents.items()))
    assert Variants(agents).agent_for(number) == Variants(turned).agent_for(number)


def test_it_is_the_same_in_every_process_and_in_every_release() -> None:
    """Else an upgrade during a test would mix its halves."""
    program = (
        "from formant_provider.core.call_lists.variants import Variants\n"
        "print([Variants({456: 0.5, 457: 0.5}).agent_for(f'+9198765432{n}') for n in range(10, 20)])"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert shown == {b"[457, 457, 457, 456, 457, 457, 456, 456, 456, 457]\n"}


@pytest.mark.parametrize("agents", [{1: 0.5, 2: 0.5}, {1: 90, 2: 10}, {1: 1, 2: 2, 3: 3}, {7: 4.2}], ids=str)
def test_people_are_shared_by_the_weights(agents: dict[int, float]) -> None:
    """Of 6,000 people each agent has its share, to 2 in 100."""
    variants = Variants(agents)
    counts = Counter(map(variants.agent_for, PEOPLE))
    for agent_id, weight in agents.items():
        assert counts[agent_id] / len(PEOPLE) == pytest.approx(weight / sum(agents.values()), abs=0.02)


@given(agents=WEIGHTS, new=st.integers(1000, 1999), weight=st.floats(0.01, 100), number=NUMBERS)
def test_an_agent_that_is_added_moves_nobody_but_to_itself(
    agents: dict[int, float], new: int, weight: float, number: str
) -> None:
    """Read the other way round: one that is removed moves nobody but its own."""
    assert Variants({**agents, new: weight}).agent_for(number) in (Variants(agents).agent_for(number), new)


def test_tests_with_salts_of_their_own_are_independent() -> None:
    """Who was with the first agent in one test is with either in the other, half by half."""
    agents = {1: 1, 2: 1}
    one, other = Variants(agents, salt="opening"), Variants(agents, salt="closing")
    both = Counter((one.agent_for(number), other.agent_for(number)) for number in PEOPLE)
    assert len(both) == 4
    assert all(count / len(PEOPLE) == pytest.approx(0.25, abs=0.02) for count in both.values())


def test_it_says_the_same_of_itself_in_whatever_order_agents_are_named() -> None:
    """It is part of a DAG."""
    assert repr(Variants({"457": 1, 456: 2})) == "Variants({456: 2.0, 457: 1.0}, salt='')"


WRONG: dict[str, Any] = {
    "no agent": {},
    "no mapping": [456, 457],
    "an id that is none": {"sales": 1},
    "an agent twice": {456: 1, "456": 1},
    "no weight": {456: 1, 457: 0},
    "a weight below 0": {456: -1},
    "a weight without end": {456: float("inf")},
    "a weight that is no number": {456: float("nan")},
    "text": {456: "half"},
    "a switch": {456: True},
}


@pytest.mark.parametrize("agents", WRONG.values(), ids=WRONG)
def test_invalid_agents_are_refused(agents: Any) -> None:
    """Before anybody is called."""
    with pytest.raises(InvalidInput, match="agent"):
        Variants(agents)
