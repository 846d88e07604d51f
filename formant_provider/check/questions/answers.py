"""What an answer is, and the words of the vendor that may be in one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from formant_provider.core.numbers.in_text import may_hold_number

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.+/-]{0,39}")


class Answer(NamedTuple):
    """What was observed.

    :param says: the answer, in a few words that are the same whenever the same is observed.
    :param evidence: on what it rests: counts, names of fields and words of the vendor; nothing private.
    """

    says: str
    evidence: str


def word(value: Any) -> str:
    """Return a word of the vendor, such as a status; of anything else no more than its kind."""
    if isinstance(value, str) and _WORD.fullmatch(value) and not may_hold_number(value):
        return value
    return f"({'null' if value is None else type(value).__name__})"


def words(values: Iterable[Any]) -> str:
    """Return the words that there are, once each."""
    return ", ".join(sorted({word(value) for value in values})) or "none"
