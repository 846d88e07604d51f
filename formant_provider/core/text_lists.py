"""Fields that may be a list, or text with what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from formant_provider.api.errors import InvalidInput

# What is left of a list when a template has made text of it.
_WORD = re.compile(r"[^\s,;\[\](){}'\"]+")


def items(field: str, value: object) -> list[object]:
    """Return what is in a list, or in the text that a template has made of one.

    :param field: of the calling window, for the error.
    :raises InvalidInput: it is neither.
    """
    if isinstance(value, str):
        return list(_WORD.findall(value))
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise InvalidInput(f"calling_window.{field}", f"must be a list, or text; got {type(value).__name__}")
