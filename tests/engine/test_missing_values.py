"""A field that is given and has no value when the task runs is refused, in the real Airflow engine."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import DagResult, run_dag_source

pytestmark = pytest.mark.engine

NUMBERS = count()
HEAD = """
from airflow.sdk import DAG, task, task_group
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sensors.conversation import FormantConversationSensor

PEOPLE = [{"customer_phone": "+14155550120"}]

with DAG("DAG_ID", schedule=None, render_template_as_native_obj=NATIVE):
    @task
    def nothing():
        return None

"""


def run(body: str, folder: Path, env: dict[str, str], *, native: bool = False) -> DagResult:
    indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
    # Airflow 3.1 remembers a DAG by its id, whatever its file holds by now.
    dag_id = f"missing_{next(NUMBERS)}"
    source = HEAD.replace("NATIVE", str(native)).replace("DAG_ID", dag_id) + indented
    return run_dag_source(source, folder, dag_id, env=env)


FIELDS = (
    "scheduled_for",
    "idempotency_key",
    "conversation_id",
    "metadata",
    "retry_context",
    "region",
    "reference",
)
PLAIN = 'FormantCreateCallOperator(task_id="call", agent_id=456, parameters=PEOPLE[0], {given})'
IN_A_ROW = """
FormantCreateCallOperator.partial(task_id="call", agent_id=456).{given}
"""


def assert_refused(result: DagResult, field: str, sandbox: Sandbox, map_index: int = -1) -> None:
    task = result["call", map_index]
    assert (task.state, task.try_number) == ("failed", 1), result.log_text[-3000:]
    assert f"{field}: is given, and what gives it came to None" in result.log_text
    assert task.xcoms["return_value"]["reason"] == "invalid_input"
    assert sandbox.requests == []


@pytest.mark.parametrize("field", FIELDS)
def test_an_xcom_that_is_none_is_no_wish_for_the_default(
    field: str, sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """Not "now", not "no name", not "the connection's region": nobody is called, and the field is named."""
    result = run(PLAIN.format(given=f"{field}=nothing(), retries=2"), tmp_path, env)
    assert_refused(result, field, sandbox)


@pytest.mark.parametrize(
    "value", ["\"{{ ti.xcom_pull(task_ids='nothing') }}\"", "lambda context, jinja_env: None"]
)
def test_a_template_or_function_without_a_value_is_refused(
    value: str, sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """With native rendering the value is None itself."""
    result = run(PLAIN.format(given=f"scheduled_for={value}"), tmp_path, env, native=True)
    assert_refused(result, "scheduled_for", sandbox)


def test_text_that_says_none_is_refused_as_metadata(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """Nobody would see the word before the call was placed."""
    result = run(PLAIN.format(given="metadata=\"{{ ti.xcom_pull(task_ids='nothing') }}\""), tmp_path, env)
    assert_refused(result, "metadata", sandbox)


@pytest.mark.parametrize("field", ["scheduled_for", "idempotency_key"])
@pytest.mark.parametrize("way", ["partial", "expand", "expand_kwargs", "group"])
def test_a_row_without_a_value_is_refused(
    way: str, field: str, sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """The same for the rows of a mapped task, however the value comes into them."""
    partial = 'FormantCreateCallOperator.partial(task_id="call", agent_id=456)'
    bodies = {
        "partial": f'FormantCreateCallOperator.partial(task_id="call", agent_id=456, {field}=nothing())'
        ".expand(parameters=PEOPLE)",
        "expand": f"""
@task
def rows():
    return [None]

FormantCreateCallOperator.partial(
    task_id="call", agent_id=456, parameters=PEOPLE[0]
).expand({field}=rows())
""",
        "expand_kwargs": f"""
@task
def rows():
    return [{{"parameters": PEOPLE[0], "{field}": None}}]

{partial}.expand_kwargs(rows())
""",
        "group": f"""
@task
def rows():
    return [None]

@task_group(prefix_group_id=False)
def each(value):
    FormantCreateCallOperator(task_id="call", agent_id=456, parameters=PEOPLE[0], {field}=value)

each.expand(value=rows())
""",
    }
    assert_refused(run(bodies[way], tmp_path, env), field, sandbox, 0)


NONE_IN_THE_FILE = """
FormantCreateCallOperator(
    task_id="call", agent_id=456, parameters=PEOPLE[0], scheduled_for=None, idempotency_key=None
)
FormantCreateCallOperator.partial(
    task_id="fixed", agent_id=457, scheduled_for=None, formant_conn_id="formant_default"
).expand(parameters=PEOPLE)
FormantCreateCallOperator.partial(task_id="each", agent_id=458, parameters=PEOPLE[0]).expand(
    scheduled_for=[None]
)
FormantCreateCallOperator.partial(task_id="rows", agent_id=459).expand_kwargs(
    [{"parameters": PEOPLE[0], "scheduled_for": None}]
)
"""


def test_none_in_the_dag_file_is_the_default(tmp_path: Path) -> None:
    """Who writes None into the file, plain or in a list, means it."""
    with Sandbox(agents=dict.fromkeys(range(456, 460), "global"), rate_limit=None) as sandbox:
        result = run(NONE_IN_THE_FILE, tmp_path, {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()})
        assert result.state == "success", result.log_text[-3000:]
        assert sandbox.rings == {"+14155550120": 4}


def test_a_function_says_now_by_leaving_the_field_out(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """A None that it returns may be handed through from an XCom, so it is refused."""
    body = """
@task.formant_call(agent_id=456)
def call(when):
    return {"parameters": PEOPLE[0], "scheduled_for": when}

call(nothing())
"""
    assert_refused(run(body, tmp_path, env), "scheduled_for", sandbox)


def test_a_batch_call_without_the_name_it_was_given_is_not_placed(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """Without its name it would be another batch call, and ring everybody again."""
    body = (
        'FormantCreateBatchCallOperator(task_id="call", agent_id=456, name="A", contacts=PEOPLE,'
        " idempotency_key=nothing())"
    )
    assert_refused(run(body, tmp_path, env), "idempotency_key", sandbox)


def test_a_wait_without_the_id_it_was_given_waits_for_nothing_else(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """Without the trace id any conversation of the agent might be taken for the one that is meant."""
    body = 'FormantConversationSensor(task_id="call", agent_id=456, trace_id=nothing())'
    assert_refused(run(body, tmp_path, env), "trace_id", sandbox)
