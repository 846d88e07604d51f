"""A text that is kept in the open holds no phone number, however it is written."""

from __future__ import annotations

import pytest

from formant_provider.core.numbers.in_text import holds_international, may_hold_number

NUMBERS = [
    "+1 415 555 0125",
    "1\u20134\u20131\u20135\u20135\u20135\u20135\u20130\u20131\u20132\u20135",
    "1,4,1,5,5,5,5,0,1,2,5",
    "1:415:555:0125",
    "1_415_555_0125",
    "1|415|555|0125",
    "(1)[415]{555}0125",
    "1'415'555'0125",
    "tel 1415x5550125",
    "+1\u00a0415\u00a0555\u00a00125",
    "1415\u2060555\u20600125",
    "\u0661\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0662\u0665",
    "\u00b9\u2074\u00b9\u2075\u2075\u2075\u2075\u2070\u00b9\u00b2\u2075",
    "4155-50-12",
    "9198-76-54 321",
    "4155-10-12",
    "2026-01-02T12:10+1455 555",
    "2026-01-02 12:10:11.4155550",
    "2026-01-022",
]


@pytest.mark.parametrize("text", NUMBERS)
def test_seven_digits_without_a_letter_between_may_be_a_number(text: str) -> None:
    """Whatever parts them, in digits of any script; and also what has the shape of a date and is none."""
    assert may_hold_number(f"called by {text}.")


@pytest.mark.parametrize(
    "text",
    [
        "asked by letter, read on 2026-01-31",
        "run of 2026-01-31T23:59:59.123456+00:00",
        "2026-01-31 to 2026-02-01",
        "2026-01-31 12:10Z, case 123",
        "case 123456",
        "12 calls, then 34 calls, then 5678",
        "",
    ],
)
def test_dates_and_short_numbers_are_no_phone_numbers(text: str) -> None:
    """A day, a moment, and fewer than seven digits."""
    assert not may_hold_number(text)


def test_a_plus_sign_and_seven_digits_are_an_international_number() -> None:
    """Whatever parts them; other digits may be the id of a row."""
    assert holds_international("loan of +1\u2013415\u2013555\u20130125")
    assert holds_international("\uff0b1_415_555_0125")
    assert not holds_international("1-415-555-0125")
    assert not holds_international("C++ 17, row 1234567")
