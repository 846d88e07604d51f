"""What became of the numbers is counted, and a list that was spoilt as a whole is not guessed at."""

from __future__ import annotations

from typing import Any

import phonenumbers
import pytest

from formant_provider.api.errors import InvalidContacts, InvalidInput
from formant_provider.core.contacts.do_not_call import read_do_not_call
from formant_provider.core.contacts.report import ContactReport
from formant_provider.core.numbers.bulk import NumberReader
from support.contact_tables import clean, numbers

# What a spreadsheet leaves of British numbers: 4.42E+11, saved and read as a number.
SPOILT = [f"{digits}000000000" for digits in range(441, 450)] * 2
AMBIGUOUS = [f"49151234567{last}" for last in range(10, 100)]


def good(count: int) -> list[str]:
    return [f"+1415{number:07}" for number in range(2_345_001, 2_345_001 + count)]


def report_of(texts: list[str], **options: Any) -> ContactReport:
    return clean(numbers(*texts), **options)[0]


def test_numbers_that_were_completed_are_counted() -> None:
    """Those that are called with the country code of default_country, and not those that had one."""
    texts = [
        "(415) 555-0100",
        "415 555 0100",
        "4155550101",
        "+1 415 555 0102",
        "14155550103",
        "011 44 20 7946 0018",
    ]
    report = report_of(texts, default_country="US", suppress=["415 555 0101"])
    assert (report.accepted, report.completed, report.rewritten) == (4, 1, 4)
    assert report.counts()["completed"] == 1


def test_the_version_of_the_library_is_in_the_counts() -> None:
    """Plans change from one to the next, so that a number may be refused that was called last year."""
    assert report_of(good(1)).counts()["phonenumbers"] == phonenumbers.__version__


def test_a_few_round_numbers_and_two_readings_are_counted_alone() -> None:
    """They may be what they are."""
    report = report_of(["+14155000000", "+442000000000", *AMBIGUOUS[:3], *good(5)], default_country="DE")
    assert (report.round_numbers, report.two_readings, report.accepted) == (2, 3, 7)
    assert report.doubt is None


@pytest.mark.parametrize("invalid_rows", ["reject", "fail"])
def test_a_list_whose_digits_are_gone_is_refused(invalid_rows: str) -> None:
    """No word brings them back: the error says what to do instead of calling strangers."""
    # Those that come twice are there once too often, and gone all the same.
    for texts, round_ones in (([*SPOILT, *good(1000)], 18), (SPOILT[:11], 11)):
        with pytest.raises(InvalidContacts, match="Export the list again, with numbers as text") as caught:
            report_of(texts, default_country="GB", numbers="e164_without_plus", invalid_rows=invalid_rows)
        told = f"{round_ones} of {len(texts)} numbers end in six or more zeros"
        assert told in str(caught.value)
        assert "442" not in str(caught.value)
    assert report_of([*SPOILT[:9], *good(1000)], numbers="e164_without_plus").round_numbers == 9
    with pytest.raises(InvalidContacts, match="4 of 10 numbers end in six or more zeros"):
        report_of([*SPOILT[:4], *good(6)], numbers="e164_without_plus")


def test_a_list_with_two_readings_asks_for_a_word() -> None:
    """More than a few, and more than one in a hundred: to leave them out would be to guess at the list."""
    with pytest.raises(
        InvalidContacts, match='say numbers="national" or numbers="e164_without_plus"'
    ) as caught:
        report_of([*AMBIGUOUS[:11], *good(1000)], default_country="DE")
    assert "11 of 1011 numbers can be read as two phones" in str(caught.value)
    assert caught.value.by_reason == {"ambiguous_number": 11}
    assert report_of([*AMBIGUOUS[:11], *good(1000)], numbers="e164_without_plus").accepted == 1011
    assert report_of([*AMBIGUOUS[:11], *good(1100)], default_country="DE").two_readings == 11
    assert report_of([*AMBIGUOUS[:3], *good(3)], default_country="DE").two_readings == 3


def test_a_do_not_call_list_whose_digits_are_gone_is_refused() -> None:
    """It protects nobody."""
    reader = NumberReader("GB", "e164_without_plus")
    with pytest.raises(InvalidInput, match="18 of 1018 entries end in six or more zeros"):
        read_do_not_call([*SPOILT, *good(1000)], reader)
    assert len(read_do_not_call([*SPOILT[:9], *good(1000)], reader)) == 1009


def test_every_reason_has_words_and_no_digit_of_the_number() -> None:
    """In the rejects and in the summary alike."""
    texts = ["4.42E+11", "+1 415 555 0100 x5", "1-800-FLOWERS", "5550100", "+39669812345", "+5215512345678"]
    report = report_of(texts, default_country="US")
    assert list(report.by_reason) == [
        "not_e164", "extension", "vanity_number", "local_number", "lost_zero", "old_numbering_plan",
    ]  # fmt: skip
    told = " ".join([report.summary(), *(problem.detail for problem in report.problems)])
    for words in (
        "scientific notation",
        "extension",
        "letters",
        "area code",
        "lost the 0",
        "Mexico dropped the 1",
    ):
        assert words in told
    for digits in ("4155550100", "5550100", "669812345", "5512345678"):
        assert digits not in told


@pytest.mark.parametrize(
    ("count", "words"),
    [(1, "it is row 1 (no_number)"), (2, "they are row 1 (no_number); row 2"), (11, "the first are row 1")],
)
def test_a_summary_says_whether_it_names_all(count: int, words: str) -> None:
    """One row is not the first of several, nor are two."""
    report, _, _ = clean([{"customer_phone": "", "name": "x"}] * count)
    assert f"{count} of {count} cannot be called: {count} no_number; {words}" in report.summary()
