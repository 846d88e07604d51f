"""Tells, a million times in a second, which numbers can be called.

``phonenumbers`` takes some 40 microseconds for a number. But almost every number of a good list can be known
at a glance: it has a length that its country has, and does not begin with what is dialled before a number at
home (the 0 in +44 020 ...), which ``phonenumbers`` would take off. One pattern knows that of all countries.
What it does not match is left to the library, so that the answer is always the library's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from formant_provider.api.contact_report import Reason
from formant_provider.api.numbering_plans import old_forms
from formant_provider.api.readings import LONGEST_DIGITS, SHORTEST_DIGITS, Numbers, Readings, has_zeros


class NumberReader:
    """Reads the numbers of one list.

    :param default_country: where a number is from that is written without its country code, as two letters of
        ISO 3166. ``None`` takes E.164 alone.
    :param numbers: what digits without a plus sign are: ``"national"`` of ``default_country``, or
        ``"e164_without_plus"``. ``None`` refuses those that could be either.
    :param renumber: whether a number of an old numbering plan is read as that of today; else it is refused.
    :raises InvalidInput: there is no such country, or no such word, or national numbers are of nowhere.
    """

    def __init__(
        self, default_country: str | None = None, numbers: Numbers | None = None, *, renumber: bool = False
    ) -> None:
        self.digits_are_told = numbers is not None
        self._readings = Readings(default_country, numbers, renumber=renumber)
        self._is_plain = _plain().fullmatch

    def at_a_glance(self, texts: Sequence[str]) -> list[int]:
        """Return each number as an integer; 0 for one that :meth:`read` has to look at."""
        is_plain = self._is_plain
        if all(map(is_plain, texts)):
            return list(map(int, texts))
        return [int(text) if is_plain(text) else 0 for text in texts]

    def read(self, text: str) -> tuple[int, str] | Reason:
        """Return a number as an integer and as the text to be sent, or why it cannot be called."""
        number = self._readings.read(text)
        return number if isinstance(number, Reason) else (int(number), number)

    def is_completed(self, text: str, number: str) -> bool:
        """Whether the country code of a number that was read came from ``default_country``."""
        return self._readings.is_completed(text, number)

    def note(self, text: str, reason: Reason) -> str | None:
        """Say what there is to say of a number that cannot be called, besides the reason; no digit of it."""
        return self._readings.note(text, reason)


@cache
def _plain() -> re.Pattern[str]:
    """Return the pattern of numbers that need no further look."""
    import phonenumbers

    codes = sorted(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
    # By the first digit, so that a number is not compared with the codes of the whole world.
    branches = [
        f"{first}(?:{'|'.join(code[1:] + _of_country(phonenumbers, code) for code in group)})"
        for first, group in groupby(codes, itemgetter(0))
    ]
    return re.compile(rf"\+(?:{'|'.join(branches)})", re.ASCII)


def _of_country(library: Any, code: str) -> str:
    """Return the pattern of what follows a country code in a number that needs no further look."""
    region = library.region_code_for_country_code(int(code))
    plan = library.PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    sizes = range(SHORTEST_DIGITS - len(code), LONGEST_DIGITS + 1 - len(code))
    lengths = [size for size in plan.general_desc.possible_length if size in sizes]
    # Some prefixes also match nothing at all, which takes nothing off.
    prefix = (
        f"(?!(?:{plan.national_prefix_for_parsing})(?<!\\+{code}))"
        if plan.national_prefix_for_parsing
        else ""
    )
    old = rf"(?!(?:{old_forms(code)})\Z)" if old_forms(code) else ""
    # A 0 that belongs to a number may be lost: without it, only mobile numbers are plain there.
    zero = rf"(?=0|(?:{plan.mobile.national_number_pattern})\Z)" if has_zeros(int(code)) else ""
    return prefix + old + zero + f"(?:{'|'.join(f'[0-9]{{{n}}}' for n in reversed(lengths))})"
