"""From fields to one request, and from a request to its key: one person has one key."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formant_provider.api.models import CallRequest
from formant_provider.core.calls.request import build_request
from formant_provider.core.keys import key_for_name, key_for_task

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


IDS = {"dag_id": "d", "run_id": "r", "task_id": "t", "agent_id": 456, "recipient": "+14155550100"}


def test_the_key_of_a_task_never_changes() -> None:
    """An upgrade of this package must not make tasks that are being retried ring again."""
    assert key_for_task(**IDS) == "89c2f52c-b7f1-5039-a0f2-cd86ee00657f"
    assert uuid.UUID(key_for_task(**IDS)).version == 5


def test_every_part_of_the_intent_counts() -> None:
    """Another DAG, run, task, agent or recipient is another call."""
    others = [key_for_task(**{**IDS, part: 789 if part == "agent_id" else "+14155550101"}) for part in IDS]
    assert len({key_for_task(**IDS), *others}) == 1 + len(IDS)


def test_a_name_is_one_call_for_one_agent_and_recipient_only() -> None:
    """A name shared by a mapped list does not make one call out of many."""
    one = key_for_name(name="2026-04", agent_id=456, recipient="+14155550100")
    assert one == key_for_name(name="2026-04", agent_id=456, recipient="+14155550100")
    assert one != key_for_name(name="2026-04", agent_id=456, recipient="+14155550101")
    assert one != key_for_name(name="2026-04", agent_id=457, recipient="+14155550100")


@given(st.text(), st.text(), st.text(), st.text())
def test_parts_are_kept_apart(a: str, b: str, c: str, d: str) -> None:
    """No two different pairs of ids run together into one key."""
    same = (a, b) == (c, d)
    keys = [key_for_task(**{**IDS, "dag_id": x, "run_id": y}) for x, y in ((a, b), (c, d))]
    assert (keys[0] == keys[1]) is same
