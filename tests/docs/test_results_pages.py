"""What the pages promise of results is so, in the real Airflow engine."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from tempfile import gettempdir

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import DagResult, run_dag_source
from support.pages import DOCS, PROSE, TEXT, table

pytestmark = pytest.mark.engine
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def source_of(text: str, dag_id: str) -> str:
    return next(block for block in FENCE.findall(text) if f'DAG("{dag_id}"' in block)


def run(source: str, dag_id: str, folder: Path, *, speed: float) -> tuple[DagResult, Sandbox]:
    with Sandbox(rate_limit=None, speed=speed) as sandbox:
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
        conf = {"phone": "+14155550100", "name": "Asha"}
        return run_dag_source(source, folder, dag_id, env=env, run_conf=conf), sandbox


def test_the_sentence_of_getting_started_on_conversation_ids_is_so(tmp_path: Path) -> None:
    """A call that starts now: call.output["conversation_id"] is read downstream, as blank text."""
    assert 'then `call.output["conversation_id"]` is blank text, and in the receipt it is `None`' in PROSE
    source = source_of((DOCS / "getting-started.md").read_text(), "remind")
    source += (
        "\n    @task\n    def look(conversation_id: str, receipt: dict) -> list:\n"
        '        return [conversation_id, receipt["conversation_id"]]\n\n'
        '    look(call.output["conversation_id"], call.output)\n'
    )
    result, sandbox = run(source, "remind", tmp_path, speed=1)
    assert result["look"].xcoms["return_value"] == ["", None]
    assert sandbox.rings == {"+14155550100": 1}


def test_results_go_back_to_the_rows_as_the_recipe_shows(tmp_path: Path) -> None:
    """The recipe ends in the table that is on its page, the refused row in its place."""
    result, sandbox = run(source_of(TEXT, "results_to_rows"), "results_to_rows", tmp_path, speed=500_000)
    assert result.state == "success", result.log_text[-3000:]
    with closing(sqlite3.connect(Path(gettempdir()) / "formant_outcomes.db")) as database:
        rows = database.execute("SELECT * FROM outcomes ORDER BY loan_id").fetchall()
    shown = table("loan_id", "status")
    assert [["" if cell is None else str(cell) for cell in row] for row in rows] == shown
    assert sandbox.rings == {"+14155550101": 1, "+14155550128": 1}


def test_who_was_not_reached_is_called_again_in_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run calls both people, the next two only who did not answer, and the fourth nobody."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = source_of(TEXT, "remind_until_reached")
    rings = []
    for _ in range(4):
        result, sandbox = run(source, "remind_until_reached", tmp_path, speed=500_000)
        assert result.state == "success", result.log_text[-3000:]
        rings.append(dict(sandbox.rings))
    assert rings == [{"+14155550101": 1, "+14155550128": 1}, *[{"+14155550101": 1}] * 2, {}]
