"""Cleans a written number of what programs leave in it, and says in words what is odd about one.

Nothing here decides which phone is meant: that is for :mod:`~formant_provider.core.numbers.reading`.
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
_WHOLE_POWER = re.compile(r"([1-9])(?:[.,]([0-9]+))?(e\+?|E\+?)0*([0-9]{1,2})")
# A float leaves out zeros at the end of a number, and so many may be in one. In the spelling of spreadsheets
# none may be missing: they leave out other digits too.
_MOST_ZEROS, _OF_SPREADSHEETS = 3, "E+"
_MONTH_AND_DAY = r"(?:0?[1-9]|[12][0-9]|3[01])"
_YEAR = "(?:19|20)[0-9]{2}"
_DATE = re.compile(
    rf"(?:{_YEAR}([-/.]){_MONTH_AND_DAY}\1{_MONTH_AND_DAY}|{_MONTH_AND_DAY}([-/.]){_MONTH_AND_DAY}\2{_YEAR})"
    "(?:[ T].*)?"
)
# By which a formula keeps a spreadsheet from making a number of text.
_GUARDED = re.compile(r'="([^"]*)"')
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
    text = _GUARDED.sub(r"\1", text.strip())
    return _IN_FRONT.sub("", text, count=1) if _IN_FRONT.match(text) else text


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
        rest, power = found[2] or "", int(found[4])
        most = 0 if found[3] == _OF_SPREADSHEETS else _MOST_ZEROS
        if power - most <= len(rest.rstrip("0")) <= power or len(rest) == power:
            return found[1] + rest.rstrip("0").ljust(power, "0")
    return text


def is_date(text: str) -> bool:
    """Whether a tidied text is a date of these two centuries, as from a column that has moved."""
    return _DATE.fullmatch(text) is not None


def holds_two(text: str) -> bool:
    """Whether a tidied text holds more than one number."""
    return len(_LONG_RUN.findall(text)) > 1 or text.count("+") > 1


def oddity(text: str, *, as_written: bool) -> str:
    """Say in words what is odd about a number that is refused, and no digit of it."""
    return next(_oddities(text, as_written=as_written))


def _oddities(text: str, *, as_written: bool) -> Iterator[str]:
    """Yield what is odd about a text, the most telling first."""
    known = tidied(text)
    if _GUARDED.fullmatch(text.strip()):
        yield "a formula that keeps the number as text; write the number alone"
    if _WHOLE_POWER.fullmatch(known) and restored(known) != known:
        yield "a number in scientific notation, with all of its digits; numbers= says what they are"
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
    yield "a character that no number has"


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
