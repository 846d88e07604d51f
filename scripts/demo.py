"""Runs the example DAG `formant_read_ids` in a real Airflow against the sandbox, and shows what came of it.

Needs no key, no running Airflow and no network. Leaves nothing behind.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DAG_ID = "formant_read_ids"
REPORT_TASK_ID = "list_calls"
COLUMNS = ("call", "status", "scheduled_for", "trace_id", "conversation_id")


def prepare_airflow(home: str, connection_uri: str) -> None:
    """Point Airflow at a home of its own. Must come before anything imports Airflow."""
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW_CONN_FORMANT_DEFAULT": connection_uri,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }


def run_dag() -> tuple[str, list[dict[str, Any]]]:
    """Run the DAG once; return the run's state and the rows its last task made of the XComs it read."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    dag = DagBag(str(ROOT / "dags_examples" / f"{DAG_ID}.py")).dags[DAG_ID]
    dag_run = dag.test()
    report = dag_run.get_task_instance(REPORT_TASK_ID)
    return str(dag_run.state), (report.xcom_pull(task_ids=REPORT_TASK_ID) if report else None) or []


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows in columns, a dash where there is no value."""
    cells = [[str(row.get(column) or "-") for column in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *cells, strict=True)]
    lines = [COLUMNS, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)  # fmt: skip


def main() -> int:
    """Run the demo; the exit code is 0 when five phones rang, each of them once."""
    from formant_provider.sandbox import Sandbox

    print("Running the DAG formant_read_ids in Airflow, against the sandbox on this machine ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="formant-demo-") as home, Sandbox() as sandbox:
        prepare_airflow(home, sandbox.connection_uri())
        log_file = Path(home, "demo.log")
        with log_file.open("w") as log, redirect_stdout(log):
            state, rows = run_dag()
            logging.shutdown()
        rings = sandbox.rings
        if state != "success":
            print(log_file.read_text()[-5000:], file=sys.stderr)
    print(f"\nWhat the task {REPORT_TASK_ID} read from XCom (DAG run: {state}):\n\n{table(rows)}\n")
    print(f"Phones rung, by the sandbox's own count: {len(rings)}, {sum(rings.values())} rings in all.")
    print("A call that has only been accepted has no conversation_id yet; its trace_id is what to keep.")
    return 0 if state == "success" and list(rings.values()) == [1] * 5 else 1


if __name__ == "__main__":
    raise SystemExit(main())
