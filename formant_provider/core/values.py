"""Writes a value as the text that the agent reads, or refuses what has no obvious text.

No error quotes a value. Values of numpy and pandas are known by what they answer to, since neither is needed
here.
"""

from __future__ import annotations

import math
import numbers
import struct
from contextlib import suppress
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

from formant_provider.api.errors import InvalidInput

# What pandas has for a blank. NaT passes for a datetime otherwise, and NA for true and false.
_BLANKS = {"NaTType", "NAType"}
# Of the short floats: how struct packs them, digits that always come back, and digits that always suffice.
_SHORT = {16: ("e", 3, 5), 32: ("f", 6, 9)}
# From here on Python writes floats with an exponent.
_EXPONENT = 1e16
_WHOLE = 'say numbers="national" or numbers="e164_without_plus", which tells what its digits mean'


def plain(value: Any) -> Any:
    """Return a value without what wraps it: an enumeration that is text or a number, or a scalar of numpy.

    Numbers of numpy stay as they are, since they know their shortest digits.
    """
    if isinstance(value, Enum) and isinstance(value, str | int | float):
        return value.value
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ in {"bool", "bool_"}:
        return bool(value)
    if kind.__module__ == "numpy" and kind.__name__ == "datetime64":
        known = value.item()  # an integer for nanoseconds
        rounded = value.astype("datetime64[us]")
        known = known if isinstance(known, date) or rounded != value else rounded.item()
        return known if isinstance(known, date) else value
    return value


def is_missing(value: Any) -> bool:
    """Whether a value is what queries and data frames have for a blank: ``None``, NaN, NaT or NA."""
    if value is None or type(value).__name__ in _BLANKS:
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, numbers.Real):
        return bool(value != value)  # noqa: PLR0124 - true of NaN alone, of whatever library
    return type(value).__name__ == "datetime64" and str(value) == "NaT"


def is_whole(text: str) -> bool:
    """Whether a text holds no half of a character, which UTF-8 cannot write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(field: str, value: Any) -> str:
    """Write a value by the rule the operator's documentation states."""
    value = plain(value)
    text = None if is_missing(value) else _written(value)
    if text is not None:
        return text
    if getattr(value, "nanosecond", 0) or type(value).__name__ == "datetime64":
        raise InvalidInput(
            field, "has nanoseconds, or lies before the year 1 or after 9999; round it to microseconds"
        )
    raise InvalidInput(
        field, f"must be text, a finite number, a boolean, a date or a datetime; got {kind_of(value)}"
    )


def _written(value: Any) -> str | None:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral) and type(value).__name__ != "timedelta64":  # which passes for one
        return _digits(int(value))
    if isinstance(value, Decimal) or (
        isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational)
    ):
        # The shortest decimals, of a short float as well, and never an exponent.
        digits = repr(float(value)) if isinstance(value, float) else str(value)
        return format(Decimal(digits), "f") if math.isfinite(value) else None
    if isinstance(value, date) and not getattr(value, "nanosecond", 0):  # a datetime is a date too
        return value.isoformat()
    return None


def _digits(value: int) -> str | None:
    try:
        return str(value)
    except ValueError:  # more than Python writes, and than anybody can say
        return None


def phone_text(value: Any, *, digits_are_told: bool) -> str:
    """Write a number to call that need not be text. Without its plus sign it is for the rules to read.

    :param digits_are_told: whether ``numbers=`` says what digits without a plus sign mean. Without it, a
        number that has been a float is refused: nobody knows what else it has lost.
    :raises InvalidInput: it is no number of a phone. The field of the error is of no use.
    """
    value = plain(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float | Decimal) and math.isfinite(value):
        if value != int(value):
            raise InvalidInput("", "is a decimal, and no number of a phone")
        if digits_are_told:
            return str(int(value))
        raise InvalidInput("", f"is a decimal; got {kind_of(value)}. Make it text; or {_WHOLE}")
    raise InvalidInput("", f"must be text with a plus sign, or an integer; got {kind_of(value)}")


def short_float(value: Any, bits: int) -> Any:
    """Return a float that was stored in fewer bits, with as few digits as tell it apart there.

    :param value: a finite float; anything else is returned as it is.
    """
    if value is None or not math.isfinite(value):
        return value
    form, least, most = _SHORT[bits]
    for digits in range(least, most + 1):
        text = f"{float(value):.{digits}g}"
        with suppress(OverflowError):
            if struct.unpack(form, struct.pack(form, float(text)))[0] == value:
                known = Decimal(text)
                # A whole one is written as a float of Python is.
                return (
                    known if "." in format(known, "f") or abs(value) >= _EXPONENT else Decimal(f"{known:f}.0")
                )
    return value


def kind_of(value: object) -> str:
    """Return what a value is, in a word for an error."""
    return "nothing" if value is None else type(value).__name__
