"""Knows the one spelling of a phone number, in E.164, and whether a number can exist."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import Any

from formant_provider.core.numbers.reasons import Reason

E164 = re.compile(r"\+[1-9][0-9]{1,14}")
# A country code and a number of 4 digits, as on Niue. In some plans of large countries less is "possible",
# and one such number would have a whole batch call refused.
SHORTEST_DIGITS = 7
LONGEST_DIGITS = 15


def canonical(number: str) -> str | None:
    """Return the one spelling of a number of the form of E.164; ``None`` if it cannot exist.

    ``+4402079460123`` and ``+442079460123`` are one phone. Which digits belong to the number, such as the 0
    of Italy, and which are dialled before it at home is for the library to know.

    :param number: a plus sign and digits.
    """
    known = possible(number)
    return None if isinstance(known, Reason) else known


def possible(number: str) -> str | Reason:
    """Return the one spelling of a number of the form of E.164, or why it cannot exist."""
    import phonenumbers  # here and not above: a DAG file is parsed far more often than a call is placed

    result = phonenumbers.ValidationResult
    seen: str | None = None
    while number != seen:  # what it makes of an odd number, it may read otherwise once more
        seen, found = number, result.INVALID_COUNTRY_CODE
        with suppress(phonenumbers.NumberParseException):
            parsed = phonenumbers.parse(number)
            found = phonenumbers.is_possible_number_with_reason(parsed)
        if found == result.IS_POSSIBLE_LOCAL_ONLY:
            return Reason.LOCAL_NUMBER
        if found != result.IS_POSSIBLE:
            return Reason.IMPOSSIBLE_NUMBER
        number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
        if not E164.fullmatch(number) or len(number) <= SHORTEST_DIGITS:
            return Reason.IMPOSSIBLE_NUMBER
    return number


@cache
def has_zeros(country_code: int) -> bool:
    """Whether numbers of a country begin with a 0 that belongs to them, as landlines of Italy do."""
    import phonenumbers

    region = phonenumbers.region_code_for_country_code(country_code)
    plan: Any = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    kinds = (plan.fixed_line, plan.mobile)
    return any(kind and (kind.example_number or "").startswith("0") for kind in kinds)
