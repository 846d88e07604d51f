"""The hook in functions of a DAG: the DAGs of its page, in the real Airflow engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from engine.conftest import KEY

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL, LIST
from support.engine import DagResult, run_dag_source

pytestmark = pytest.mark.engine

PAGE = (Path(__file__).parents[2] / "docs" / "hook.md").read_text()


def run_shown(dag_id: str, sandbox: Sandbox, folder: Path) -> DagResult:
    """Run the DAG of the page that has this name."""
    (source,) = (
        text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if f"def {dag_id}(" in text
    )
    env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
    return run_dag_source(source, folder, dag_id, env=env)


def test_a_function_reads_conversations(tmp_path: Path) -> None:
    """It iterates over all pages of the list, and what it returns is in XCom."""
    with Sandbox(api_key=KEY, rate_limit=None, speed=0) as sandbox:
        placed = [sandbox.place("+14155550100") for _ in range(101)]
        sandbox.place("+14155550101")
        sandbox.advance(1000)
        result = run_shown("read_conversations", sandbox, tmp_path)
        pages = sum(request.endpoint == LIST for request in sandbox.requests)
    assert result.state == "success", result.log_text
    assert set(result["promises"].xcoms["return_value"]) == {call.conversation_id for call in placed}
    assert pages == 2


def test_a_function_that_is_retried_calls_once(tmp_path: Path) -> None:
    """The key of the page is the same in each try: after lost answers one phone has rung, and once."""
    with Sandbox(api_key=KEY, rate_limit=None) as sandbox:
        sandbox.inject(CALL, Fault.ERROR_503_AFTER)
        sandbox.inject(CALL, Fault.ERROR_503_BEFORE, times=3)
        result = run_shown("call_with_the_hook", sandbox, tmp_path)
        keys = {request.body["idempotency_key"] for request in sandbox.requests}
        assert sandbox.rings == {"+14155550100": 1}
    assert (result.state, result["remind"].try_number) == ("success", 2), result.log_text
    assert keys == {f"LN-12345/{result.run_id}"}
