"""The user's own name of a row comes back with the result, and is never a phone number."""

from __future__ import annotations

from typing import Any

import pytest

from formant_provider.sandbox import Sandbox
from support.calls import NUMBER, an_operator
from support.supervisor import FakeSupervisor
from support.task_run import run_task


def a_run(channel: FakeSupervisor, reference: Any, parameters: Any = None) -> Any:
    options = {"parameters": parameters} if parameters else {}
    return run_task(an_operator(reference=reference, **options), channel)


@pytest.mark.parametrize("reference", ["LN-1", "10023", 10023, "C++ 17", "20261128-7", " padded "])
def test_a_reference_comes_back_with_the_result(
    reference: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Text without outer blanks, an integer as it is; the API never sees it."""
    run = a_run(channel, reference)
    assert run.state == "success", run.log_text
    wanted = reference.strip() if isinstance(reference, str) else reference
    assert run.xcoms["return_value"]["reference"] == wanted
    assert run.xcoms["return_value"]["map_index"] == -1
    assert "reference" not in sandbox.requests[0].body


SPELLINGS = [
    "+14155550100",
    "+1 (415) 555-0100",
    "0014155550100",
    "4155550100",
    4155550100,
    "(415) 555-0100",
    "555-0100",
    "LN-4155550100",
    "\uff0b14155550100",
    "\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0660\u0660",
    "+49 151 23456789",
    "loan of +4915123456789",
    "loan of +49\u2013151\u201323456789",
]


@pytest.mark.parametrize("reference", SPELLINGS)
@pytest.mark.parametrize("as_list", [False, True])
def test_a_phone_number_is_no_reference(
    reference: Any, as_list: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The recipient's in any spelling, and whatever is written as an international number."""
    pairs = [{"name": "customer_phone", "value": NUMBER}]
    run = a_run(channel, reference, pairs if as_list else None)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "reference: is or holds a phone number" in str(run.error)
    assert str(reference) not in str(run.error)
    assert run.xcoms["return_value"]["reference"] is None
    assert run.xcoms["return_value"]["status"] == "refused"


@pytest.mark.parametrize("reference", [" ", "None", 1.5, True, ["LN-1"], "x" * 251])
def test_what_names_nothing_is_refused(reference: Any, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Blank text, other types, and a record instead of its id."""
    run = a_run(channel, reference)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert str(run.error).startswith("reference: ")
