"""A written number means one phone, or it is refused."""

from __future__ import annotations

from contextlib import suppress

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.core.numbers.reading import Readings
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.numbers.recipient import E164, canonical

CODES = sorted(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
AMBIGUOUS = Reason.AMBIGUOUS_NUMBER

# What lists hold, by where they are from: how it is written, and what it is read as.
LISTS = [
    # Exports of MSISDNs and columns of integers: the country code lost its plus sign.
    ("DE", "4915123456789", AMBIGUOUS),
    ("DE", "442079460018", AMBIGUOUS),
    ("DE", "44 20 7946 0018", AMBIGUOUS),
    ("IN", "14155550132", AMBIGUOUS),
    ("US", "6591234567", AMBIGUOUS),
    ("US", "6593234567", AMBIGUOUS),
    ("ID", "81234567890", AMBIGUOUS),
    # The same where it can be no national number: the readings agree.
    ("US", "14155550132", "+14155550132"),
    ("IN", "919876543210", "+919876543210"),
    ("FR", "33612345678", "+33612345678"),
    ("GB", "447400123456", "+447400123456"),
    ("ID", "6281234567890", "+6281234567890"),
    ("SG", "6591234567", "+6591234567"),
    # National digits, as people write them and as integers, without the 0 that is dialled at home.
    ("US", "4155550100", "+14155550100"),
    ("DE", "03023125123", "+493023125123"),
    ("DE", "3023125123", "+493023125123"),
    ("DE", "015123456789", "+4915123456789"),
    ("DE", "15123456789", AMBIGUOUS),  # +1 512 345 6789 is a number of Texas
    ("GB", "7400123456", "+447400123456"),
    ("IN", "9876543210", "+919876543210"),
    ("FR", "612345678", "+33612345678"),
    ("MX", "5512345678", "+525512345678"),
    ("BR", "11961234567", "+5511961234567"),
    ("SG", "91234567", "+6591234567"),
    ("CN", "13812345678", "+8613812345678"),
    ("RU", "89123456789", "+79123456789"),
    # In the groups of the country: with the code of another one it would be grouped otherwise.
    ("US", "6462345678", AMBIGUOUS),  # +64 6 234 5678 is a number of New Zealand
    ("US", "(646) 234-5678", "+16462345678"),
    ("US", "646-234-5678", "+16462345678"),
    ("US", "646.234.5678", "+16462345678"),
    ("US", "(415) 555-0100", "+14155550100"),
    ("GB", "020 7946 0018", "+442079460018"),
    ("GB", "0114 234 5678", "+441142345678"),  # 011 is no prefix here
    ("IN", "011 2345 6789", "+911123456789"),
    ("IN", "98765-43210", "+919876543210"),
    ("FR", "06.12.34.56.00", "+33612345600"),
    ("BR", "(11) 96123-4567", "+5511961234567"),
    ("AR", "011 15-2345-6789", "+5491123456789"),
    ("KR", "010-1234-5678", "+821012345678"),
    ("JP", "090-1234-5678", "+819012345678"),
    ("DE", "030-23125123", "+493023125123"),
    ("DE", "0151.23456789", "+4915123456789"),
    # What is dialled before a country code.
    ("DE", "0044 20 7946 0018", "+442079460018"),
    ("US", "011 44 20 7946 0018", "+442079460018"),
    ("DE", "011442079460018", Reason.IMPOSSIBLE_NUMBER),
    ("JP", "00442079460018", Reason.IMPOSSIBLE_NUMBER),
    ("US", "+44 (0)20 7946 0018", "+442079460018"),
    ("US", "-4155550100", Reason.NOT_E164),
    # 00 1 is dialled before a North American number in most places, and 001 before any in some.
    *((region, "0012015555007", AMBIGUOUS) for region in ("SG", "KR", "HK", "TH")),
    # The beginning is in use and the whole is not: the rest is an extension, and dialled afterwards.
    ("SG", "+65 6123 4565 123", Reason.NOT_E164),
    ("US", " (415) 555-2671 ", "+14155552671"),
    ("US", "+91 98765 43210", "+919876543210"),
    ("US", "011 91 98765 43210", "+919876543210"),
    ("GB", "+44 (0)20 7946 0958", "+442079460958"),
    ("GB", "+4402079460958", "+442079460958"),
    ("IT", "06 698 12345", "+390669812345"),
    ("IN", "09876543210", "+919876543210"),
    ("US", "415 555 2671 / 72", Reason.NOT_E164),
    ("US", "4155552671.0", Reason.NOT_E164),
    ("US", "4155552671.", Reason.NOT_E164),
    ("US", "4.155552671E+9", Reason.NOT_E164),
    ("US", "4,155,552,671", Reason.NOT_E164),
    ("US", "415555267", Reason.IMPOSSIBLE_NUMBER),
]


@pytest.mark.parametrize(("region", "text", "number"), LISTS)
def test_a_number_with_two_readings_is_refused_and_a_usual_one_is_not(
    region: str, text: str, number: str
) -> None:
    """No stranger is called for a plus sign that was lost, and lists of a country still work."""
    assert Readings(region).read(text) == number


def test_the_two_readings_are_told_by_their_lengths() -> None:
    """And no digit of the number is."""
    readings = Readings("DE")
    told = "13 digits with a country code, 15 with that of default_country"
    assert readings.note("4915123456789", Reason.AMBIGUOUS_NUMBER) == told
    assert readings.note("49 151 23456789", Reason.AMBIGUOUS_NUMBER) == told


@pytest.mark.parametrize(
    ("region", "text", "national", "international"),
    [
        ("DE", "4915123456789", "+494915123456789", "+4915123456789"),
        ("DE", "442079460018", "+49442079460018", "+442079460018"),
        ("DE", "15123456789", "+4915123456789", "+15123456789"),
        ("DE", "03023125123", "+493023125123", Reason.IMPOSSIBLE_NUMBER),
        ("US", "6462345678", "+16462345678", "+6462345678"),
        ("US", "646 234-5678", "+16462345678", "+6462345678"),
        ("US", "14155550132", "+14155550132", "+14155550132"),
        ("IN", "14155550132", "+9114155550132", "+14155550132"),
        ("US", "+442079460018", "+442079460018", "+442079460018"),
        ("US", "+44 20 7946 0018", "+442079460018", "+442079460018"),
        # A data frame took it for a float, and lost nothing of it.
        ("US", "4155550100.0", "+14155550100", Reason.IMPOSSIBLE_NUMBER),
        ("US", "14155550100.0", "+14155550100", "+14155550100"),
        ("GB", "4.42079460018e+11", "+442079460018", "+442079460018"),
        ("GB", "4.42079460018E+11", "+442079460018", "+442079460018"),
        ("US", "1.41555501e+10", "+14155550100", "+14155550100"),
        # A spreadsheet shows it so, and its last digits are gone.
        ("GB", "4.42E+11", Reason.NOT_E164, Reason.NOT_E164),
        ("GB", "4.42079E+11", Reason.NOT_E164, Reason.NOT_E164),
        ("US", "1.41556E+10", Reason.NOT_E164, Reason.NOT_E164),
        ("US", "1.41555527E+10", Reason.NOT_E164, Reason.NOT_E164),
        ("US", "1.4155552E+10", Reason.NOT_E164, Reason.NOT_E164),
        ("US", "2.0255501E+9", Reason.NOT_E164, Reason.NOT_E164),
        ("US", "14155550100.5", Reason.NOT_E164, Reason.NOT_E164),
        ("GB", "00442079460018", "+442079460018", "+442079460018"),
        ("GB", "+00442079460018", Reason.IMPOSSIBLE_NUMBER, Reason.IMPOSSIBLE_NUMBER),
        ("DE", "030 12345-12346", Reason.NOT_E164, Reason.IMPOSSIBLE_NUMBER),
        ("DE", "49 30 12345-12346", Reason.NOT_E164, Reason.NOT_E164),
    ],
)
def test_a_word_says_which_reading_is_meant(
    region: str, text: str, national: str, international: str
) -> None:
    """With numbers= nothing is ambiguous, and what is spoilt is spoilt all the same."""
    assert Readings(region, "national").read(text) == national
    assert Readings(region, "e164_without_plus").read(text) == international
    assert Readings(None, "e164_without_plus").read(text) == international


SPOILT = [
    "03023125123.00", "03023125123.0", "03023125123.", "03023125123.5", "9.198765E+11", "9.19876543210",
    "3 023 125 123.00", "4,155,550,100", "030 12345-12346", "030 12345-67", "030 12345 - 67",
    "030 2312512 / 030 2312513", "030 2312512/13", "030 2312512;030 2312513", "030 2312512 ::: 030 2312513",
    "0301234 0301235", "030 1234  5678", "+49 30 1234 ext 5", "030 1234 x5", "030 1234#5", "030 12345-6",
    "+49 30 12345-67", "030 12345 (67)", "tel:03023125123",
    "-03023125123", "++493023125123", "+49 30 2312512 +49 30 2312513",
]  # fmt: skip


@pytest.mark.parametrize("numbers", [None, "national"])
@pytest.mark.parametrize("text", SPOILT)
def test_what_is_not_one_number_is_never_run_together_or_cut(text: str, numbers: str | None) -> None:
    """Decimals, exponents, extensions, ranges and second numbers are refused."""
    refused = {Reason.NOT_E164, Reason.IMPOSSIBLE_NUMBER, Reason.EXTENSION}
    assert Readings("DE", numbers).read(text) in refused  # type: ignore[arg-type]


@given(
    st.sampled_from(["US", "DE", "IN", "GB", "IT", "BR", "JP"]),
    st.text("0123456789", min_size=4, max_size=15),
    st.integers(0, 9999),
)
def test_no_decimal_is_ever_taken_for_a_number(region: str, digits: str, tail: int) -> None:
    """Whatever stands before the point, what a float leaves behind it is never dialled."""
    for text in (f"{digits}.0", f"{digits}.00", f"{digits}.{tail % 100}", f"{digits[0]}.{digits[1:]}{tail}"):
        assert isinstance(Readings(region).read(text), Reason)


@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("+442079460123", "+442079460123"),
        ("+4402079460123", "+442079460123"),
        ("+4903023125123", "+493023125123"),
        ("+33 612345678".replace(" ", "0"), "+33612345678"),
        ("+14155550100", "+14155550100"),
        ("+114155550100", "+14155550100"),
        ("+78005553535", "+78005553535"),
        # In Italy, San Marino and the Vatican the 0 belongs to the number.
        ("+390669812345", "+390669812345"),
        ("+39669812345", "+39669812345"),
        # Prefixes of mobile numbers, as they are dialled abroad and at home.
        ("+5491123456789", "+5491123456789"),
        ("+54111523456789", "+5491123456789"),
        ("+525512345678", "+525512345678"),
        ("+5215512345678", None),  # dropped in 2019, and the library knows it no longer
        ("+5511961234567", "+5511961234567"),
        ("+55011961234567", "+5511961234567"),
        ("+819012345678", "+819012345678"),
        ("+8109012345678", "+819012345678"),
    ],
)
def test_one_phone_has_one_spelling(written: str, known: str | None) -> None:
    """Digits that are dialled before a number at home are no part of it, and others stay."""
    assert canonical(written) == known


REASONS = [
    (None, "+1 415 555 0100 x123", Reason.EXTENSION),
    (None, "+14155550100;ext=9", Reason.EXTENSION),
    ("US", "415 555 0100 ext. 12", Reason.EXTENSION),
    ("US", "415-555-0100 #12", Reason.EXTENSION),
    ("US", "(415) 555-0100, extension 5", Reason.EXTENSION),
    ("RU", "8 912 345-67-89 \u0434\u043e\u0431. 12", Reason.EXTENSION),
    ("US", "1-800-FLOWERS", Reason.VANITY_NUMBER),
    (None, "+1-800-FLOWERS", Reason.VANITY_NUMBER),
    ("US", "call 4155550100", Reason.NOT_E164),
    ("US", "N/A", Reason.NOT_E164),
    ("US", "5550100", Reason.LOCAL_NUMBER),
    ("US", "555-0100", Reason.LOCAL_NUMBER),
    (None, "+15550100", Reason.LOCAL_NUMBER),
    ("IT", "669812345", Reason.LOST_ZERO),
    ("IT", "66 9812345", Reason.LOST_ZERO),
    (None, "+39669812345", Reason.LOST_ZERO),
    (None, "+39 669812345", Reason.NOT_E164),
    ("CI", "123456789", Reason.LOST_ZERO),
    (None, "+225123456789", Reason.LOST_ZERO),
    ("IT", "0669812345", "+390669812345"),
    ("IT", "3123456789", "+393123456789"),
    (None, "+39800123456", "+39800123456"),
    # Ten digits of India that would be written with a 0, unless they are American.
    ("IN", "4155550100", AMBIGUOUS),
    ("IN", "(415) 555-0100", AMBIGUOUS),
    ("IN", "04155550100", "+914155550100"),
    ("IN", "+914155550100", "+914155550100"),
    ("IN", "9876543210", "+919876543210"),
    ("TR", "2126543210", AMBIGUOUS),
    ("TR", "0212 654 32 10", "+902126543210"),
    # In Greece and Mexico nothing is dialled before a number; in Germany and Brazil, numbers have any length.
    ("GR", "2106543210", "+302106543210"),
    ("MX", "5512345678", "+525512345678"),
    ("BR", "2123456789", "+552123456789"),
]


@pytest.mark.parametrize(("country", "text", "read"), REASONS)
def test_each_kind_of_number_has_a_reason_of_its_own(country: str | None, text: str, read: str) -> None:
    """Extensions, letters, numbers without area code or 0, and American ones in a list of another country."""
    assert Readings(country).read(text) == read
    if country is not None and read is AMBIGUOUS:
        note = Readings(country).note(text, AMBIGUOUS) or ""
        assert "North American" in note
        assert isinstance(Readings(country, "national").read(text), str)


@given(st.builds("+{}{}".format, st.sampled_from(CODES), st.text("0123456789", max_size=15)))
def test_the_one_spelling_is_a_fixed_point(text: str) -> None:
    """What was brought into its one spelling is in it; and a valid number's is the library's."""
    known = canonical(text)
    if known is None:
        return
    assert E164.fullmatch(known)
    assert canonical(known) == known
    with suppress(phonenumbers.NumberParseException):
        parsed = phonenumbers.parse(text)
        if phonenumbers.is_valid_number(parsed):
            assert known == phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@given(
    st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)), st.text("0123456789", min_size=5, max_size=15)
)
def test_digits_are_called_only_if_no_other_phone_can_be_meant(region: str, digits: str) -> None:
    """In no region are digits read as national that are a valid number of elsewhere with a plus sign."""
    read = Readings(region).read(digits)
    other = canonical(f"+{digits}")
    if isinstance(read, Reason) or other is None or other == read:
        return
    assert not phonenumbers.is_valid_number(phonenumbers.parse(other))
    assert phonenumbers.is_valid_number(phonenumbers.parse(read))


def test_numbers_of_every_country_are_read_at_home() -> None:
    """The usual writing of an example of each region, with the 0 dialled there, is that number."""
    misread = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
            wanted = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            # Slovakia's had a slash, which is refused, in older versions of the library.
            if "/" not in written and Readings(region).read(written) != wanted:
                misread.append((region, written))
    assert misread == []
