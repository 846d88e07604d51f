"""Says which columns a table has, and which of them holds the numbers.

What is no plain word may be a contact in place of a header, and then plain words are private too: an error
names columns only where all of them are such words, or where one is a usual name of a column of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER
from formant_provider.core.tables.csv_table import clean_name
from formant_provider.core.values import is_whole

# Of letters and digits alone, in small letters. No person is called so.
_USUAL_NAME = re.compile(
    "(customer|contact|user|primary|main|home|work|business|recipient|to)?"
    "(phone|mobile|cell|cellphone|mobilephone|tel|telephone|telefon|telefono|teléfono|telefone|téléphone"
    "|celular|handy|msisdn|whatsapp)(number|numbers|no|num|nummer)?(e164|1)?"
    "|(customer|contact|recipient|to)?(number|numbers|e164|contactno)|recipient"
)


def contact_columns(given: Sequence[object], phone_column: str) -> tuple[str, ...]:
    """Return the columns of contacts, with the one that holds the numbers called ``customer_phone``."""
    if not all(isinstance(name, str) for name in given):
        raise InvalidInput("contacts", "the names of variables must be text")
    names = tuple(clean_name(name) for name in given if isinstance(name, str))
    if phone_column not in names:
        raise InvalidInput("contacts", f"has no column {phone_column}{_told(names)}")
    if phone_column != PHONE_PARAMETER and PHONE_PARAMETER in names:
        raise InvalidInput(
            "contacts", f"has a column {PHONE_PARAMETER} besides the one that phone_column= names; keep one"
        )
    for place, name in enumerate(names, 1):
        _check(names, place, name)
    return tuple(PHONE_PARAMETER if name == phone_column else name for name in names)


def phone_place(given: Sequence[object], phone_column: str) -> int | None:
    """Return which column of a list holds the numbers, by its name; ``None`` if no name tells.

    :param phone_column: the name of that column in the table of contacts, which the list may have as well.
    """
    names = [clean_name(name) if isinstance(name, str) else name for name in given]
    places = [place for place, name in enumerate(names) if name in {phone_column, PHONE_PARAMETER}]
    if len(places) > 1:
        raise InvalidInput("suppress", "has several columns that may hold the numbers; keep one")
    return places[0] if places else None


def is_text(text: str) -> bool:
    """Whether a text can be written to a file: it holds no NUL and no half of a character."""
    return "\0" not in text and is_whole(text)


def _check(names: Sequence[str], place: int, name: str) -> None:
    if not name:
        hint = "; a data frame writes its index so: leave it out with index=False" if place == 1 else ""
        raise InvalidInput("contacts", f"column {place} has no name{hint}")
    if not is_text(name):
        raise InvalidInput("contacts", f"column {place} has a name that is no text")
    if names.index(name) < place - 1:
        raise InvalidInput("contacts", f"column {place} has the same name as column {names.index(name) + 1}")


def _told(names: Sequence[str]) -> str:
    """Say which columns there are, as far as they cannot be private, and which one may be meant."""
    usual = [name for name in names if _USUAL_NAME.fullmatch(re.sub(r"[\W_]", "", name).lower())]
    hint = f"; if column {usual[0]!r} holds the numbers, say phone_column={usual[0]!r}" if usual else ""
    # A blank cell is rather one of a contact than of a header.
    if names and all(name.isidentifier() for name in names):
        return f"; its columns are {', '.join(names)}{hint}"
    return hint or ", or no header at all; exports of Snowflake and Redshift have one only with HEADER"
