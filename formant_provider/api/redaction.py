"""What of a text that the vendor wrote may be repeated? All but phone numbers."""

from __future__ import annotations

import re

_LONG_NUMBER = re.compile(r"\+?\d[\d\s()./-]{4,}\d")


def without_numbers(text: str) -> str:
    """Return a text with stars in place of everything that may be a phone number."""
    return _LONG_NUMBER.sub("***", text)
