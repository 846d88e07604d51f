"""What the pages promise of results is so, in the real Airflow engine."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import gettempdir

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import DagResult, run_dag_source
from support.pages import DOCS, code, table

pytestmark = pytest.mark.engine
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def source_of(page: str, dag_id: str) -> str:
    blocks = FENCE.findall((DOCS / page).read_text())
    return next(block for block in blocks if f'DAG("{dag_id}"' in block)


def run(source: str, dag_id: str, folder: Path, *, speed: float) -> tuple[DagResult, Sandbox]:
    with Sandbox(rate_limit=None, speed=speed) as sandbox:
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
        conf = {"phone": "+14155550100", "name": "Asha"}
        return run_dag_source(source, folder, dag_id, env=env, run_conf=conf), sandbox


def test_the_sentence_of_getting_started_on_conversation_ids_is_so(tmp_path: Path) -> None:
    """A call that starts now: call.output["conversation_id"] is read downstream, as blank text."""
    prose = " ".join((DOCS / "getting-started.md").read_text().split())
    assert 'then `call.output["conversation_id"]` is blank text, and in the receipt it is `None`' in prose
    source = source_of("getting-started.md", "remind")
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
    result, sandbox = run(
        source_of("recipes.md", "results_to_rows"), "results_to_rows", tmp_path, speed=500_000
    )
    assert result.state == "success", result.log_text[-3000:]
    with closing(sqlite3.connect(Path(gettempdir()) / "formant_outcomes.db")) as database:
        rows = database.execute("SELECT * FROM outcomes ORDER BY loan_id").fetchall()
    shown = table("recipes.md", "## Results back to the rows")
    assert [["" if cell is None else str(cell) for cell in row] for row in rows] == shown
    assert sandbox.rings == {"+14155550101": 1, "+14155550128": 1}


def test_every_status_of_a_row_that_was_not_called_is_documented() -> None:
    """The table names each status and the reasons that are there, by the names of the errors."""
    from formant_provider.api import errors
    from formant_provider.tasks.results import in_a_word, not_called

    rows = {code(row[0])[0]: code(row[2]) for row in table("operator.md", "### Results and references")}
    assert list(rows) == ["skipped", "refused", "not_placed", "unconfirmed"]
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.FormantError)
        and kind is not errors.CallNotAllowed
    ]
    words = {"closed", "late", "suppressed", "by_function", "error"}
    of_fields = {errors.InvalidInput, errors.InputNotFound}
    for kind in kinds:
        error = kind("field", "reason") if kind in of_fields else kind("text")
        words.add(in_a_word(error))
        for error.maybe_placed in (False, True):
            assert not_called(error, skipped="skipped")[0] in rows
    assert {word for reasons in rows.values() for word in reasons} <= words
