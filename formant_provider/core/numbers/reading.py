"""Decides which phone a written number means. A number that can mean two phones is refused.

A number with a plus sign has one reading. One without can be a national number, or one of anywhere whose plus
sign was lost on the way (in an integer, in an export). Where both are numbers that can exist, it is refused:
the second reading is somebody else's phone.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, get_args

from formant_provider.api.errors import InvalidInput
from formant_provider.core.numbers.plans import Renewal, renewed
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.numbers.recipient import E164, Recipient, canonical, has_zeros, parsed, possible
from formant_provider.core.numbers.writing import (
    DECIMAL,
    holds_two,
    is_date,
    may_have_extension,
    oddity,
    restored,
    tidied,
)

Numbers: TypeAlias = Literal["national", "e164_without_plus"]

# How people write numbers. Letters and commas are left out, since the library would guess.
_WRITTEN = re.compile(r"\(?\+?[ (]*[0-9](?:[0-9 ()./-]*[0-9])?")
# An area code, a slash and the rest, as in Germany and Austria: 0171/3920016.
_BY_SLASH = re.compile(r"\(?(?:\+|0)[0-9 ()-]{1,11} ?/ ?[1-9][0-9 -]{3,}")
# Groups between hyphens alone that are run together: no longer than this, without the country code.
_LONGEST_BY_HYPHENS, _SHORTEST_GROUP = 11, 3
_NORTH_AMERICAN_DIGITS = 10
# A digit or two behind a long group are no group of the number, but an extension.
_SHORT_TAIL = re.compile(r".*[0-9]{5} [0-9]{1,2}")


class Readings:
    """Reads what people write.

    :param country: where a number is from that has no country code; ``None``: none can lack it.
    :param numbers: what digits without a plus sign are; ``None``: what they are taken for must be the only
        way.
    """

    def __init__(
        self, country: str | None, numbers: Numbers | None = None, *, renumber: bool = False
    ) -> None:
        import phonenumbers

        if country is not None and country not in phonenumbers.SUPPORTED_REGIONS:
            raise InvalidInput("default_country", "must be two capital letters of ISO 3166, such as US")
        if numbers is not None and numbers not in get_args(Numbers):
            raise InvalidInput("numbers", f"must be one of {', '.join(get_args(Numbers))}, or None")
        if numbers == "national" and country is None:
            raise InvalidInput(
                "numbers", "national numbers need default_country, which says where they are from"
            )
        self._library: Any = phonenumbers
        self._country, self._numbers, self._renumber = country, numbers, renumber

    def read(self, text: str) -> Recipient | Reason:
        """Return the number in its one spelling, or why it cannot be called."""
        if not text.strip():
            return Reason.NO_NUMBER
        if E164.fullmatch(text):
            return self._today(text)
        known = self._tidied(text)
        if not self._takes_other_writing or not _WRITTEN.fullmatch(known) or DECIMAL.fullmatch(known):
            return self._unread(text)
        if holds_two(known) or is_date(known):
            return Reason.NOT_E164
        number = self._reading(known)
        if number is None:
            return Reason.IMPOSSIBLE_NUMBER
        return self._judged(known, number, self._today(number))

    def is_completed(self, text: str, number: str) -> bool:
        """Whether the country code of a number that was read is not in the text, but from ``country``."""
        return "+" not in self._tidied(text) and not _digits(self._tidied(text)).endswith(number[1:])

    def lacks_plus(self, text: str) -> bool:
        """Whether a text is digits in groups, or a float of them, and a valid number behind a plus sign."""
        known = restored(tidied(text)).removeprefix("00")
        return re.fullmatch("[1-9][0-9 .]+", known) is not None and _is_in_use(f"+{_digits(known)}")

    def note(self, text: str, reason: Reason) -> str | None:
        """Say what there is to say of a number that cannot be called, besides the reason; no digit of it."""
        if reason is Reason.AMBIGUOUS_NUMBER:
            return self._two_readings(self._tidied(text))
        if reason is Reason.OLD_NUMBERING_PLAN:
            number = text if E164.fullmatch(text) else self._reading(self._tidied(text)) or text
            renewal = _renewal(number, possible(number))
            return renewal and f"{renewal.change}; renumber=True sends the new form"
        if reason is not Reason.NOT_E164:
            return None
        return oddity(text, as_written=self._takes_other_writing)

    @property
    def _takes_other_writing(self) -> bool:
        return self._country is not None or self._numbers is not None

    def _tidied(self, text: str) -> str:
        """Return a text without what programs put into it; where it is known what digits are, any digits."""
        return tidied(text) if self._numbers is None else restored(tidied(text))

    def _two_readings(self, text: str) -> str:
        """Say what an ambiguous number can be, or how long it is in either reading; no digit of it."""
        home = self._reading(text) or "+"
        if self._is_as_american(text, home):
            return (
                "a landline of default_country without the prefix dialled there, or a North American number"
            )
        lengths = len(_abroad(text)) - 1, len(home) - 1
        return "{} digits with a country code, {} with that of default_country".format(*lengths)

    def _unread(self, text: str) -> Reason:
        """Return why something else than one number in usual writing cannot be called."""
        if may_have_extension(text):
            number = parsed(tidied(text), self._country or "US")
            if number is not None and number.extension:
                return Reason.EXTENSION
            if self._is_spelt(text):
                return Reason.VANITY_NUMBER
        return Reason.NOT_E164

    def _is_spelt(self, text: str) -> bool:
        """Whether letters stand in place of digits, as in 1-800-FLOWERS; any other words are none of them."""
        library = self._library
        number = parsed(library.convert_alpha_characters_in_number(text), self._country or "US")
        return bool(number and library.is_alpha_number(text) and library.is_valid_number(number))

    def _today(self, number: str) -> Recipient | Reason:
        """Return a number of the form of E.164 as it is called today, or why it cannot be."""
        known = possible(number)
        if isinstance(known, Recipient) and known.is_in_use:
            return known
        if renewal := _renewal(number, known):
            return renewal.number if self._renumber else Reason.OLD_NUMBERING_PLAN
        return Reason.LOST_ZERO if _lost_zero(number) else known

    def _judged(self, text: str, number: str, known: Recipient | Reason) -> Recipient | Reason:
        """Return what a text is read as, unless it can be something else as well."""
        if not isinstance(known, Reason) and self._is_grouped_as_at_home(text, number):
            return known
        if self._holds_two(text, number):
            return Reason.NOT_E164
        if isinstance(known, Reason):
            older = {Reason.OLD_NUMBERING_PLAN, Reason.LOST_ZERO}
            return (
                Reason.AMBIGUOUS_NUMBER if known in older and self._is_valid_abroad(text, number) else known
            )
        return Reason.AMBIGUOUS_NUMBER if self._has_another(text, known) else known

    def _reading(self, text: str) -> str | None:
        """Read a text, or a part of one, in the way that is asked for; what comes out may be no number."""
        if "+" in text or self._numbers == "e164_without_plus":
            # No country code begins with the 00 that is dialled before one.
            digits = _digits(text) if "+" in text else _digits(text).removeprefix("00")
            number = f"+{digits}"
            return number if E164.fullmatch(number) else None
        home = parsed(text, self._country)
        if home is None:
            return None
        number = self._library.format_number(home, self._library.PhoneNumberFormat.E164)
        return number if E164.fullmatch(number) else None

    def _is_grouped_as_at_home(self, text: str, number: str) -> bool:
        """Whether a number is parted as its country parts it: then it is one, and it is one of there."""
        library, groups = self._library, re.findall("[0-9]+", text)
        if self._numbers or len(groups) == 1 or "+" in text:
            return False
        usual = library.format_number(library.parse(number), library.PhoneNumberFormat.NATIONAL)
        return groups == re.findall("[0-9]+", usual)

    def _holds_two(self, text: str, number: str) -> bool:
        """Whether the beginning alone is a number, so that the rest may be another, or an extension."""
        if "/" in text and not (_BY_SLASH.fullmatch(text) and _is_in_use(number)):
            return True
        if self._is_by_hyphens(text, number):
            return False
        for mark in re.finditer("[^0-9+]+", text):
            head, tail = text[: mark.start()], text[mark.end() :]
            if tail and _is_in_use(self._reading(head)):
                again = tail[0] in "0+" and _is_in_use(self._reading(tail))
                if again or _SHORT_TAIL.fullmatch(text) or mark.group() != " " or not _is_in_use(number):
                    return True
        return False

    def _is_by_hyphens(self, text: str, number: str) -> bool:
        """Whether hyphens part all groups of one number: 030-23125-118.

        A last group as long as the one before may be the end of a range; a short one, an extension.
        """
        groups = [len(group) for group in text.split("-")]
        return (
            re.fullmatch(r"\+?[0-9]+(?:-[0-9]+){2,}", text) is not None
            and groups[-1] >= _SHORTEST_GROUP
            and groups[-1] != groups[-2]
            and _is_in_use(number)
            and len(str(self._library.parse(number).national_number)) <= _LONGEST_BY_HYPHENS
        )

    def _has_another(self, text: str, number: str) -> bool:
        if self._numbers or "+" in text:
            return False
        if self._is_as_american(text, number):
            return True
        abroad = _abroad(text)
        other = canonical(abroad) if E164.fullmatch(abroad) else None
        if other is None:  # 0 and a country code, which nobody dials, and people write all the same
            behind = f"+{_digits(text).removeprefix('0')}"
            return behind != number and not _is_in_use(number) and _is_in_use(behind)
        if other == number:
            return False
        return self._is_valid_abroad(text, number) if _is_in_use(number) else True

    def _is_valid_abroad(self, text: str, number: str) -> bool:
        """Whether digits are a valid number of elsewhere as well."""
        if self._numbers or "+" in text:
            return False
        # With the 0 that is dialled at home it is national, or the 0 would be dialled for nothing. But 00
        # is dialled before a country code almost everywhere, and may be the beginning of 001 elsewhere.
        digits, other = _digits(text), _abroad(text)
        may_be = digits.startswith("00") or not digits.startswith("0")
        return may_be and other != number and E164.fullmatch(other) is not None and _is_in_use(other)

    def _is_as_american(self, text: str, number: str) -> bool:
        """Whether ten digits are a landline at home and a number of North America, where ten are usual too.

        So 4155550100 is a landline of Tamil Nadu, whose country has ten digits for all. It would be written
        with a 0 there; lists of mobile numbers are not concerned.
        """
        library, digits = self._library, _digits(text)
        if self._numbers or self._country is None or len(digits) != _NORTH_AMERICAN_DIGITS:
            return False
        plan = library.PhoneMetadata.metadata_for_region(self._country)
        of_ten = (_NORTH_AMERICAN_DIGITS,)
        return bool(
            plan.country_code != 1
            and plan.national_prefix
            and plan.fixed_line.possible_length == plan.mobile.possible_length == of_ten
            and number == f"+{plan.country_code}{digits}"
            and library.number_type(library.parse(number)) == library.PhoneNumberType.FIXED_LINE
            and _is_in_use(f"+1{digits}")
        )


def _is_in_use(number: str | None) -> bool:
    """Whether a number lies in a range that is known to be in use."""
    return number is not None and Recipient.of(number).is_in_use


def _lost_zero(number: str) -> bool:
    """Whether a number is valid with a 0 behind its country code, as landlines of Italy have one."""
    code = Recipient(number).country_code
    if code is None or not has_zeros(code):
        return False
    with_zero = f"+{code}0{number.removeprefix(f'+{code}')}"
    return canonical(with_zero) == with_zero and _is_in_use(with_zero)


def _renewal(number: str, known: Recipient | Reason) -> Renewal | None:
    """Return what a number of an old plan is today, also if it has the 0 of home in it: +84 (0)168 ..."""
    return renewed(number) or (None if isinstance(known, Reason) else renewed(known))


def _digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)


def _abroad(text: str) -> str:
    """Return digits as if they began with a country code, behind what is dialled before one here or there."""
    return "+" + re.sub("^(00|011)", "", _digits(text))
