"""A recipient: one phone number in E.164, parsed once, and what its numbering plan says of it."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Self

from formant_provider.core.numbers.reasons import Reason

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

E164 = re.compile(r"\+[1-9][0-9]{1,14}")
# A country code and a number of 4 digits, as on Niue. In some plans of large countries less is "possible",
# and one such number would have a whole batch call refused.
SHORTEST_DIGITS = 7
LONGEST_DIGITS = 15
# Countries whose mobile numbers begin with the code of an area; those of +1 look like fixed lines anyway.
_MOBILES_HAVE_AREAS = (52, 55)
_NOT_A_COUNTRY = "001"


class Recipient(str):
    """Whom a call is for: the text of a number in E.164, which knows its country and its kind.

    It is text, so it goes into requests, keys and JSON as it is, and no room has to parse it again. Its
    ``repr`` hides the number. What is derived is found when it is first asked for: most numbers of a list of
    a million are never asked.

    :ivar written: the number as the user wrote it.
    """

    written: str

    def __new__(cls, number: str) -> Self:
        """Take a number in its one spelling."""
        recipient = super().__new__(cls, number)
        recipient.written = str(number)
        return recipient

    @classmethod
    def of(cls, number: str) -> Self:
        """Return a number as a recipient; one that is a recipient already keeps what it knows."""
        return number if isinstance(number, cls) else cls(number)

    def __repr__(self) -> str:
        return "Recipient(hidden)"

    @property
    def e164(self) -> str:
        """The number as plain text."""
        return str(self)

    @cached_property
    def parsed(self) -> PhoneNumber | None:
        """The number as the library knows it; ``None`` if it is no number."""
        return parsed(self)

    @property
    def country_code(self) -> int | None:
        """The country code, by the first digits alone; ``None`` if no country has it."""
        from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

        digits = self.strip().lstrip("+")
        codes = (int(digits[:length]) for length in (1, 2, 3) if digits[:length].isdecimal())
        return next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), None)

    @cached_property
    def countries(self) -> tuple[str, ...]:
        """The countries in which it may be registered, as ISO 3166 codes.

        Those in which it is valid; all of its country code if it is possible and no more; none if it tells no
        country, as numbers of satellites do, or is not possible.
        """
        import phonenumbers

        if self.parsed is None:
            return ()
        all_of_code = phonenumbers.region_codes_for_country_code(self.parsed.country_code or 0)
        first = phonenumbers.region_code_for_number(self.parsed)
        if _NOT_A_COUNTRY in all_of_code:
            return ()
        if first is None:
            found = phonenumbers.is_possible_number_with_reason(self.parsed)
            # Not those that are possible in their own town alone.
            return all_of_code if found == phonenumbers.ValidationResult.IS_POSSIBLE else ()
        if len(all_of_code) == 1 or self.tells_a_place:
            return (first,)
        valid = (it for it in all_of_code if phonenumbers.is_valid_number_for_region(self.parsed, it))
        # None is valid if the number is too new for the library, but its first digits are of one country.
        return tuple(valid) or (first,)

    @property
    def country(self) -> str | None:
        """The country as an ISO 3166 code; ``None`` if it may be of several, or of none."""
        return self.countries[0] if len(self.countries) == 1 else None

    @cached_property
    def kind(self) -> str | None:
        """The kind of number in a word, such as ``mobile`` or ``toll_free``; ``None`` if nobody knows."""
        from phonenumbers import PhoneNumberType, number_type

        kind = PhoneNumberType.UNKNOWN if self.parsed is None else number_type(self.parsed)
        return None if kind == PhoneNumberType.UNKNOWN else PhoneNumberType.to_string(kind).lower()

    @property
    def tells_a_place(self) -> bool:
        """Whether its digits say where in its country it is."""
        if self.kind == "mobile":
            return self.country_code in _MOBILES_HAVE_AREAS
        return self.kind in {"fixed_line", "fixed_line_or_mobile"}

    @cached_property
    def is_in_use(self) -> bool:
        """Whether it lies in a range the library knows. Its ranges age, so ``False`` may only warn."""
        import phonenumbers

        return self.parsed is not None and phonenumbers.is_valid_number(self.parsed)


def parsed(text: str, country: str | None = None) -> PhoneNumber | None:
    """Return a written number as the library reads it, which guesses at letters; ``None`` if it cannot.

    :param country: where it is from if it has no country code.
    """
    import phonenumbers  # here and not above: a DAG file is parsed far more often than a call is placed

    with suppress(phonenumbers.NumberParseException):
        return phonenumbers.parse(text, country)
    return None


def canonical(number: str) -> Recipient | None:
    """Return the one spelling of a number of the form of E.164; ``None`` if it cannot exist.

    ``+4402079460123`` and ``+442079460123`` are one phone. Which digits belong to the number, such as the 0
    of Italy, and which are dialled before it at home is for the library to know.

    :param number: a plus sign and digits.
    """
    known = possible(number)
    return None if isinstance(known, Reason) else known


def possible(number: str) -> Recipient | Reason:
    """Return the one spelling of a number of the form of E.164, or why it cannot exist."""
    import phonenumbers

    result = phonenumbers.ValidationResult
    recipient = None
    spelling = number
    while recipient != spelling:  # what the library makes of an odd number, it may read otherwise once more
        recipient = Recipient.of(spelling)
        if recipient.parsed is None:
            return Reason.IMPOSSIBLE_NUMBER
        found = phonenumbers.is_possible_number_with_reason(recipient.parsed)
        if found != result.IS_POSSIBLE:
            is_local = found == result.IS_POSSIBLE_LOCAL_ONLY
            return Reason.LOCAL_NUMBER if is_local else Reason.IMPOSSIBLE_NUMBER
        spelling = phonenumbers.format_number(recipient.parsed, phonenumbers.PhoneNumberFormat.E164)
        if not E164.fullmatch(spelling) or len(spelling) <= SHORTEST_DIGITS:
            return Reason.IMPOSSIBLE_NUMBER
    return recipient


@cache
def has_zeros(country_code: int) -> bool:
    """Whether numbers of a country begin with a 0 that belongs to them, as landlines of Italy do."""
    import phonenumbers

    region = phonenumbers.region_code_for_country_code(country_code)
    plan: Any = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    kinds = (plan.fixed_line, plan.mobile)
    return any(kind and (kind.example_number or "").startswith("0") for kind in kinds)
