"""What a DAG file says outright and cannot be is refused when it is parsed; what it cannot know is not."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from support.task_run import make_dag

PARAMETERS = {"customer_phone": "+14155550100"}
ROWS = [PARAMETERS, {"customer_phone": "+14155550101"}]
INVALID: list[tuple[dict[str, Any], str]] = [
    ({"agent_id": "abc"}, "agent_id: must be an integer"),
    ({"agent_id": 4.5}, "agent_id: must be an integer"),
    ({"agent_id": 0}, "agent_id: must be above 0"),
    ({"region": "eu"}, "region must be one of global, in, or None; not 'eu'"),
    ({"scheduled_for": "tomorrow"}, "scheduled_for: is not ISO 8601"),
    ({"scheduled_for": datetime(2099, 1, 1)}, "scheduled_for: has no time zone"),
    ({"parameters": {"customer_phone": "0151-23"}}, "customer_phone: must be an E.164 number"),
    ({"parameters": {"customer_phone": 14155550100}}, "customer_phone: must be an E.164 number"),
    ({"parameters": [{"name": "customer_phone", "value": "0151-23"}]}, "must be an E.164 number"),
    ({"parameters": ROWS}, r"parameters: is a list of rows.*expand\(parameters=rows\)"),
]
KNOWN_LATER: list[dict[str, Any]] = [
    {"agent_id": "{{ params.agent }}"},
    {"agent_id": "7 "},
    {"agent_id": "[[ agent ]]"},
    {"region": "{{ var.value.region }}"},
    {"scheduled_for": "{% if true %}tomorrow{% endif %}"},
    {"scheduled_for": datetime(2000, 1, 1, tzinfo=UTC)},
    {"parameters": {"customer_phone": "{{ row.phone }}"}},
    {"parameters": {"customer_phone": "0151-23"}, "default_country": "DE"},
    {"parameters": lambda **_: PARAMETERS},
    {"parameters": "{{ ti.xcom_pull('rows') }}"},
]


@pytest.mark.parametrize(("fields", "told"), INVALID)
def test_an_invalid_literal_breaks_the_dag_file(fields: dict[str, Any], told: str) -> None:
    """By the name of the field, and without a number."""
    fields = {"agent_id": 456, "parameters": PARAMETERS, **fields}
    with pytest.raises(ValueError, match=told) as caught:
        FormantCreateCallOperator(task_id="call", **fields)
    assert "0151" not in str(caught.value)
    assert "4155550100" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [row for row in INVALID if "0151-23" not in str(row[0])],
    ids=lambda row: str(row)[:30],
)
def test_an_invalid_literal_of_all_rows_breaks_the_dag_file(fields: dict[str, Any], told: str) -> None:
    """In partial as well; but a row may bring the country that makes a number valid."""
    with make_dag(), pytest.raises(ValueError, match=told) as caught:
        FormantCreateCallOperator.partial(
            task_id="call", **{"agent_id": 456, "parameters": PARAMETERS, **fields}
        )
    assert "4155550100" not in str(caught.value)


def test_a_row_may_bring_the_country_of_the_number() -> None:
    """A national number in partial is judged when the row is known, wherever its country comes from."""
    national: dict[str, Any] = {"agent_id": 4, "parameters": {"customer_phone": "4155550100"}}
    with make_dag():
        FormantCreateCallOperator.partial(
            task_id="a", default_args={"default_country": "US"}, **national
        ).expand(reference=["a"])
        FormantCreateCallOperator.partial(task_id="b", **national).expand(default_country=["US"])
        FormantCreateCallOperator.partial(task_id="c", **national).expand_kwargs(
            [{"default_country": "US", "reference": "a"}]
        )


class Greeting(FormantCreateCallOperator):
    """Adds a field, as users do."""

    template_fields = (*FormantCreateCallOperator.template_fields, "greeting")

    def __init__(self, *, greeting: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.greeting = greeting


class ByTeam(FormantCreateCallOperator):
    """Takes an argument for something else, and fills fields in when it runs."""

    def __init__(self, *, agent_id: str, **kwargs: Any) -> None:
        super().__init__(agent_id={"sales": 456}[agent_id], parameters={"customer_phone": ""}, **kwargs)


def test_a_subclass_may_add_fields_and_fill_them_in_later() -> None:
    """Plain and mapped; its fields are checked when the task runs."""
    assert Greeting(task_id="g", agent_id=4, parameters=PARAMETERS, greeting="x").greeting == "x"
    assert ByTeam(task_id="t", agent_id="sales").agent_id == 456
    with make_dag():
        Greeting.partial(task_id="g", agent_id=4, greeting="x").expand(parameters=[PARAMETERS])
        ByTeam.partial(task_id="t", agent_id="sales").expand(reference=["a"])


def test_a_task_that_changes_its_connection_uses_the_other_one() -> None:
    """A subclass that fails over to another connection never keeps the hook of the first."""
    task = FormantCreateCallOperator(task_id="c", agent_id=4, parameters=PARAMETERS, formant_conn_id="a")
    first = task.hook
    assert task.hook is first
    task.formant_conn_id = "b"
    assert task.hook.formant_conn_id == "b"


def test_a_blank_region_is_the_connection_s() -> None:
    """As a variable of the environment that is not set gives it."""
    FormantCreateCallOperator(task_id="c", agent_id=4, parameters=PARAMETERS, region="")


@pytest.mark.parametrize(("fields", "told"), INVALID[:4])
def test_an_invalid_literal_of_a_batch_call_breaks_the_dag_file(fields: dict[str, Any], told: str) -> None:
    """Plain and in partial; what is known later is checked when the task runs."""
    given = {"task_id": "batch_call", "agent_id": 456, "name": "March", "contacts": ROWS}
    with pytest.raises(ValueError, match=told):
        FormantCreateBatchCallOperator(**{**given, **fields})
    with make_dag(), pytest.raises(ValueError, match=told):
        FormantCreateBatchCallOperator.partial(**{**given, **fields})
    for later in KNOWN_LATER[:4]:
        assert FormantCreateBatchCallOperator(**{**given, **later})


@pytest.mark.parametrize("fields", KNOWN_LATER)
def test_what_is_known_when_the_task_runs_is_checked_then(fields: dict[str, Any]) -> None:
    """A template in any delimiters, a function, the output of a task, a moment, national writing."""
    fields = {"agent_id": 456, "parameters": PARAMETERS, **fields}
    with make_dag():
        FormantCreateCallOperator(task_id="call", **fields)
        before = FormantCreateCallOperator(task_id="before", agent_id=456, parameters=PARAMETERS)
        FormantCreateCallOperator(task_id="after", agent_id=before.output["x"], parameters=before.output)
        rows = FormantCreateCallOperator.partial(task_id="each", agent_id=456)
        rows.expand(parameters=before.output)


def test_parsing_a_call_loads_nothing_heavy() -> None:
    """Neither import nor a call in a file loads phone numbers, HTTP, the client or the sandbox."""
    code = (
        # Airflow 3.1 loads phonenumbers itself.
        "import sys, airflow.sdk, airflow.triggers.base; before = set(sys.modules);"
        "from formant_provider.operators.call import FormantCreateCallOperator as Call;"
        "from formant_provider.operators.transcription import FormantTranscribeOperator as Transcribe;"
        f"Call(task_id='call', agent_id=456, parameters={PARAMETERS!r});"
        "Transcribe(task_id='transcribe', audio='/a.wav', output_uri='/a.json');"
        "print([m for m in set(sys.modules) - before if m.split('.')[0] in"
        " {'requests', 'phonenumbers', 'urllib3'}"
        " or m.startswith('formant_provider.sandbox') or m == 'formant_provider.api.client'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"


def test_importing_the_operator_loads_no_rules() -> None:
    """Calling hours, numbers and the checks of literals are loaded for what uses them, not by the import."""
    code = (
        "import sys, formant_provider.operators.call;"
        "print([m for m in sys.modules if m.startswith('formant_provider.core')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip().splitlines()[-1] == "[]"
