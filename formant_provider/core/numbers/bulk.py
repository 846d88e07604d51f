"""Reads the numbers of a list: the plain ones all at once, and the others one by one as those of a call.

``phonenumbers`` takes some 40 microseconds for a number, which for a million rows is longer than all else.
But almost every number of a good list needs none of its knowledge: it has a length that its country has, and
does not begin with what is dialled before a number at home (the 0 in +44 020 ...), which ``phonenumbers``
would take off. One pattern, made from the library's own data, knows these of all countries. What it does not
match is left to the library, so that the answer is always the library's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from formant_provider.core.numbers.plans import old_forms
from formant_provider.core.numbers.reading import Numbers, Readings
from formant_provider.core.numbers.recipient import LONGEST_DIGITS, SHORTEST_DIGITS, has_zeros

# So many zeros at the end are what a spreadsheet leaves of a number in scientific notation.
_ROUND = "0" * 6 + "\0"


class NumberReader(Readings):
    """Reads the numbers of one list."""

    def __init__(
        self, country: str | None = None, numbers: Numbers | None = None, *, renumber: bool = False
    ) -> None:
        super().__init__(country, numbers, renumber=renumber)
        self.digits_are_told = numbers is not None
        self.round_numbers = 0
        self._are_plain = _plain().fullmatch

    def at_a_glance(self, texts: Sequence[str]) -> list[int]:
        """Return each number as an integer; 0 for one that :meth:`read` has to look at.

        :param texts: none holds a NUL.
        """
        together = "\0".join([*texts, ""])
        self.round_numbers += together.count(_ROUND)
        return self._integers(texts, together)

    def _integers(self, texts: Sequence[str], together: str) -> list[int]:
        """Match all at once, which is fast, and halve what does not match as a whole."""
        if self._are_plain(together):
            return list(map(int, texts))
        if len(texts) == 1:
            return [0]
        half = len(texts) // 2
        parts = (texts[:half], texts[half:])
        return [number for part in parts for number in self._integers(part, "\0".join([*part, ""]))]


@cache
def _plain() -> re.Pattern[str]:
    """Return the pattern of numbers that need no further look, with a NUL behind each."""
    import phonenumbers

    codes = map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    numbers = _by_digit({code: _of_country(phonenumbers, code) for code in codes})
    return re.compile(rf"(?:\+{numbers}\0)*+", re.ASCII)


def _by_digit(patterns: Mapping[str, str], start: str = "") -> str:
    """Join patterns digit by digit of their codes, so that a number is not compared with those of all."""
    if start in patterns:
        return patterns[start]
    digits = sorted({code[len(start)] for code in patterns if code.startswith(start)})
    return f"(?:{'|'.join(digit + _by_digit(patterns, start + digit) for digit in digits)})"


def _of_country(library: Any, code: str) -> str:
    """Return the pattern of what follows a country code in a number that needs no further look."""
    region = library.region_code_for_country_code(int(code))
    plan = library.PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    sizes = range(SHORTEST_DIGITS - len(code), LONGEST_DIGITS + 1 - len(code))
    lengths = [size for size in plan.general_desc.possible_length if size in sizes]
    ahead = ""
    if prefix := plan.national_prefix_for_parsing:
        # Some of these also match nothing at all, which takes nothing off.
        ahead += f"(?!(?:{_at_end(prefix)})(?<!\\+{code}))"
    if old := old_forms(code):
        ahead += rf"(?!(?:{old})\0)"
    if has_zeros(int(code)):
        # A 0 that belongs to a number may be lost: without it, only mobile numbers are plain there.
        ahead += rf"(?=0|(?:{_at_end(plan.mobile.national_number_pattern)})\0)"
    if lengths == list(range(lengths[0], lengths[-1] + 1)):
        return ahead + f"[0-9]{{{lengths[0]},{lengths[-1]}}}"
    return ahead + f"(?:{'|'.join(f'[0-9]{{{size}}}' for size in lengths)})"


def _at_end(pattern: str) -> str:
    """Let a pattern of the library, where it sees the end of a number, see the NUL behind it."""
    return pattern.replace("$", r"(?=\0)")
