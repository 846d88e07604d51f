"""A number of an old numbering plan is refused with what it is today, or sent so when that is asked for."""

from __future__ import annotations

import re
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.errors import InvalidInput
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.numbers.plans import PLANS, renewed
from formant_provider.core.numbers.reading import Readings
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.validation import to_phone
from support.contact_tables import clean, numbers

OLD = Reason.OLD_NUMBERING_PLAN

# By country: as it is written in old lists, and what it is today.
RENUMBERED = [
    ("MX", "+5215512345678", "+525512345678"),
    ("MX", "+52 1 55 1234 5678", "+525512345678"),
    ("MX", "044 55 1234 5678", "+525512345678"),
    ("MX", "0455512345678", "+525512345678"),
    ("MX", "01 33 1234 5678", "+523312345678"),
    ("BJ", "+22997123456", "+2290197123456"),
    ("BJ", "97 12 34 56", "+2290197123456"),
    ("BJ", "20211234", "+2290120211234"),
    ("CI", "+22507123456", "+2250707123456"),
    ("CI", "01 23 45 67", "+2250101234567"),
    ("CI", "45123456", "+2250545123456"),
    ("CI", "47123456", "+2250747123456"),
    ("CI", "41123456", "+2250141123456"),
    ("CI", "22 41 12 34", "+2252722411234"),
    ("CI", "20 00 12 34", "+2252520001234"),
    ("CI", "20 80 12 34", "+2252120801234"),
    ("VN", "+841681234567", "+84381234567"),
    ("VN", "0168 123 4567", "+84381234567"),
    ("VN", "0120 123 4567", "+84701234567"),
    ("VN", "01271234567", "+84811234567"),
    ("VN", "01991234567", "+84591234567"),
    ("BR", "+551181234567", "+5511981234567"),
    ("BR", "(11) 8123-4567", "+5511981234567"),
    ("BR", "2192345678", "+5521992345678"),
    ("CM", "+23771234567", "+237671234567"),
    ("CM", "99 12 34 56", "+237699123456"),
    ("CO", "+5715123456", "+576015123456"),
    ("CO", "(4) 512 3456", "+576045123456"),
]


@pytest.mark.parametrize(("country", "text", "today"), RENUMBERED)
def test_an_old_number_is_refused_with_what_happened_to_it(country: str, text: str, today: str) -> None:
    """The note says which plan has changed and how to call the number of today, and shows no digit of it."""
    readings = Readings(country)
    assert readings.read(text) is OLD
    note = readings.note(text, OLD)
    assert note is not None
    assert "renumber=True sends the new form" in note
    assert not re.search(r"\d{5}", note)
    assert Readings(country, renumber=True).read(text) == today
    assert phonenumbers.is_valid_number(phonenumbers.parse(today))


@pytest.mark.parametrize("today", sorted({today for _, _, today in RENUMBERED}))
def test_a_number_of_today_is_left_alone(today: str) -> None:
    """Renumbering once is enough, and no number is taken for an older one."""
    assert renewed(today) is None
    assert Readings(None, renumber=True).read(today) == today


@given(st.sampled_from(sorted(PLANS)), st.text("0123456789", min_size=6, max_size=13))
def test_no_number_that_is_valid_today_is_rewritten(code: str, digits: str) -> None:
    """It is somebody's; and what a number is rewritten to is a valid one of the same country."""
    number = f"+{code}{digits}"
    renewal = renewed(number)
    if renewal is not None:
        assert not phonenumbers.is_valid_number(phonenumbers.parse(number))
        assert phonenumbers.is_valid_number(phonenumbers.parse(renewal.number))
        assert renewal.number.startswith(f"+{code}")
        assert renewed(renewal.number) is None


@given(st.sampled_from(sorted(PLANS)), st.text("0123456789", min_size=6, max_size=12))
def test_an_old_number_never_passes_at_a_glance(code: str, digits: str) -> None:
    """Some are of a possible length, and would be called in vain."""
    number = f"+{code}{digits}"
    if renewed(number) is not None:
        assert NumberReader().at_a_glance([number]) == [0]


@given(st.sampled_from(sorted(PLANS)), st.text("0123456789", min_size=6, max_size=13))
def test_the_rules_of_a_plan_do_not_overlap(code: str, digits: str) -> None:
    """So that a number has one successor."""
    assert sum(re.fullmatch(old, digits) is not None for old in PLANS[code].rules) <= 1


def test_an_old_number_that_could_be_elsewhere_is_ambiguous() -> None:
    """1 and ten digits are old Mexico, or New Jersey whose plus sign was lost: nobody is guessed at."""
    for renumber in (False, True):
        assert Readings("MX", renumber=renumber).read("15512345678") is Reason.AMBIGUOUS_NUMBER
    assert Readings("MX", "national", renumber=True).read("15512345678") == "+525512345678"


def called(texts: list[str], **options: Any) -> tuple[dict[str, Any], list[str]]:
    report, accepted, _ = clean(numbers(*texts), **options)
    return report.counts(), [row[0] for row in accepted[1:]]


@pytest.mark.parametrize("listed", ["+5215512345678", "+525512345678", "+52 1 55 1234 5678"])
@pytest.mark.parametrize("contact", ["+5215512345678", "+525512345678"])
def test_nobody_is_called_because_a_plan_changed(listed: str, contact: str) -> None:
    """An entry of the do-not-call list means the phone under its old number and under that of today."""
    for renumber in (False, True):
        other = "+525587654321"
        counts, reached = called([contact, other], suppress=[listed], renumber=renumber, default_country="MX")
        assert reached == [other], counts


@pytest.mark.parametrize(
    ("listed", "contact"),
    [
        # With the 0 of home, which belongs to no number.
        ("+55 (0)11 8765-4321", "+5511987654321"),
        ("+8401681234567", "+84381234567"),
        ("+84 (0)168 1234567", "+84381234567"),
        ("+57012345678", "+576012345678"),
        ("+57 (0)1 2345678", "+576012345678"),
        # A mobile of Argentina, with the 9 by which it is called from abroad and without.
        ("+541123456789", "+5491123456789"),
        ("+5491123456789", "+541123456789"),
    ],
)
def test_nobody_is_called_who_is_on_the_list_in_another_writing(listed: str, contact: str) -> None:
    """Whatever people write for a phone, an entry of the do-not-call list means that phone."""
    _, reached = called([contact, "+14155550100"], suppress=[listed], default_country="US")
    assert reached == ["+14155550100"]


def test_a_number_that_was_renumbered_is_one_of_today() -> None:
    """Also one with the 0 of home: reading it once more changes nothing."""
    readings = Readings("US", renumber=True)
    for text in ("+8401291269868", "+8401681234567", "+57012345678"):
        number = readings.read(text)
        assert isinstance(number, str)
        assert readings.read(number) == number


def test_the_old_and_the_new_number_of_a_person_are_one_contact() -> None:
    """The second is a duplicate, whichever comes first."""
    for texts in (["+5215512345678", "+525512345678"], ["+525512345678", "+5215512345678"]):
        counts, reached = called(texts, renumber=True)
        assert reached == ["+525512345678"]
        assert counts["by_reason"] == {"duplicate": 1}


def test_a_single_call_says_what_the_number_is_today() -> None:
    """By the name of the field, without the number."""
    with pytest.raises(InvalidInput) as caught:
        to_phone("+5215512345678")
    told = caught.value.reason
    assert told.startswith("is of a numbering plan that is no longer in use. Here: Mexico dropped the 1")
    assert "5512345678" not in told
    assert to_phone("+5215512345678", renumber=True) == "+525512345678"
