"""Knows what people and programs make of a written number, and says in words what is odd about one.

Nothing here decides which phone is meant: that is for :mod:`~formant_provider.api.readings`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
# An apostrophe by which spreadsheets mark text, and the scheme of RFC 3966 with a global number.
_IN_FRONT = re.compile(r"['\u2018\u2019](?=[+(0-9])|tel:(?=\+)", re.IGNORECASE)
# What a spreadsheet makes of a number: 919876543210.0, 9.1987654321, 03023125123.00
DECIMAL = re.compile(r"[^.]*\.(?:[0-9]{0,3}|0+)|[0-9]?\.[^.]*")
_EXPONENT = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?[eE][+-]?[0-9]+")
# Of English, Swiss and Indian ones; and those of German and French ones that are too many for a phone number.
_THOUSANDS = re.compile(
    r"[0-9]{1,3}(?:[,'\u2019][0-9]{3})+(?:\.[0-9]*)?"
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]*)?"
    r"|[0-9]{1,3}(?:\.[0-9]{3}){3,}(?:,[0-9]*)?|[0-9]{1,3}(?: [0-9]{3}){3,}(?:,[0-9]*)?"
)
# What a data frame writes of a whole number that it took for a float.
_WHOLE_FLOAT = re.compile(r"([1-9][0-9]*)[.,]0+")
_WHOLE_POWER = re.compile(r"([1-9])(?:[.,]([0-9]+))?[eE]\+?0*([0-9]{1,2})")
# A float leaves out zeros at the end of a number; so many may be in one, and spreadsheets leave out more.
_MOST_ZEROS = 3
_DATE = re.compile(
    r"(?:[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\2[0-9]{4})(?:[ T].*)?"
)
_LONG_RUN = re.compile("[0-9](?:[ ().-]?[0-9]){6,}")
_GROUPS = re.compile(r"\(?\+?[0-9]+[ ()./-][0-9 ()./-]*")
_WITH_EXTENSION = re.compile(r"[a-zA-Z#;~\u0400-\u04ff\uff03\uff5e]")


def tidied(text: str) -> str:
    """Return a number without what word processors, messengers and spreadsheets put into and around it.

    Blanks and dashes of any kind become those of ASCII, and so do digits; invisible marks go. One between two
    digits counts as a blank, since nobody knows what else was there.
    """
    if not text.isascii():
        plain = "".join(map(_plain, text))
        text = re.sub("(?<=[0-9])\0+(?=[0-9])", " ", plain).replace("\0", "")
    return _IN_FRONT.sub("", text.strip(), count=1) if _IN_FRONT.match(text.strip()) else text.strip()


def _plain(char: str) -> str:
    """Return the character of ASCII that one stands for; a NUL for an invisible mark."""
    if unicodedata.category(char) == "Cf":
        return "\0"
    if char in _DASHES:
        return "-"
    if unicodedata.category(char) == "Zs":
        return " "
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    wide = unicodedata.normalize("NFKC", char) if "\uff01" <= char <= "\uff5e" else char
    return wide if wide in "+()./" else char


def restored(text: str) -> str:
    """Return the digits of a whole number that was written as a float; any other text as it is.

    ``4.42079460018e+11`` has all of its digits, and ``4.42E+11`` of a spreadsheet has lost most of them.
    """
    if found := _WHOLE_FLOAT.fullmatch(text):
        return found[1]
    if found := _WHOLE_POWER.fullmatch(text):
        rest, power = (found[2] or "").rstrip("0"), int(found[3])
        if 0 <= power - len(rest) <= _MOST_ZEROS:
            return found[1] + rest.ljust(power, "0")
    return text


def holds_two(text: str) -> bool:
    """Whether a tidied text holds more than one number."""
    return len(_LONG_RUN.findall(text)) > 1 or text.count("+") > 1


def oddity(text: str, *, as_written: bool) -> str:
    """Say in words what is odd about a number that is refused, and no digit of it.

    :param as_written: whether numbers are taken as people write them.
    """
    return next(_oddities(text, as_written=as_written))


def _oddities(text: str, *, as_written: bool) -> Iterator[str]:
    """Yield what is odd about a text, the most telling first."""
    known = tidied(text)
    for is_so, words in _SHAPES:
        if is_so(known):
            yield words
    if as_written and _GROUPS.fullmatch(known):
        yield "further digits behind a number: an extension, a second number, or the end of a range"
    yield from filter(None, map(_sign, text.strip()))
    if re.search("[^\\W\\d_]", known):
        yield "letters"
    if _IN_FRONT.match(text.strip()):
        yield "something in front of it: an apostrophe of a spreadsheet, or tel:"
    if text != text.strip():
        yield "blanks before or behind it"
    if _GROUPS.fullmatch(known):
        yield "blanks, hyphens, dots or brackets, which are read with default_country"
    if re.fullmatch("[0-9]+", known):
        yield "no plus sign; default_country says where it is from"
    yield "a sign that no number has"


def _sign(char: str) -> str | None:
    """Say what a character is that looks like another one."""
    name = f"U+{ord(char):04X}"
    if char.isascii():
        return None
    if char in _DASHES:
        return f"a dash from a word processor ({name})"
    kinds = {"Zs": "a space that is none", "Cf": "an invisible mark", "Nd": "a digit of another script"}
    kind = kinds.get(unicodedata.category(char))
    return f"{kind} ({name})" if kind else None


_SHAPES: tuple[tuple[Callable[[str], Any], str], ...] = (
    (_EXPONENT.fullmatch, "an Excel number in scientific notation; its last digits are gone"),
    (_DATE.fullmatch, "a date, as a spreadsheet shows one"),
    (_THOUSANDS.fullmatch, "thousands separators, as a spreadsheet shows a number"),
    (holds_two, "two numbers in one cell"),
    (
        lambda text: re.fullmatch("[-+]?[0-9]*\\.[0-9]*", text),
        "a decimal point: read as a number by a spreadsheet or data frame",
    ),
    (lambda text: re.fullmatch("-[0-9 ]+", text), "a minus sign"),
)


def may_have_extension(text: str) -> bool:
    """Whether it is worth asking the library for an extension: all that it knows begin with such a sign."""
    return _WITH_EXTENSION.search(text) is not None
