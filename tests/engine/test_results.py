"""What comes of each row reaches the next task, by the row's own name, in the real Airflow engine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import run_dag_source

pytestmark = pytest.mark.engine

HEAD = """
from datetime import timedelta
from airflow.sdk import DAG, task
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sensors.conversation import FormantConversationSensor
from formant_provider.calling_window import CallingWindow
"""

READ = """
with DAG("read", schedule=None):
    call = FormantCreateCallOperator(
        task_id="call", agent_id=456, parameters={"customer_phone": "+14155550100"}
    )
    each = FormantCreateCallOperator.partial(task_id="each", agent_id=789).expand(
        parameters=[{"customer_phone": "+14155550120"}, {"customer_phone": "+14155550121"}]
    )

    @task
    def read(conversation, trace, status, conversations):
        return [conversation, bool(trace), status, list(conversations)]

    output = call.output
    read(output["conversation_id"], output["trace_id"], output["status"], each.output["conversation_id"])
"""


def test_what_is_pushed_can_be_read_by_its_key(sandbox: Sandbox, env: dict[str, str], tmp_path: Path) -> None:
    """call.output["conversation_id"] is falsy and readable when the API gave none, plain and mapped."""
    result = run_dag_source(HEAD + READ, tmp_path, "read", env=env)
    assert result.state == "success", result.log_text[-3000:]
    assert result["read"].xcoms["return_value"] == ["", True, "initiated", ["", ""]]
    assert result["call"].xcoms["return_value"]["conversation_id"] is None
    assert sandbox.rings.total() == 3


UNCONFIRMED = """
with DAG("unconfirmed", schedule=None):
    call = FormantCreateCallOperator(
        task_id="call", agent_id=456, parameters={"customer_phone": "+14155550100"}, lookup_timeout=0
    )

    @task
    def read(trace, status):
        return [trace, status]

    read(call.output["trace_id"], call.output["status"])
"""


def test_ids_of_an_unconfirmed_call_can_be_read(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """No id at all is known, and the next task is not failed by it."""
    sandbox.inject("POST /v1/call", "drop_after")
    result = run_dag_source(HEAD + UNCONFIRMED, tmp_path, "unconfirmed", env=env)
    assert result.state == "success", result.log_text[-3000:]
    assert result["read"].xcoms["return_value"] == ["", ""]
    assert sandbox.rings == {"+14155550100": 1}


ROWS = """
from datetime import datetime, UTC

NOT_TODAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(datetime.now(UTC).weekday() + 3) % 7]
CLOSED = {"calling_window": CallingWindow(days=[NOT_TODAY], timezone="UTC"), "on_closed": "skip"}

with DAG("rows", schedule=None):
    calls = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand_kwargs([
        {"parameters": {"customer_phone": "+14155550120"}, "reference": "LN-1"},
        {"parameters": {"customer_phone": "+1415"}, "reference": "LN-2"},
        {"parameters": {"customer_phone": "+14155550121"}, "reference": "LN-3", **CLOSED},
        {"parameters": {"customer_phone": "+14155550122"}, "reference": "+14155550199"},
        {"parameters": {"customer_phone": "+14155550123"}, "reference": 5},
    ])

    @task(trigger_rule="all_done")
    def collect(results, statuses):
        return [list(results), list(statuses)]

    collect(calls.output, calls.output["status"])
"""


def test_each_row_has_one_result_in_its_place(sandbox: Sandbox, env: dict[str, str], tmp_path: Path) -> None:
    """A refused row and one that is skipped leave results too, so none stands in the place of another."""
    result = run_dag_source(HEAD + ROWS, tmp_path, "rows", env=env)
    assert [result["call", index].state for index in range(5)] == [
        "success", "failed", "skipped", "failed", "success",
    ]  # fmt: skip
    rows, statuses = result["collect"].xcoms["return_value"]
    assert [row["map_index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["reference"] for row in rows] == ["LN-1", "LN-2", "LN-3", None, 5]
    assert [row["status"] for row in rows] == statuses
    assert statuses == ["initiated", "refused", "skipped", "refused", "initiated"]
    reasons = [row["reason"] for row in rows]
    assert reasons == [None, "invalid_input", "closed", "invalid_input", None]
    assert [row["trace_id"] for row in rows[1:4]] == [None] * 3
    assert "14155550199" not in str(result["call", 3].xcoms)
    assert sandbox.rings == {"+14155550120": 1, "+14155550123": 1}


DECORATED = """
from airflow.providers.common.compat.sdk import AirflowSkipException

with DAG("decorated", schedule=None):
    @task.formant_call(agent_id=456)
    def remind(loan):
        if loan["paid"]:
            raise AirflowSkipException("paid meanwhile")
        return {"parameters": {"customer_phone": loan["phone"]}, "reference": loan["id"]}

    @task(trigger_rule="all_done")
    def collect(results):
        return [[row["map_index"], row["reference"], row["status"], row["reason"]] for row in results]

    collect(remind.expand(loan=[
        {"phone": "+14155550120", "id": "LN-1", "paid": False},
        {"phone": "+14155550121", "id": "LN-2", "paid": True},
        {"phone": "+1", "id": "LN-3", "paid": False},
        {"phone": "+14155550122", "id": "LN-4", "paid": False},
    ]))
"""


def test_rows_of_a_function_have_results_too(sandbox: Sandbox, env: dict[str, str], tmp_path: Path) -> None:
    """What the function returns as reference comes back; a row for which it skips has its place."""
    result = run_dag_source(HEAD + DECORATED, tmp_path, "decorated", env=env)
    assert result["collect"].xcoms["return_value"] == [
        [0, "LN-1", "initiated", None],
        [1, None, "skipped", "by_function"],
        [2, "LN-3", "refused", "invalid_input"],
        [3, "LN-4", "initiated", None],
    ]
    assert sandbox.rings == {"+14155550120": 1, "+14155550122": 1}


BATCH_CALLS = """
with DAG("batch_call_rows", schedule=None):
    calls = FormantCreateBatchCallOperator.partial(
        task_id="call", agent_id=456, suppress=["+14155550121"], invalid_rows="reject", on_empty="skip"
    ).expand_kwargs([
        {"name": "A", "reference": "north", "contacts": [{"customer_phone": "+14155550120"}]},
        {"name": "B", "reference": "east", "contacts": [{"customer_phone": "+14155550121"}]},
        {"name": " ", "reference": "south", "contacts": [{"customer_phone": "+14155550124"}]},
        {"name": "D", "reference": "west", "contacts": [{"customer_phone": "+14155550122"}]},
    ])

    @task(trigger_rule="all_done")
    def collect(results, ids):
        return [
            [row["map_index"], row["reference"], row["status"], row["reason"], bool(batch_id)]
            for row, batch_id in zip(results, ids, strict=True)
        ]

    collect(calls.output, calls.output["batch_id"])
"""


def test_rows_of_batch_calls_have_results_too(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch call in which nobody is left and one without a name have their places."""
    sleep = time.sleep
    # The looks for what others may have placed.
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.02)))
    result = run_dag_source(HEAD + BATCH_CALLS, tmp_path, "batch_call_rows", env=env)
    assert result["collect"].xcoms["return_value"] == [
        [0, "north", None, None, True],
        [1, "east", "skipped", "nobody_left", False],
        [2, "south", "refused", "invalid_input", False],
        [3, "west", None, None, True],
    ]
    assert sandbox.rings == {"+14155550120": 1, "+14155550122": 1}


WAITS = """
with DAG("waits", schedule=None):
    waits = FormantConversationSensor.partial(
        task_id="wait", agent_id=456, poke_interval=0.1, timeout=1.5, mode="MODE", soft_fail=SOFT
    ).expand_kwargs([{"trace_id": "TRACE_0", "reference": 1}, {"trace_id": "none", "reference": 2}])

    @task(trigger_rule="all_done")
    def collect(results, statuses):
        rows = [[row["map_index"], row["reference"], row["status"], row["reason"]] for row in results]
        return [rows, list(statuses)]

    collect(waits.output, waits.output["status"])
"""


@pytest.mark.parametrize("soft_fail", [False, True])
def test_waits_that_come_to_nothing_have_results_too(
    soft_fail: bool, env: dict[str, str], sandbox: Sandbox, tmp_path: Path
) -> None:
    """A sensor whose time is up leaves its reference and why, before it fails or is skipped."""
    trace_id = sandbox.place("+14155550120").trace_id
    sandbox.advance(600)
    source = WAITS.replace("TRACE_0", str(trace_id)).replace("MODE", "poke").replace("SOFT", str(soft_fail))
    result = run_dag_source(HEAD + source, tmp_path, "waits", env=env)
    assert result["wait", 1].state == ("skipped" if soft_fail else "failed")
    rows, statuses = result["collect"].xcoms["return_value"]
    assert rows == [[0, 1, "completed", None], [1, 2, None, "timeout"]]
    assert statuses == ["completed", ""]
