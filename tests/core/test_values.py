"""What a value is written as, of Python, numpy and pandas."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from typing import Any

import pendulum
import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.core.contacts.sources import contacts_of
from formant_provider.core.validation import to_parameters
from formant_provider.core.values import as_text, is_missing, phone_text, short_float
from support.contact_tables import rows_of

NUMBER = "+14155552671"


class Tone(str, Enum):  # noqa: UP042 - the kind that writes its name
    FRIENDLY = "friendly"


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Plain(Enum):
    A = "a"


def short_back(value: float) -> float:
    """What is left of a float in 32 bits."""
    import struct

    return float(struct.unpack("f", struct.pack("f", value))[0])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Tone.FRIENDLY, "friendly"),
        (Level.HIGH, "3"),
        (Word.YES, "yes"),
        ("as it is", "as it is"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (29000, "29000"),
        (-1, "-1"),
        (19.99, "19.99"),
        (0.1, "0.1"),
        (1e22, "10000000000000000000000"),
        (0.00001, "0.00001"),
        (1250.0, "1250.0"),
        (Decimal("19.90"), "19.90"),
        (Decimal("1E+3"), "1000"),
        (date(2026, 4, 8), "2026-04-08"),
        (datetime(2026, 4, 8, 14, tzinfo=UTC), "2026-04-08T14:00:00+00:00"),
        (datetime(2026, 4, 8, 14), "2026-04-08T14:00:00"),
        (pendulum.datetime(2026, 4, 8, 14, tz="Asia/Kolkata"), "2026-04-08T14:00:00+05:30"),
    ],
)
def test_a_value_is_written_as_what_it_is(value: object, text: str) -> None:
    """As the operator's documentation says: an enumeration is its value, and a number has few digits."""
    assert as_text("x", value) == text
    assert dict(to_parameters({"customer_phone": NUMBER, "x": value}))["x"] == text


def assert_is_missing(blank: object) -> None:
    """In contacts it is blank, and a call refuses it: the agent is told of no NaT."""
    assert is_missing(blank)
    assert rows_of(contacts_of([{"customer_phone": NUMBER, "x": blank}])) == [[NUMBER, ""]]
    with pytest.raises(InvalidInput) as caught:
        to_parameters({"customer_phone": NUMBER, "x": blank})
    assert caught.value.field == "parameters.x"


@pytest.mark.parametrize("blank", [None, math.nan, Decimal("NaN"), Decimal("sNaN")])
def test_what_is_no_value_is_missing(blank: object) -> None:
    """A query has these for a blank."""
    assert_is_missing(blank)


@pytest.mark.parametrize(
    "value",
    [Plain.A, Fraction(1, 3), timedelta(1), b"x", memoryview(b"x"), [1], {"a": 1}, {1}, math.inf, 1j, (1,),
     object()],
)  # fmt: skip
def test_what_has_no_obvious_text_is_refused(value: object) -> None:
    """A part of a value, or its name, is not guessed at; the error names the parameter."""
    with pytest.raises(InvalidInput, match="must be text, a finite number") as caught:
        to_parameters({"customer_phone": NUMBER, "x": value})
    assert caught.value.field == "parameters.x"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("value", "bits", "text"),
    [
        (short_back(19.99), 32, "19.99"),
        (short_back(0.1), 32, "0.1"),
        (20.0, 32, "20.0"),
        (short_back(16777216.0), 32, "16777216.0"),
        (short_back(3.4028235e38), 32, "340282350000000000000000000000000000000"),
        (0.0999755859375, 16, "0.1"),
        (65504.0, 16, "65500.0"),
    ],
)
def test_a_short_float_has_no_more_digits_than_it_holds(value: float, bits: int, text: str) -> None:
    """19.99 in 32 bits is no 19.989999771118164."""
    assert as_text("x", short_float(value, bits)) == text


@pytest.mark.parametrize("value", [None, math.inf])
def test_what_is_no_finite_float_stays_as_it_is(value: Any) -> None:
    """The rules for values say what becomes of it."""
    assert short_float(value, 32) is value


@pytest.mark.parametrize("value", [4155550100.0, Decimal("4155550100"), Decimal("4155550100.00")])
def test_a_whole_decimal_is_a_number_only_where_that_is_said(value: Any) -> None:
    """Without numbers= it is refused, with a hint; with it, its digits are read."""
    assert phone_text(value, digits_are_told=True) == "4155550100"
    with pytest.raises(InvalidInput, match='say numbers="national" or numbers="e164_without_plus"') as caught:
        phone_text(value, digits_are_told=False)
    assert "4155550100" not in str(caught.value)


@pytest.mark.parametrize("value", [4155550100.5, Decimal("0.1"), math.inf, True, None, b"1"])
@pytest.mark.parametrize("told", [True, False])
def test_no_other_decimal_ever_is(value: Any, told: bool) -> None:
    """Nor is a float that has lost digits, or truth."""
    with pytest.raises(InvalidInput):
        phone_text(value, digits_are_told=told)


@pytest.mark.parametrize(("value", "text"), [(4155550100, "4155550100"), (Tone.FRIENDLY, "friendly")])
def test_integers_and_enumerations_are_left_to_the_rules(value: Any, text: str) -> None:
    """A query often has numbers as integers."""
    assert phone_text(value, digits_are_told=False) == text


def test_values_of_numpy_and_pandas_are_known() -> None:
    """As those of Python are."""
    numpy = pytest.importorskip("numpy")
    pandas = pytest.importorskip("pandas")
    written = {
        "19.99": numpy.float32(19.99), "0.0000000001": numpy.float32(1e-10),
        "5": numpy.int64(5), "true": numpy.bool_(True),
        "2026-04-08": numpy.datetime64("2026-04-08"),
        "2026-04-08T14:00:00": pandas.Timestamp("2026-04-08T14:00"),
    }  # fmt: skip
    assert {as_text("x", value) for value in written.values()} == set(written)
    parameters = dict(to_parameters({"customer_phone": NUMBER, **written}))
    assert parameters == {"customer_phone": NUMBER, **{text: text for text in written}}
    assert as_text("x", numpy.datetime64("2026-04-08T14:00", "ns")) == "2026-04-08T14:00:00"
    for blank in (pandas.NaT, pandas.NA, numpy.datetime64("NaT"), numpy.float16("nan"), numpy.float32("nan")):
        assert_is_missing(blank)
    for refused in (
        numpy.timedelta64(5, "D"),
        pandas.Timestamp("2026-04-08T14:00:00.000000001"),
        numpy.datetime64("2026-04-08T14:00:00.000000001"),
        numpy.array([1]),
    ):
        with pytest.raises(InvalidInput):
            as_text("x", refused)
    assert phone_text(numpy.int64(49151), digits_are_told=False) == "49151"
    for told in (True, False):
        with pytest.raises(InvalidInput):
            phone_text(numpy.float32(4155550100), digits_are_told=told)
