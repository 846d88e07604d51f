from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.errors import InvalidInput
from formant_provider.core import validation

NUMBER = "+14155552671"
NOW = datetime(2026, 4, 7, 12, tzinfo=UTC)


def refusal(call: Any, *args: Any, **kwargs: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        call(*args, **kwargs)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None, "an error raised while another is handled carries its text along"
    return error


@pytest.mark.parametrize("given_id", [456, "456", " 456 "])
def test_agent_id_is_an_integer_or_digits(given_id: object) -> None:
    """agent_id may be an integer or the text a template renders to."""
    assert validation.to_agent_id(given_id) == 456


@pytest.mark.parametrize(
    "wrong", [None, True, 4.5, 456.0, "", "abc", "4x", "-4", "٤٥٦", 0, -1, [456], "None"]
)
def test_any_other_agent_id_is_refused(wrong: object) -> None:
    """What is no agent's number is refused, naming the field."""
    assert refusal(validation.to_agent_id, wrong).field == "agent_id"


def test_parameters_may_be_a_mapping_or_the_api_s_list() -> None:
    """Both forms mean the same call, in the order given."""
    mapping = {"customer_phone": NUMBER, "customer_name": "Rahul"}
    as_list = [{"name": name, "value": value} for name, value in mapping.items()]
    assert validation.to_parameters(mapping) == validation.to_parameters(as_list) == tuple(mapping.items())


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "customer_phone",
        b"customer_phone",
        7,
        [],
        {},
        {"customer_name": "Rahul"},
        [NUMBER],
        [{"name": "customer_phone"}],
        [{"name": "customer_phone", "value": NUMBER, "extra": 1}],
        [{"name": "customer_phone", "value": NUMBER}] * 2,
        {"customer_phone": NUMBER, "": "x"},
        {"customer_phone": NUMBER, 7: "x"},
        {"customer_phone": NUMBER, NUMBER: None},
    ],
)
def test_parameters_of_any_other_shape_are_refused(wrong: object) -> None:
    """Wrong shapes, missing customer_phone, duplicate, blank and odd names are refused without the values."""
    error = refusal(validation.to_parameters, wrong)
    assert error.field.startswith("parameters")
    assert NUMBER.strip("+") not in str(error)


def test_a_list_of_rows_names_the_ways_to_call_them_all() -> None:
    """One call has one recipient: the error names expand() and the operator of batch calls."""
    error = refusal(validation.to_parameters, [{"customer_phone": NUMBER, "due": 1}] * 2)
    assert error.field == "parameters"
    assert ".expand(parameters=rows)" in error.reason
    assert "FormantCreateBatchCallOperator" in error.reason


@pytest.mark.parametrize(
    "number",
    ["14155552671", "+0155552671", "+1 415 555 2671", "+1-415-555-2671", "tel:+14155552671", "+", "", "+1415",
     "+141555526711234", "+9991234567890", "+1415555267\u0661", "\n+14155552671", "+14155552671\n", 7],
)  # fmt: skip
def test_a_number_that_is_not_e164_or_not_possible_is_refused(number: object) -> None:
    """customer_phone must be E.164 text and a possible number; the error does not show it."""
    error = refusal(validation.to_parameters, {"customer_phone": number})
    assert error.field == "parameters.customer_phone"
    assert not str(number) or str(number) not in str(error) or number == "+"


def test_a_possible_number_outside_the_known_ranges_is_let_through() -> None:
    """The library's ranges age, so they may only warn."""
    unknown_range = "+11005552671"
    assert not validation.to_phone(unknown_range).is_in_use
    assert validation.to_phone(NUMBER).is_in_use


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 4, 8, 14, tzinfo=UTC),
        datetime(2026, 4, 8, 19, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        pendulum.datetime(2026, 4, 8, 10, tz="America/New_York"),
        "2026-04-08T14:00:00Z",
        "2026-04-08 14:00:00+00:00",
        " 2026-04-08T19:30+05:30 ",
    ],
)
def test_scheduled_for_takes_aware_datetimes_and_iso_text(value: object) -> None:
    """Every aware form means the same moment."""
    assert validation.to_scheduled_for(value, now=NOW) == datetime(2026, 4, 8, 14, tzinfo=UTC)
    assert validation.to_scheduled_for(None, now=NOW) is None


@pytest.mark.parametrize(
    "wrong",
    [
        datetime(2026, 4, 8, 14),
        "2026-04-08T14:00:00",
        "2026-04-08",
        "tomorrow",
        "",
        "None",
        1775656800,
        date(2026, 4, 8),
        NOW + timedelta(days=30, seconds=1),
        "2026-05-08T12:00:00Z",
    ],
)
def test_a_naive_far_or_unreadable_scheduled_for_is_refused(wrong: object) -> None:
    """A moment that is not sure, or more than 30 days off, is refused."""
    assert refusal(validation.to_scheduled_for, wrong, now=NOW).field == "scheduled_for"


def test_a_past_scheduled_for_is_refused() -> None:
    """A moment that is gone is refused; now is not gone, and no moment is no past."""
    assert refusal(validation.refuse_past, NOW - timedelta(seconds=1), now=NOW).field == "scheduled_for"
    validation.refuse_past(NOW, now=NOW)
    validation.refuse_past(None, now=NOW)


def test_thirty_days_ahead_and_this_very_moment_are_allowed() -> None:
    """The bounds themselves are inside."""
    assert validation.to_scheduled_for(NOW, now=NOW) == NOW
    assert validation.to_scheduled_for(NOW + timedelta(days=30), now=NOW)


def test_metadata_is_text_or_json() -> None:
    """Text goes as it is, a mapping as JSON, nothing stays nothing."""
    assert validation.to_metadata("as it is") == "as it is"
    assert json.loads(validation.to_metadata({"loan": "LN-1", "note": "नमस्ते"}) or "") == {
        "loan": "LN-1",
        "note": "नमस्ते",
    }
    assert validation.to_metadata(None) is None


@pytest.mark.parametrize("wrong", [7, ["a"], {"a": object()}, {"a": float("nan")}, {("a",): 1}, b"x"])
def test_other_metadata_is_refused(wrong: object) -> None:
    """What is neither text nor JSON is refused."""
    assert refusal(validation.to_metadata, wrong).field == "metadata"


def test_retry_context_is_the_vendor_s() -> None:
    """The four members of the vendor's RetryContext pass, each of them nullable."""
    context = {
        "collected_data": {"paid": False},
        "retry_initial_message": "We missed you",
        "retry_language": "en-US",
        "retry_stage_id": None,
    }
    assert validation.to_retry_context(context) == context
    assert validation.to_retry_context(None) is None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ("text", "retry_context"),
        ({"stage": "x"}, "retry_context.stage"),
        ({NUMBER: "x"}, "retry_context"),
        ({"collected_data": "x"}, "retry_context.collected_data"),
        ({"retry_language": 7}, "retry_context.retry_language"),
        ({"collected_data": {"x": object()}}, "retry_context"),
    ],
)
def test_other_retry_contexts_are_refused(wrong: object, field: str) -> None:
    """Unknown members and wrong types are refused, naming the member."""
    assert refusal(validation.to_retry_context, wrong).field == field


@pytest.mark.parametrize("wrong", ["", "  ", "None", True, 1.5, ["x"]])
def test_a_name_that_rendered_to_nothing_is_refused(wrong: object) -> None:
    """A blank key would make one call of many, so it is refused rather than taken for 'not given'."""
    assert refusal(validation.to_optional_text, "idempotency_key", wrong).field == "idempotency_key"


def test_a_name_may_be_a_number() -> None:
    """A loan number need not be quoted."""
    assert validation.to_optional_text("idempotency_key", 4711) == "4711"
    assert validation.to_optional_text("idempotency_key", None) is None


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True), st.sampled_from([None, {"a": 1}, float("nan")]))
def test_no_refusal_ever_shows_the_number(number: str, broken: object) -> None:
    """Whatever is wrong with a call, its error does not hold the recipient's number."""
    for parameters in ({"customer_phone": number[1:]}, {"customer_phone": number, "x": broken}):
        with pytest.raises(InvalidInput) as caught:
            validation.to_parameters(parameters)
        assert number[1:] not in repr(caught.value)
