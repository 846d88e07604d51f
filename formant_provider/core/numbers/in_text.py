"""Whether a text that is kept in the open may hold a phone number.

Digits are those of any script, and what stands between them may be anything but a letter.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

# Fewer digits than these say nothing about whose number it is.
TELLING = 7
_APART = r"[\W_]*"
_NUMBER = re.compile(rf"\d(?:{_APART}\d){{{TELLING - 1},}}")
_INTERNATIONAL = re.compile(rf"[+\uff0b](?:{_APART}\d){{{TELLING},}}")
# Digits alone, as many as a number has at least with its area code. Those that begin with a 1 are eleven, so
# seconds and milliseconds since 1970 are none; nor is a moment from 2020 on without signs between.
_MOMENT = r"20[2-9]\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?(?!\d)"
_BARE = re.compile(rf"(?<!\d)(?!{_MOMENT})(?:1\d{{10}}|[02-9]\d{{9,14}})(?!\d)")
# A day or a moment is told by as many digits as a number has, and is none.
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.(?:\d{6}|\d{3}))?)?"
_OFFSET = r"Z|[+-](?:0\d|1[0-4]):?(?:00|15|30|45)"
_DATE = re.compile(
    rf"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[T ]{_TIME}(?:{_OFFSET})?)?(?!\d)"
)


def may_hold_number(text: str) -> bool:
    """Whether as many digits as a number has stand together, which are not a date."""
    return _NUMBER.search(_DATE.sub("", _plain(text))) is not None


def holds_international(text: str) -> bool:
    """Whether a plus sign and as many digits as a number has stand together."""
    return _INTERNATIONAL.search(_plain(text)) is not None


def holds_bare_number(text: str) -> bool:
    """Whether as many digits as a number has with its area code stand together, and nothing between them."""
    return _BARE.search(_plain(text)) is not None


def without_international(text: str) -> str:
    """Return a text without what :func:`holds_international` finds in it."""
    return _INTERNATIONAL.sub("+...", _plain(text)) if holds_international(text) else text


def without_numbers(text: str) -> str:
    """Return a text without what :func:`holds_international` and :func:`holds_bare_number` find in it."""
    text = without_international(text)
    return _BARE.sub("...", _plain(text)) if holds_bare_number(text) else text


def names(text: str, recipient: object) -> bool:
    """Whether the last digits of a person's number are in a text, however both are written."""
    tail = digits_of(recipient)[-TELLING:]
    return len(tail) == TELLING and tail in digits_of(text)


def digits_of(value: Any) -> str:
    """Return all digits of a text, and nothing else."""
    return "".join(str(unicodedata.digit(char, "")) for char in str(value or ""))


def _plain(text: str) -> str:
    return "".join(str(unicodedata.digit(char, char)) for char in text)
