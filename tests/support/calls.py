"""The call that most tests of the call operator place."""

from __future__ import annotations

from typing import Any

from formant_provider.operators.call import FormantCreateCallOperator

CREATE_CALL = "POST /v1/call"
NUMBER = "+14155550100"


def an_operator(number: str = NUMBER, **fields: Any) -> FormantCreateCallOperator:
    fields = {"agent_id": 456, "parameters": {"customer_phone": number}, "retries": 3, **fields}
    return FormantCreateCallOperator(task_id="call", **fields)
