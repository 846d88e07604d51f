"""The connection as people really make it: on the command line, into Airflow's own database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import run_dag_source

pytestmark = pytest.mark.engine

DAG = """
    from airflow.sdk import DAG
    from formant_provider.operators.call import FormantCreateCallOperator

    with DAG("connected", schedule=None):
        FormantCreateCallOperator(
            task_id="call",
            agent_id=456,
            parameters={"customer_phone": "+14155550100"},
            formant_conn_id="formant_by_hand",
        )
"""


def test_a_connection_added_on_the_command_line_works(sandbox: Sandbox, tmp_path: Path) -> None:
    """`airflow connections add` makes a connection that a task can call with."""
    run_dag_source(DAG, tmp_path, "connected")  # makes the database; there is no connection yet
    assert sandbox.requests == []
    command = [
        *(sys.executable, "-m", "airflow", "connections", "add", "formant_by_hand"),
        *("--conn-type", "formant", "--conn-password", sandbox.api_key, "--conn-host", sandbox.base_url),
        *("--conn-extra", '{"region": "in", "read_timeout": 5}'),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = run_dag_source(DAG, tmp_path, "connected")
    assert result.state == "success", result.log_text
    assert sandbox.rings == {"+14155550100": 1}


def test_a_missing_connection_fails_by_its_name(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without the connection the task fails, says which one is missing, and sends nothing."""
    result = run_dag_source(DAG.replace("formant_by_hand", "not_there"), tmp_path, "connected")
    assert result.state == "failed"
    assert "not_there" in result.log_text
    assert sandbox.requests == []
