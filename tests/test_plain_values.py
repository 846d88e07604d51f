"""Options that are written as a mapping, as a file of plain values has them."""

from __future__ import annotations

from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.attempts import Attempts
from formant_provider.call_cap import CallCap
from formant_provider.calling_window import CallingWindow
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.stop_when import StopWhen

KINDS: list[tuple[Any, dict[str, Any]]] = [
    (CallingWindow, {"start": "08:00", "end": "24:00", "days": ["mon"], "timezone": {"US": "UTC"}}),
    (CallCap, {"calls": 3, "per": "7d"}),
    (Attempts, {"most": 3, "after": {"busy": "15m"}}),
    (StopWhen, {"reached": 5}),
]


@pytest.mark.parametrize(("kind", "fields"), KINDS)
def test_a_mapping_of_the_fields_is_the_option(kind: Any, fields: dict[str, Any]) -> None:
    """What is one already is taken as it is."""
    option = kind(**fields)
    assert kind.of(fields) == option
    assert kind.of(option) is option


@pytest.mark.parametrize(("kind", "fields"), KINDS)
@pytest.mark.parametrize("wrong", ["text", 5, ["start"], {"begin": "09:00"}, {1: 2}])
def test_anything_else_is_refused_with_the_names_of_the_fields(
    kind: Any, fields: dict[str, Any], wrong: Any
) -> None:
    """A name that is none is a mistake, not a field that is left out."""
    with pytest.raises(InvalidInput, match=f"must be {kind.__name__} or a mapping of .*{next(iter(fields))}"):
        kind.of(wrong)


@pytest.mark.parametrize("kind", [CallingWindow, CallCap])
def test_an_empty_mapping_is_no_way_to_ask_for_the_defaults(kind: Any) -> None:
    """Who writes one has forgotten what it should say."""
    with pytest.raises(InvalidInput, match="is an empty mapping"):
        kind.of({})


@pytest.mark.parametrize(
    ("operator", "whom"),
    [
        (FormantCreateCallOperator, {"parameters": {"customer_phone": "+14155550100"}}),
        (FormantCreateBatchCallOperator, {"contacts": "/data/due.csv", "name": "dues"}),
        (FormantCallListOperator, {"calls": "/data/due.csv"}),
    ],
)
def test_every_operator_takes_hours_and_a_cap_as_mappings(operator: Any, whom: dict[str, Any]) -> None:
    """They become what Airflow renders, and what a wrong value in them is refused by."""
    made = operator(
        task_id="call", agent_id=456, **whom, calling_window={"end": "21:00"}, call_cap={"calls": 1}
    )
    assert (made.calling_window, made.call_cap) == (CallingWindow(end="21:00"), CallCap(1))
    with pytest.raises(ValueError, match=r"calling_window\.end: .*YAML takes a time for a number"):
        operator(task_id="call", agent_id=456, **whom, calling_window={"end": 1200})
