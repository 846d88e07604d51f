from __future__ import annotations

from contextlib import suppress

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.errors import InvalidInput
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.numbers.recipient import Recipient
from formant_provider.core.validation import to_phone

EXACT = NumberReader()
CODES = sorted(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
PREFIXES = ["", "0", "00", "1", "8", "9", "15", "90", "0011", "180020", "2412345", "003768"]
POSSIBLE = phonenumbers.ValidationResult.IS_POSSIBLE
# Why a number is not called that was one once, or would be one with a 0.
FORMER = {Reason.OLD_NUMBERING_PLAN, Reason.LOST_ZERO}
DIGITS = st.text("0123456789", max_size=15)


def canonical(text: str) -> str | None:
    """What the library makes of a text that has the form of E.164."""
    before = None
    while text != before:
        before, parsed = text, None
        with suppress(phonenumbers.NumberParseException):
            parsed = phonenumbers.parse(text)
        if parsed is None or phonenumbers.is_possible_number_with_reason(parsed) != POSSIBLE:
            return None
        text = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return text


def check_against_library(texts: list[str]) -> None:
    for text, key in zip(texts, EXACT.at_a_glance(texts), strict=True):
        wanted = canonical(text)
        assert key in {0, int(text)}
        if key:
            assert wanted == text, "the library thinks otherwise"
        read = EXACT.read(text)
        if key:
            assert read == text, "a glance is no shorter way to another answer"
        if wanted is not None and len(wanted) > 7 and len(text) <= 16:
            is_valid = phonenumbers.is_valid_number(phonenumbers.parse(wanted))
            assert read == wanted or (read in FORMER and not is_valid)
        else:
            assert read in {Reason.IMPOSSIBLE_NUMBER, Reason.NOT_E164, Reason.LOCAL_NUMBER, *FORMER}


@pytest.mark.parametrize("code", CODES)
def test_a_glance_says_what_the_library_says(code: str) -> None:
    """For every country code, all lengths and what people dial before a number, alone and among others."""
    texts = [
        f"+{code}{prefix}{rest[: length - len(prefix)]}"
        for rest in ("234567890123456", "911234567890123", "600000000000000", "000000000000000")
        for prefix in PREFIXES
        for length in range(len(prefix), 16 - len(code))
    ]
    check_against_library(texts)
    for text in texts[::7]:
        check_against_library([text])


@given(st.lists(st.builds("+{}{}".format, st.sampled_from(CODES), DIGITS), max_size=30))
def test_any_numbers_are_read_as_the_library_reads_them(texts: list[str]) -> None:
    """Whatever the digits, and whatever stands beside them."""
    check_against_library(texts)


@given(
    st.lists(
        st.one_of(
            st.from_regex(r"\A\+[0-9]{6,15}\Z"), st.text(st.characters(exclude_characters="\0"), max_size=16)
        )
    )
)
def test_a_number_is_good_if_it_is_good_for_a_single_call(texts: list[str]) -> None:
    """A batch call takes the numbers that a call takes, and no others."""
    for text, key in zip(texts, EXACT.at_a_glance(texts), strict=True):
        good = True
        try:
            to_phone(text)
        except InvalidInput:
            good = False
        assert (key != 0 or isinstance(EXACT.read(text), Recipient)) is good


def test_most_numbers_are_known_at_a_glance() -> None:
    """An example of a mobile number of each region needs no second look, so that lists are read fast."""
    texts = [
        phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        if (example := phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE))
    ]
    assert len(texts) > 200
    assert sum(map(bool, EXACT.at_a_glance(texts))) > 0.98 * len(texts)
    assert all(EXACT.at_a_glance(["+5491123456789", "+541123456789", "+5511961234567", "+447400123456"]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.NO_NUMBER),
        (" \t", Reason.NO_NUMBER),
        ("4155552671", Reason.NOT_E164),
        ("+1 415 555 2671", Reason.NOT_E164),
        (" +14155552671", Reason.NOT_E164),
        ("+14155552671\n", Reason.NOT_E164),
        ("+1415555267\N{FULLWIDTH DIGIT ONE}", Reason.NOT_E164),
        ("+1_4155552671", Reason.NOT_E164),
        ("++14155552671", Reason.NOT_E164),
        ("+1415555267", Reason.IMPOSSIBLE_NUMBER),
        ("+99912345678", Reason.IMPOSSIBLE_NUMBER),
        ("+999123456789012345", Reason.NOT_E164),
    ],
)
def test_what_is_no_number_has_a_reason(text: str, reason: Reason) -> None:
    """Blank, not E.164, and impossible are told apart."""
    assert EXACT.at_a_glance([text]) == [0]
    assert EXACT.read(text) is reason


@pytest.mark.parametrize(
    ("region", "text", "number"),
    [
        ("US", "4155552671", "+14155552671"),
        ("US", " (415) 555-2671 ", "+14155552671"),
        ("US", "415.555.2671", "+14155552671"),
        ("US", "14155552671", "+14155552671"),
        ("US", "+91 98765 43210", "+919876543210"),
        ("US", "011 91 98765 43210", "+919876543210"),
        ("GB", "020 7946 0958", "+442079460958"),
        ("GB", "+44 (0)20 7946 0958", "+442079460958"),
        ("GB", "+4402079460958", "+442079460958"),
        ("IT", "06 698 12345", "+390669812345"),
        ("IN", "09876543210", "+919876543210"),
    ],
)
def test_a_default_country_makes_e_164_of_any_usual_writing(region: str, text: str, number: str) -> None:
    """National and formatted numbers are brought into the one form that is sent."""
    assert NumberReader(region).read(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "4155552671.0",
        "4155552671.",
        "4.155552671E+9",
        "1-800-FLOWERS",
        "415 555 2671 ext. 5",
        "415 555 2671 / 72",
        "4,155,552,671",
        "call 4155552671",
        "5552671",
        "415555267",
    ],
)
def test_a_default_country_guesses_nothing(text: str) -> None:
    """What a spreadsheet has spoilt, holds letters or lacks its area code is no number."""
    assert isinstance(NumberReader("US").read(text), Reason)


@pytest.mark.parametrize("region", ["", "us", "USA", "001", "ZZ"])
def test_a_region_that_does_not_exist_is_refused(region: str) -> None:
    """A misspelt region would make every number wrong."""
    with pytest.raises(InvalidInput) as caught:
        NumberReader(region)
    assert caught.value.field == "default_country"


def test_spellings_of_one_number_are_one() -> None:
    """With the 0 that is dialled at home or without, it is the same phone that rings."""
    with_zero = EXACT.read("+4402079460958")
    assert isinstance(with_zero, Recipient)
    assert int(with_zero) == EXACT.at_a_glance(["+442079460958"])[0] == 442079460958


@pytest.mark.parametrize(("text", "good"), [("+493012", False), ("+4930123", True), ("+6834002", True)])
def test_a_number_of_less_than_seven_digits_is_no_number(text: str, good: bool) -> None:
    """It is "possible" in some plans, and would have the API refuse a whole batch call for one row."""
    assert (EXACT.read(text) is not Reason.IMPOSSIBLE_NUMBER) is good
    assert bool(EXACT.at_a_glance([text])[0]) is good
