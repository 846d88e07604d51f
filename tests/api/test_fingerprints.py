from __future__ import annotations

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.fingerprints import Fingerprints

NUMBER = "+14155550100"
DIGITS = NUMBER[1:]
OURS = Fingerprints("key", 456)


@pytest.mark.parametrize(
    "written", ["14155550100", "+1 415 555 0100", "+1 (415) 555-0100", "1.415.555.0100", " 14155550100\n"]
)
def test_a_number_has_one_mark_however_it_is_written(written: str) -> None:
    """Plus sign, spaces, dots and brackets are the writer's taste."""
    assert OURS.mark(written) == OURS.mark(NUMBER) is not None


@pytest.mark.parametrize("written", ["+14155550101", "+1415555010", "+141555501000", "4155550100"])
def test_another_number_has_another_mark(written: str) -> None:
    """A part of a number is not the number."""
    assert OURS.mark(written) != OURS.mark(NUMBER)


@pytest.mark.parametrize("written", [None, "", "+", "unknown"])
def test_no_number_has_no_mark(written: str | None) -> None:
    """So two records without a number are not taken for the same recipient."""
    assert OURS.mark(written) is None


@pytest.mark.parametrize(
    "theirs",
    [
        Fingerprints("other key", 456),
        Fingerprints("key", 789),
        Fingerprints("key", None),
        Fingerprints("", 456),
    ],
)
def test_marks_of_another_key_or_agent_are_others(theirs: Fingerprints) -> None:
    """Who does not have the key cannot make the mark, and says that it cannot compare it."""
    mark, their_mark = OURS.mark(NUMBER), theirs.mark(NUMBER)
    assert mark is not None
    assert their_mark is not None
    assert set(mark.split(".")).isdisjoint(their_mark.split("."))
    assert not OURS.made(their_mark)
    assert not theirs.made(mark)


def test_our_own_marks_can_be_compared_in_any_process() -> None:
    """The same key and agent make the same marks; nothing and nonsense cannot be compared."""
    assert Fingerprints("key", 456).made(OURS.mark(NUMBER))
    assert Fingerprints("key", 456).mark(NUMBER) == OURS.mark(NUMBER)
    assert not OURS.made(None)
    assert not OURS.made("")
    assert not OURS.made(NUMBER)


def test_the_client_makes_the_marks_of_its_key() -> None:
    """A client's marks are those of the key it sends."""
    with FormantClient(ClientConfig("http://127.0.0.1:9", "key")) as client:
        assert client.fingerprints(456).mark(NUMBER) == OURS.mark(NUMBER)


def test_the_number_is_not_in_the_mark() -> None:
    """Not one seven digits of a hundred numbers, nor the key, can be read off."""
    for ending in range(100):
        number = f"{DIGITS[:-2]}{ending:02}"
        mark = Fingerprints("secret-key", 456).mark(number) or ""
        assert not any(number[at : at + 7] in mark for at in range(len(number) - 6))
        assert "secret-key" not in mark


def test_marks_tell_many_numbers_apart() -> None:
    """Ten thousand numbers have ten thousand marks of one length."""
    marks = {OURS.mark(f"+1415555{number:04}") for number in range(10_000)}
    assert len(marks) == 10_000
    assert len({len(mark or "") for mark in marks}) == 1
