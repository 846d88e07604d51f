"""Says which phone a written number means, if it can mean but one.

A number with a plus sign has one reading. One without can be a national number, or one of anywhere whose plus
sign was lost on the way (in an integer, in an export). Where both are numbers that can exist, it is refused:
the second reading is somebody else's phone.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from formant_provider.api.contact_report import Reason

Numbers: TypeAlias = Literal["national", "e164_without_plus"]

E164 = re.compile(r"\+[1-9][0-9]{1,14}")
# How people write numbers. Letters, slashes and commas are left out, since the library would guess.
_WRITTEN = re.compile(r"\s*\(?\+?[ (\u00a0]*[0-9](?:[0-9 ().\u00a0-]*[0-9])?\s*")
# What a spreadsheet makes of a number: 919876543210.0, 9.1987654321, 03023125123.00
_DECIMAL = re.compile(r"[^.]*\.([0-9]{0,3}|0+)\s*|\s*[0-9]?\.[^.]*")
# A country code and a number of 4 digits, as on Niue. In some plans of large countries less is "possible",
# and one such number would have a whole batch call refused.
SHORTEST_DIGITS = 7
_ONE_BLANK = (" ", "\u00a0")


def canonical(number: str) -> str | None:
    """Return the one spelling of a number of the form of E.164; ``None`` if it cannot exist.

    ``+4402079460123`` and ``+442079460123`` are one phone. Which digits belong to the number, such as the 0
    of Italy, and which are dialled before it at home is for the library to know.

    :param number: a plus sign and digits.
    """
    import phonenumbers  # here and not above: a DAG file is parsed far more often than a call is placed

    seen: str | None = None
    while number != seen:  # what it makes of an odd number, it may read otherwise once more
        seen, parsed = number, None
        with suppress(phonenumbers.NumberParseException):
            parsed = phonenumbers.parse(number)
        if parsed is None or not phonenumbers.is_possible_number(parsed):
            return None
        number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        if not E164.fullmatch(number) or len(number) <= SHORTEST_DIGITS:
            return None
    return number


class Readings:
    """Reads what people write.

    :param region: where a number is from that has no country code; ``None``: none can lack it.
    :param numbers: what digits without a plus sign are; ``None``: what they are taken for must be the only
        way.
    """

    def __init__(self, region: str | None, numbers: Numbers | None = None) -> None:
        import phonenumbers

        self._library: Any = phonenumbers
        self._region, self._numbers = region, numbers

    def read(self, text: str) -> str | Reason:
        """Return the number in E.164, in its one spelling, or why it cannot be called."""
        if not text.strip():
            return Reason.NO_NUMBER
        if E164.fullmatch(text):
            return canonical(text) or Reason.IMPOSSIBLE_NUMBER
        takes_other_writing = self._region is not None or self._numbers is not None
        if not takes_other_writing or not _WRITTEN.fullmatch(text) or _DECIMAL.fullmatch(text):
            return Reason.NOT_E164
        number = self._reading(text)
        return Reason.IMPOSSIBLE_NUMBER if number is None else self._judged(text, number)

    def _judged(self, text: str, number: str) -> str | Reason:
        """Return what a text is read as, unless it can be something else as well."""
        if self._is_grouped_as_at_home(text, number):
            return number
        if self._holds_two(text):
            return Reason.NOT_E164
        return Reason.AMBIGUOUS_NUMBER if self._has_another(text, number) else number

    def lengths(self, text: str) -> str:
        """Say how long an ambiguous number is in either reading, and no digit of it."""
        home = len(self._reading(text) or "+") - 1
        return f"{len(_abroad(text)) - 1} digits with a country code, {home} with that of default_region"

    def _reading(self, text: str) -> str | None:
        """Read a text, or a part of one, in the way that is asked for."""
        if "+" in text or self._numbers == "e164_without_plus":
            number = f"+{_digits(text)}"
            return canonical(number) if E164.fullmatch(number) else None
        return self._national(text)

    def _national(self, text: str) -> str | None:
        library = self._library
        with suppress(library.NumberParseException):
            parsed = library.parse(text, self._region)
            # A number without its area code can be dialled at home, but never be made E.164 of.
            if library.is_possible_number_with_reason(parsed) == library.ValidationResult.IS_POSSIBLE:
                number: str = library.format_number(parsed, library.PhoneNumberFormat.E164)
                # A valid number is in its one spelling, which saves most of them a second look.
                return number if library.is_valid_number(parsed) else canonical(number)
        return None

    def _is_valid(self, number: str | None) -> bool:
        """Whether a number lies in a range that is known to be in use."""
        return number is not None and self._library.is_valid_number(self._library.parse(number)) is True

    def _is_grouped_as_at_home(self, text: str, number: str) -> bool:
        """Whether a number is parted as its country parts it: then it is one, and it is one of there."""
        library, groups = self._library, re.findall("[0-9]+", text)
        if self._numbers or len(groups) == 1 or "+" in text:
            return False
        usual = library.format_number(library.parse(number), library.PhoneNumberFormat.NATIONAL)
        return groups == re.findall("[0-9]+", usual)

    def _holds_two(self, text: str) -> bool:
        """Whether the beginning alone is a number, so that the rest may be another, or an extension."""
        for mark in re.finditer("[^0-9+]+", text.strip()):
            head, tail = text.strip()[: mark.start()], text.strip()[mark.end() :]
            if tail and self._is_valid(self._reading(head)):
                again = tail[0] in "0+" and self._is_valid(self._reading(tail))
                runs_on = mark.group() not in _ONE_BLANK or not self._is_valid(self._reading(text))
                if again or runs_on:
                    return True
        return False

    def _has_another(self, text: str, number: str) -> bool:
        if self._numbers or "+" in text:
            return False
        abroad = _abroad(text)
        other = canonical(abroad) if E164.fullmatch(abroad) else None
        if other is None or other == number:
            return False
        if self._is_valid(number):
            # With the 0 that is dialled at home it is national, or the 0 would be dialled for nothing. But 00
            # is dialled before a country code almost everywhere, and may be the beginning of 001 elsewhere.
            digits = _digits(text)
            return (digits.startswith("00") or not digits.startswith("0")) and self._is_valid(other)
        return True


def _digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)


def _abroad(text: str) -> str:
    """Return digits as if they began with a country code, behind what is dialled before one here or there."""
    return "+" + re.sub("^(00|011)", "", _digits(text))
