"""Switches are True or False: a text such as "no" counts as true in Python, and YAML has it in quotes."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pytest

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.operators.transcription import FormantTranscribeOperator
from formant_provider.sensors.batch import FormantBatchCallSensor
from formant_provider.sensors.conversation import FormantConversationSensor

FIELDS: dict[type, dict[str, Any]] = {
    FormantCreateCallOperator: {
        **{"agent_id": 456, "parameters": {"customer_phone": "+14155550100"}},
        "wait_for_completion": True,
    },
    FormantCallListOperator: {"agent_id": 456, "calls": "/data/due.csv"},
    FormantCreateBatchCallOperator: {
        **{"agent_id": 456, "name": "dues", "contacts": "/data/due.csv"},
        **{"wait_for_completion": True, "results_uri": "/data/called.csv"},
    },
    FormantTranscribeOperator: {"audio": "/data/talk.wav", "output_uri": "/data/said.json"},
    FormantBatchCallSensor: {"batch_id": 5},
    FormantConversationSensor: {"agent_id": 456, "trace_id": "t-1"},
}


def switches(kind: Any) -> list[str]:
    """The parameters that are True or False; what a template may name is checked when the task runs."""
    parameters = signature(kind.__init__).parameters.values()
    found = [parameter.name for parameter in parameters if "bool" in str(parameter.annotation)]
    return [name for name in found if name not in kind.template_fields]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in FIELDS for name in switches(kind)], ids=str
)
def test_text_is_no_switch(kind: Any, name: str) -> None:
    """resubmit_if_missing="no" would let a batch call be placed again, and others show what was said."""
    with pytest.raises(ValueError, match=f"{name} must be True or False"):
        kind(task_id="task", **FIELDS[kind] | {name: "no"})
