"""Numbers come as messengers, word processors and spreadsheets write them; what is odd is said in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.core.numbers.reading import Readings
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.numbers.writing import oddity, tidied

BERLIN, LONDON = "+493023125123", "+442079460018"

# What is written, and the one phone that it means with default_country="DE".
ACCEPTED = [
    ("0171/3920016", "+491713920016"),
    ("0171 / 3920016", "+491713920016"),
    ("(0171)/3920016", "+491713920016"),
    ("+49 (0)171/3920016", "+491713920016"),
    ("030-23125-118", "+493023125118"),
    ("tel:+4930-23125-118", "+493023125118"),
    ("TEL:+493023125123", BERLIN),
    ("\uff10\uff13\uff10 \uff12\uff13\uff11\uff12\uff15\uff11\uff12\uff13", BERLIN),
    ("\uff0b\uff14\uff19\uff13\uff10\uff12\uff13\uff11\uff12\uff15\uff11\uff12\uff13", BERLIN),
    ("\u202a+49 30 23125123\u202c", BERLIN),
    ("\u200e030\u00a023125123\u200e", BERLIN),
    ("\u2066+493023125123\u2069", BERLIN),
    ("\ufeff03023125123\u200b", BERLIN),
    ("\u202f030\u200923125123\u00a0", BERLIN),
    ("'03023125123", BERLIN),
    ("'+493023125123", BERLIN),
    ("\u2019+493023125123", BERLIN),
    ("+44 (0)20 7946 0018", LONDON),
    *((f"030{dash}23125123", BERLIN) for dash in "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"),
]


@pytest.mark.parametrize(("text", "number"), ACCEPTED)
def test_what_programs_put_into_a_number_changes_nothing(text: str, number: str) -> None:
    """Marks, dashes, blanks and digits of any kind are read, since there is one phone that they can mean."""
    assert Readings("DE").read(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "030 23125123 / 030 23125124", "030 23125123/24", "0302312/0302313", "2312512/2312513",
        "030-12345-12346", "030-1234567-68", "030 12345-67", "030 12345\u201367", "+49 30 12345\u201112346",
        "030 23125123\u200b030 23125124", "tel:03023125123", "tel:0302312;phone-context=+49", "03023125123/",
        "0171/39/20016", "0171/392", "''03023125123", "030 23125123\n030 23125124", "030 1234\u00b2",
        "+6561234565-123", "6123-4565-123",
    ],
)  # fmt: skip
def test_no_second_number_range_or_extension_comes_in_by_that(text: str) -> None:
    """What may be cut or run together is refused, however it is written."""
    for country in ("DE", "SG"):
        assert isinstance(Readings(country).read(text), Reason), country


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4.42E+11", "an Excel number in scientific notation; its last digits are gone"),
        ("4,42E+11", "an Excel number in scientific notation; its last digits are gone"),
        ("1.415555E+10", "an Excel number in scientific notation; its last digits are gone"),
        (
            "1.4155552671e+10",
            "a number in scientific notation, with all of its digits; numbers= says what they are",
        ),
        ('="+14155550100"', "a formula that keeps the number as text; write the number alone"),
        ("14155550100.0", "a decimal point: read as a number by a spreadsheet or data frame"),
        ("4,155,550,100", "thousands separators, as a spreadsheet shows a number"),
        ("2026-03-18", "a date, as a spreadsheet shows one"),
        ("18.03.2026 00:00", "a date, as a spreadsheet shows one"),
        ("-14155550100", "a minus sign"),
        ("415 555 0100, 415 555 0101", "two numbers in one cell"),
        ("4155550100 or 4155550101", "two numbers in one cell"),
        ("+1\u00a0415\u00a0555\u00a00100", "a space that is none (U+00A0)"),
        ("+1415\u2013555\u20130100", "a dash from a word processor (U+2013)"),
        ("\u202a+14155550100\u202c", "an invisible mark (U+202A)"),
        ("+1415555010\uff10", "a digit of another script (U+FF10)"),
        ("call me", "letters"),
        ("\u0442\u0435\u043b 4155550100", "letters"),
        ("+1 415 555 0100", "blanks, hyphens, dots or brackets, which are read with default_country"),
        (" +14155550100", "blanks before or behind it"),
        ("4155550100", "no plus sign; default_country says where it is from"),
        ("'+14155550100", "something in front of it: an apostrophe of a spreadsheet, or tel:"),
    ],
)
def test_what_is_odd_is_said_in_words(text: str, words: str) -> None:
    """Which a person knows who has the list before them."""
    readings = Readings(None)
    assert readings.read(text) is Reason.NOT_E164
    assert readings.note(text, Reason.NOT_E164) == words


@pytest.mark.parametrize("country", ["DK", "DE", "AT", "IT", "SG", "NO", "IN", "US"])
@pytest.mark.parametrize(
    "text",
    ["2026-04-03", "03.04.2026", "28-11-2026", "14.07.1985", "31.12.2025", "2026/04/03", "2026-04-03 00:00"],
)
def test_a_date_is_never_a_number(text: str, country: str) -> None:
    """A column that has moved calls nobody, though a date has as many digits as a phone number."""
    for numbers in (None, "national", "e164_without_plus"):
        read = Readings(country, numbers).read(text)  # type: ignore[arg-type]
        assert read is Reason.NOT_E164
        told = Readings(country, numbers).note(text, read)  # type: ignore[arg-type]
        assert told == "a date, as a spreadsheet shows one"


@pytest.mark.parametrize(
    ("country", "text", "reason"),
    [
        ("US", "1-800-FLOWERS", Reason.VANITY_NUMBER),
        ("DE", "0171 3920016 (privat)", Reason.NOT_E164),
        ("DE", "+49 30 1234567 oder 1234568", Reason.NOT_E164),
        ("GB", "020 7946 0018 ext", Reason.NOT_E164),
        ("DE", "0171 3920016 7", Reason.NOT_E164),
        ("DE", "01713920016 17", Reason.NOT_E164),
        ("DE", "030 12 34 56 78", "+493012345678"),
        ("FR", "06 12 34 56 00", "+33612345600"),
        # 0 and a country code: a mobile of India, or no number at all.
        ("IN", "0919876543210", Reason.AMBIGUOUS_NUMBER),
        ("GB", '="+442079460018"', "+442079460018"),
    ],
)
def test_words_tails_and_guards_are_told_from_numbers(country: str, text: str, reason: str) -> None:
    """Letters that spell a number, words beside one, and a digit behind one are different things."""
    assert Readings(country).read(text) == reason


def test_with_a_country_groups_are_not_what_is_odd() -> None:
    """They are read then, so that digits behind the number are."""
    readings = Readings("DE")
    told = "further digits behind a number: an extension, a second number, or the end of a range"
    assert readings.note("030 12345-67", Reason.NOT_E164) == told


@given(st.text(max_size=30), st.booleans())
def test_no_word_on_a_number_holds_a_digit_of_it(text: str, as_written: bool) -> None:
    """Whatever the text: but for the name of a character, there is no digit in what is said of it."""
    told = oddity(text, as_written=as_written)
    assert not re.search("[0-9]", re.sub(r"U\+[0-9A-F]{4,6}|E\.164", "", told))


@given(st.text(max_size=30))
def test_tidying_is_done_once(text: str) -> None:
    """What was tidied is tidy, but for an apostrophe or tel: behind another."""
    once = tidied(text)
    assert tidied(once) == once or once.casefold().startswith(("'", "\u2018", "\u2019", "tel:"))


@pytest.mark.parametrize(
    "text", ["\u202a+14155550100\u202c", "'+14155550100", "tel:+14155550100", "+1 415 555 0100"]
)
def test_without_a_country_e_164_alone_is_taken(text: str) -> None:
    """A list that says nothing of its numbers has them in the one form that needs no reading."""
    assert Readings(None).read(text) is Reason.NOT_E164
