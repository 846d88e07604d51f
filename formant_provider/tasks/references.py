"""Which name of a row does the user give? Never a phone number: it is in the open everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

LONGEST = 250


def to_reference(value: object, recipient: object = None) -> str | int | None:
    """Return the user's own name of a row, such as a loan's; ``None`` when there is none.

    :raises InvalidInput: it is neither text nor an integer, blank, too long, or a phone number.
    """
    from formant_provider.api.errors import InvalidInput
    from formant_provider.core.numbers.in_text import holds_international, names

    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidInput("reference", f"must be text or an integer; got {type(value).__name__}")
    text = str(value).strip()
    if text in {"", "None"}:
        raise InvalidInput("reference", "is blank, which a template renders to when its value is missing")
    if len(text) > LONGEST:
        raise InvalidInput("reference", f"is longer than {LONGEST} characters")
    if holds_international(text) or names(text, recipient):
        raise InvalidInput("reference", "is or holds a phone number; give the id of your row instead")
    return value if isinstance(value, int) else text


def reference_or_none(value: object, recipient: object = None) -> str | int | None:
    """Return a name of a row that may be shown in a result; ``None`` for one that is refused."""
    from formant_provider.api.errors import InvalidInput

    with suppress(InvalidInput):
        return to_reference(value, recipient)
    return None


def recipient_in(parameters: object) -> object:
    """Return the number to call from parameters that were not checked yet."""
    if isinstance(parameters, Mapping):
        return parameters.get("customer_phone")
    if isinstance(parameters, Iterable) and not isinstance(parameters, str | bytes):
        for entry in parameters:
            if isinstance(entry, Mapping) and entry.get("name") == "customer_phone":
                return entry.get("value")
    return None
