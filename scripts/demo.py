"""Runs two example DAGs in a real Airflow against the sandbox, and shows what came of them.

`formant_read_ids` places five calls and hands their ids on. `formant_campaign` calls everybody in a table,
waits for the end, and writes who was reached. Needs no key, no running Airflow and no network. Leaves nothing
behind.
"""

from __future__ import annotations

import csv
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Virtual seconds a second: calls are over at once.
FAST = 500_000
REPORT_TASK_ID = "list_calls"
COLUMNS = ("call", "status", "scheduled_for", "trace_id", "conversation_id")
REPORT_COLUMNS = (
    "row_number", "customer_phone", "reference", "status", "reason", "duration_seconds", "results",
)  # fmt: skip
REJECT_COLUMNS = ("row_number", "reason", "detail")


def prepare_airflow(home: str) -> None:
    """Point Airflow at a home of its own. Must come before anything imports Airflow."""
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }


def run_dag(dag_id: str, connection_uri: str, **conf: str) -> Any:
    """Run a DAG once; return its run."""
    from airflow.dag_processing.dagbag import DagBag

    os.environ["AIRFLOW_CONN_FORMANT_DEFAULT"] = connection_uri
    dag = DagBag(str(ROOT / "dags_examples" / f"{dag_id}.py")).dags[dag_id]
    return dag.test(run_conf=conf)


def returned(dag_run: Any, task_id: str) -> Any:
    """Return what a task of the run returned."""
    task = dag_run.get_task_instance(task_id)
    return task.xcom_pull(task_ids=task_id) if task else None


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Write rows in columns, a dash where there is no value."""
    cells = [[str(row.get(column) or "-") for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [columns, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none of one that is not there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def show_calls(run: Any, rings: Mapping[str, int]) -> bool:
    """Print what came of the calls; return whether all is as it should be."""
    rows = returned(run, REPORT_TASK_ID) or []
    print(f"\n1. Five calls. What the task {REPORT_TASK_ID} read from XCom (DAG run: {run.state}):\n")
    print(table(rows, COLUMNS))
    print("\nA call that has only been accepted has no conversation_id yet; its trace_id is what to keep.")
    print(f"\nPhones rung, by the sandbox's own count: {len(rings)} phones, {sum(rings.values())} rings.")
    return run.state == "success" and list(rings.values()) == [1] * 5


def show_campaign(run: Any, rings: Mapping[str, int], folder: Path) -> bool:
    """Print what came of the campaign; return whether all is as it should be."""
    print(f"\n2. A campaign. The report, a row for each of the contacts (DAG run: {run.state}):\n")
    print(table(read(folder / "results.csv"), REPORT_COLUMNS))
    print("\nWho was left out, and why:\n")
    print(table(read(folder / "rejects.csv"), REJECT_COLUMNS))
    print(f"\nPhones rung, by the sandbox's own count: {len(rings)} phones, {sum(rings.values())} rings.")
    return run.state == "success" and list(rings.values()) == [1] * 3


def main() -> int:
    """Run the demo; the exit code is 0 when every phone rang that should, each of them once."""
    from formant_provider.sandbox import Sandbox

    print("Running two DAGs in Airflow, against the sandbox on this machine ...", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="formant-demo-") as home,
        Sandbox() as sandbox,
        Sandbox(speed=FAST) as fast,
    ):
        prepare_airflow(home)
        log_file, folder = Path(home, "demo.log"), Path(home, "campaign")
        with log_file.open("w") as log, redirect_stdout(log):
            from airflow.utils.db import initdb

            initdb()
            calls = run_dag("formant_read_ids", sandbox.connection_uri())
            campaign = run_dag("formant_campaign", fast.connection_uri(), folder=str(folder))
            logging.shutdown()
        good = show_calls(calls, sandbox.rings)
        good &= show_campaign(campaign, fast.rings, folder)
        if not good:
            print(log_file.read_text()[-5000:], file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
