"""From fields to one request: one person has one key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from formant_provider.api.models import CallRequest
from formant_provider.core.calls.request import build_request

TASK = ("d", "r", "t")


def a_request(number: Any, **fields: Any) -> CallRequest:
    given: dict[str, Any] = {
        "agent_id": 456,
        "parameters": {"customer_phone": number, "name": "Asha"},
        "scheduled_for": None,
        "conversation_id": None,
        "idempotency_key": None,
        "metadata": None,
        "retry_context": None,
        "task": TASK,
        "now": datetime(2026, 4, 7, tzinfo=UTC),
    }
    return build_request(**{**given, **fields})


@pytest.mark.parametrize(
    ("number", "key"),
    [
        ("+14155550100", "89c2f52c-b7f1-5039-a0f2-cd86ee00657f"),
        ("+442079460123", "a2289b23-5415-5813-8256-7f8b13bc805a"),
        ("+390669812345", "b4537711-ddaa-50a2-89f0-5897858bbaf7"),
    ],
)
def test_a_number_in_its_one_spelling_keeps_its_key(number: str, key: str) -> None:
    """Byte for byte: tasks that are being retried during an upgrade ring nobody again."""
    request = a_request(number)
    assert request.idempotency_key == key
    assert request.recipient == number


@pytest.mark.parametrize("name", [None, "2026-04"])
def test_two_spellings_are_one_call(name: str | None) -> None:
    """The one spelling is sent, and the key is made of it."""
    one, other = (a_request(number, idempotency_key=name) for number in ("+442079460123", "+4402079460123"))
    assert one.body() == other.body()
    assert one.idempotency_key == other.idempotency_key


def test_any_form_of_parameters_has_the_same_key() -> None:
    """A mapping, the API's list, and what can be read but once."""
    pairs = [{"name": "customer_phone", "value": "+4402079460123"}, {"name": "name", "value": "Asha"}]
    forms: list[Any] = [pairs, tuple(pairs), iter(pairs), {pair["name"]: pair["value"] for pair in pairs}]
    assert len({a_request("", parameters=form).idempotency_key for form in forms}) == 1
