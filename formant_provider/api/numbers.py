"""Tells, a million times in a second or two, which numbers can be called and which came before.

``phonenumbers`` takes some 40 microseconds for a number. But almost every number of a good list can be known
at a glance: it has a length that its country has, and it does not begin with what is dialled before a number
at home (the 0 in +44 020 ...), which ``phonenumbers`` would take off. One pattern knows that of all
countries, and is matched with hundreds of numbers at once. What it does not match is left to the library, so
that the answer is always the library's.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby
from typing import Any, get_args

from formant_provider.api.contact_report import Reason
from formant_provider.api.errors import InvalidInput
from formant_provider.api.readings import SHORTEST_DIGITS, Numbers, Readings

_PLACES = (1 << 21) + 1


class NumberReader:
    """Reads the numbers of one list.

    :param default_region: where a number is from that is written without its country code, as two letters of
        ISO 3166. ``None`` takes E.164 alone.
    :param numbers: what digits without a plus sign are: ``"national"`` of ``default_region``, or
        ``"e164_without_plus"``. ``None`` refuses those that could be either.
    :raises InvalidInput: there is no such region, or no such word, or national numbers are of nowhere.
    """

    def __init__(self, default_region: str | None = None, numbers: Numbers | None = None) -> None:
        import phonenumbers

        if default_region is not None and default_region not in phonenumbers.SUPPORTED_REGIONS:
            raise InvalidInput("default_region", "must be two capital letters of ISO 3166, such as US")
        if numbers is not None and numbers not in get_args(Numbers):
            raise InvalidInput("numbers", f"must be one of {', '.join(get_args(Numbers))}, or None")
        if numbers == "national" and default_region is None:
            raise InvalidInput(
                "numbers", "national numbers need default_region, which says where they are from"
            )
        self.digits_are_told = numbers is not None
        self._readings = Readings(default_region, numbers)
        self._plain = re.compile(rf"(?:\+{_nested(_countries(phonenumbers))}\0)*")

    def at_a_glance(self, texts: Sequence[str]) -> list[int]:
        """Return each number as an integer; 0 for one that :meth:`read` has to look at.

        :param texts: none holds a NUL.
        """
        # The pattern goes on until a text does not match, and after that one it begins anew.
        together = "\0".join([*texts, ""])
        odd, end = [], 0
        while (end := self._matched(together, end)) < len(together):
            odd.append(together.count("\0", 0, end))
            end = together.index("\0", end) + 1
        if odd:
            texts = list(texts)
            for position in odd:
                texts[position] = "0"
        return list(map(int, texts))

    def _matched(self, together: str, start: int) -> int:
        match = self._plain.match(together, start)
        return match.end() if match else start

    def read(self, text: str) -> tuple[int, str] | Reason:
        """Return a number as an integer and as the text to be sent, or why it cannot be called."""
        number = self._readings.read(text)
        return number if isinstance(number, Reason) else (int(number), number)

    def note(self, text: str, reason: Reason) -> str | None:
        """Say what there is to say of a number that cannot be called, besides the reason; no digit of it."""
        return self._readings.lengths(text) if reason is Reason.AMBIGUOUS_NUMBER else None


def _countries(library: Any) -> dict[str, str]:
    """For each country code, return the pattern of what follows it in a number that needs no further look."""
    patterns = {}
    for country in library.COUNTRY_CODE_TO_REGION_CODE:
        code, region = str(country), library.region_code_for_country_code(country)
        plan = library.PhoneMetadata.metadata_for_region_or_calling_code(country, region)
        number = library.PhoneNumber(country_code=country)
        lengths = []
        for digits in range(SHORTEST_DIGITS - len(code), 16 - len(code)):
            number.national_number = 10 ** (digits - 1)
            lengths += [digits] if library.is_possible_number(number) else []
        # Where the library sees the end of the number, we see a NUL.
        prefix = (plan.national_prefix_for_parsing or "").replace("$", r"(?=\0)")
        # Some of these also match nothing at all, which takes nothing off.
        no_prefix = rf"(?!(?:{prefix})(?<!\+{code}))" if prefix else ""
        patterns[code] = f"{no_prefix}(?:{_runs(lengths)})"
    return patterns


def _nested(patterns: Mapping[str, str], start: str = "") -> str:
    """Join the patterns digit by digit, so that a code is not compared with all others."""
    if start in patterns:
        return patterns[start]
    branches = [
        digit + _nested(patterns, start + digit)
        for digit in "0123456789"
        if any(code.startswith(start + digit) for code in patterns)
    ]
    return f"(?:{'|'.join(branches)})"


def _runs(lengths: Sequence[int]) -> str:
    """Write lengths as a pattern, those in a row as one."""
    runs = [
        [length for _, length in run]
        for _, run in groupby(enumerate(lengths), lambda pair: pair[1] - pair[0])
    ]
    return "|".join(f"[0-9]{{{run[0]},{run[-1]}}}" for run in reversed(runs))


class NumberSet:
    """Remembers numbers in some 30 bytes each, where a set of integers takes 70 to 100.

    Each number has one place in a table. Those that find theirs taken go to an ordinary set, which is about
    one in five of a million.

    :param places: what to begin with; more are added as numbers come in.
    """

    def __init__(self, places: int = _PLACES) -> None:
        self._table = array("Q", [0]) * places
        self._displaced: set[int] = set()

    def add(self, numbers: Iterable[int]) -> list[int]:
        """Remember numbers, and return the positions of those that were there already.

        :param numbers: each above 0 and below 2 ** 64.
        """
        if len(self._displaced) > len(self._table) // 3:
            self._grow()
        table, displaced, places = self._table, self._displaced, len(self._table)
        repeated = []
        for position, number in enumerate(numbers):
            place = number % places
            there = table[place]
            if not there:
                table[place] = number
            elif there == number or number in displaced:
                repeated.append(position)
            else:
                displaced.add(number)
        return repeated

    def find(self, numbers: Iterable[int]) -> list[int]:
        """Return the positions of numbers that are remembered."""
        table, displaced, places = self._table, self._displaced, len(self._table)
        return [
            position
            for position, number in enumerate(numbers)
            if table[number % places] == number or number in displaced
        ]

    def _grow(self) -> None:
        numbers = chain(filter(None, self._table), self._displaced)
        larger = NumberSet(2 * len(self._table) + 1)
        larger.add(numbers)
        self._table, self._displaced = larger._table, larger._displaced
