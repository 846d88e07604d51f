"""A recipient: the number is parsed once and carried as a value."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from formant_provider.calling_window import CallingWindow
from formant_provider.core.calls.request import build_request
from formant_provider.core.numbers.recipient import Recipient
from formant_provider.core.validation import to_phone

NUMBER = "+442079460018"


@pytest.mark.parametrize(
    ("number", "countries", "kind", "tells_a_place", "is_in_use"),
    [
        (NUMBER, ("GB",), "fixed_line", True, True),
        ("+919876543210", ("IN",), "mobile", False, True),
        ("+14155550100", ("US",), "fixed_line_or_mobile", True, True),
        ("+5511961234567", ("BR",), "mobile", True, True),
        ("+18005550199", None, "toll_free", False, True),  # of all that share +1
        ("+881612345678", (), "mobile", False, True),  # a satellite's
        ("+11005552671", None, None, False, False),
    ],
)
def test_a_recipient_knows_its_country_and_its_kind(
    number: str, countries: tuple[str, ...] | None, kind: str | None, tells_a_place: bool, is_in_use: bool
) -> None:
    """E.164, the countries it may be registered in, the kind, and whether its range is known."""
    recipient = to_phone(number)
    assert (recipient, recipient.kind, recipient.is_in_use) == (number, kind, is_in_use)
    assert recipient.tells_a_place is tells_a_place
    assert recipient.countries == countries if countries is not None else len(recipient.countries) > 1


def test_a_recipient_is_text_and_shows_no_number() -> None:
    """It equals its text, goes through JSON and pickle, and its repr has no digit of it."""
    recipient = to_phone("020 7946 0018", default_country="GB")
    assert recipient == NUMBER
    assert json.loads(json.dumps({"value": recipient})) == {"value": NUMBER}
    copy = pickle.loads(pickle.dumps(recipient))  # noqa: S301 - our own
    assert (copy, copy.countries) == (NUMBER, ("GB",))
    assert not any(map(str.isdigit, repr(recipient) + repr([recipient])))


def test_a_request_carries_the_recipient_that_was_parsed() -> None:
    """From the field of the operator to the hours: one object, and so one parse."""
    request = build_request(
        agent_id=456,
        parameters={"customer_phone": NUMBER},
        scheduled_for=None,
        conversation_id=None,
        idempotency_key=None,
        metadata=None,
        retry_context=None,
        task=("d", "r", "t"),
        now=datetime(2026, 4, 7, tzinfo=UTC),
    )
    recipient = request.recipient
    assert isinstance(recipient, Recipient)
    assert Recipient.of(recipient) is recipient
    assert replace(request, idempotency_key="other").recipient is recipient
    assert [zone.key for zone in CallingWindow().hours(recipient).zones] == ["Europe/London"]
