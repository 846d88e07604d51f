"""A hidden value looks like the value, answers whatever is asked, and shows nothing of it."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import jinja2
import pytest

from formant_provider.sandbox import Sandbox
from formant_provider.tasks.privacy import HIDDEN, hide, reveal
from support.supervisor import FakeSupervisor
from support.task_run import make_dag, run_task

CALL = {"customer_phone": "+14155550100", "loan_id": "LN-secret", "due": 12.5}
PAIRS = [{"name": name, "value": value} for name, value in CALL.items()]
SECRETS = ("4155550100", "LN-secret", "12.5")
VALUES = pytest.mark.parametrize("value", [CALL, PAIRS, "+14155550100"], ids=["mapping", "pairs", "text"])

LOOKS = [
    "{{ p }}",
    "{{ p['loan_id'] }}",
    "{{ p.loan_id }}",
    "{{ p[0] }}",
    "{{ p[0]['value'] }}",
    "{{ p[0].value }}",
    "{{ p[7].value.upper() }}",
    "{{ p | length }}",
    "{{ p | tojson }}",
    "{{ p | list }}",
    "{{ '%.2f' % p['due'] }}",
    "{{ '{:,.2f}'.format(p['due']) }}",
    "{% if p['due'] > 1000 %}much{% endif %}",
    "{% if 'loan_id' in p %}there{% endif %}",
    "{% if p and p == p %}there{% endif %}",
    "{% for entry in p %}{{ entry }}{% endfor %}",
]


@VALUES
@pytest.mark.parametrize("template", LOOKS)
def test_a_template_can_look_at_it_and_learns_nothing(template: str, value: Any) -> None:
    """Items, attributes, iteration, length, tests, formats: each answers, none with what is hidden."""
    shown = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(p=hide(value))  # noqa: S701 - no HTML
    assert not any(secret in shown for secret in SECRETS)


@VALUES
def test_copies_and_pickles_hold_nothing_private(value: Any) -> None:
    """A copy in the process can still be revealed; what leaves the process is the shape alone."""
    hidden = hide(value)
    assert reveal(copy.deepcopy(hidden)) == reveal(copy.copy(hidden)) == value
    pickled = pickle.dumps(hidden).decode("latin1")
    for shown in (pickled, json.dumps(hidden), f"{hidden!r} {hidden} {hidden:>9}"):
        assert not any(secret in shown for secret in SECRETS)
    assert HIDDEN in json.dumps(hidden)


def test_names_are_shown_and_their_number_is_right() -> None:
    """As in the rendered fields: who may see the task may see the names."""
    hidden = hide(CALL)
    assert list(hidden) == list(CALL)
    assert [*hidden.items()] == [(name, HIDDEN) for name in CALL]
    assert len(hide([CALL] * 1000)) == 1000
    assert hidden.get("nothing like it") == HIDDEN
    assert not hasattr(hidden, "to_json")


def test_a_name_that_is_a_number_is_hidden_as_well() -> None:
    """Whether a number is a name cannot be asked either."""
    hidden = hide({"+14155550100": 1})
    assert "+14155550100" not in hidden
    assert list(hidden) == [HIDDEN]


@pytest.mark.parametrize("parameters", [CALL, PAIRS], ids=["mapping", "pairs"])
def test_whoever_looks_at_the_task_after_the_call_does_not_fail_it(
    parameters: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """map_index_template, post_execute and callbacks may look at task.parameters."""
    from formant_provider.operators.call import FormantCreateCallOperator

    looked: list[str] = []

    def look(context: Any, *_: Any) -> None:
        looked.append(str([context["task"].parameters["loan_id"], context["task"].parameters[0]["value"]]))

    with make_dag():
        mapped = FormantCreateCallOperator.partial(
            task_id="call",
            agent_id=456,
            map_index_template="{{ task.parameters['loan_id'] }} {{ task.parameters.loan_id }}",
            post_execute=look,
            on_success_callback=look,
        ).expand(parameters=[parameters])
    run = run_task(mapped, channel, map_index=0)
    assert run.state == "success", run.log_text
    assert looked == ["[***, ***]"] * 2
    sent = {msg.rendered_map_index for msg in run.messages if hasattr(msg, "rendered_map_index")}
    assert sent == {"*** ***"}
    assert sandbox.rings == {"+14155550100": 1}
