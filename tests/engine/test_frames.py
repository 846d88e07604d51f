"""A list that one task makes and another calls, in the real Airflow engine."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import DagResult, run_dag_source

pytestmark = pytest.mark.engine

COUNT = count()
NUMBERS = ("+14155550120", "+14155550121", "+14155550122")
HEAD = """
from pathlib import Path
from airflow.sdk import DAG, ObjectStoragePath, task
from formant_provider.operators.batch import FormantCreateBatchCallOperator

NUMBERS = {numbers}
FOLDER = {folder!r}

with DAG("{dag_id}", schedule=None):
    @task
    def people():
{body}

    @task
    def listed():
        {listed}

    FormantCreateBatchCallOperator(
        task_id="batch_call", agent_id=456, name="March", contacts=people(), suppress=listed(),
        lookup_timeout=0,
    )
"""


def run(body: str, listed: str, folder: Path, env: dict[str, str]) -> DagResult:
    dag_id = f"frames_{next(COUNT)}"
    indented = "\n".join(f"        {line}" for line in body.strip().splitlines())
    text = HEAD.format(numbers=NUMBERS, folder=str(folder), dag_id=dag_id, body=indented, listed=listed)
    return run_dag_source(text, folder, dag_id, env=env)


PANDAS = """
import pandas
return pandas.DataFrame({"customer_phone": NUMBERS, "name": "Asha-the-private"})
"""
PARTS = """
import csv
(Path(FOLDER) / "out").mkdir()
for place, number in enumerate(NUMBERS):
    (Path(FOLDER) / "out" / f"part-{place}.csv").write_text("customer_phone\\n" + number + "\\n")
return ObjectStoragePath(f"file://{FOLDER}/out")
"""
POLARS = """
import polars
return polars.DataFrame({"customer_phone": NUMBERS})
"""


@pytest.mark.parametrize(
    ("body", "listed"),
    [
        (PANDAS, "return list(NUMBERS[2:])"),
        (PANDAS, "import pandas; return pandas.DataFrame({'number': NUMBERS[2:]})"),
        (PARTS, "return [NUMBERS[2]]"),
        (f"{POLARS.strip()}.to_dicts()", "return [NUMBERS[2]]"),
    ],
    ids=["pandas", "two frames of pandas", "a folder", "rows of polars"],
)
def test_what_a_task_returns_is_called(
    body: str, listed: str, sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """A data frame of pandas and a path go through XCom as they are, and Airflow shows nothing of them."""
    for library in ("pandas", "polars", "pyarrow"):
        pytest.importorskip(library)
    result = run(body, listed, tmp_path, env)
    assert result["batch_call"].state == "success", result.log_text[-3000:]
    assert sandbox.rings == dict.fromkeys(NUMBERS[:2], 1)
    shown = str(result["batch_call"].rendered_fields)
    assert not any(text in shown for text in (*NUMBERS, "Asha"))


def test_a_frame_of_polars_stays_in_its_task(sandbox: Sandbox, env: dict[str, str], tmp_path: Path) -> None:
    """Airflow has no way to hand it on: the task that returns it fails, and nobody is called."""
    pytest.importorskip("polars")
    result = run(POLARS, "return [NUMBERS[2]]", tmp_path, env)
    assert result["people"].state == "failed"
    assert sandbox.requests == []
