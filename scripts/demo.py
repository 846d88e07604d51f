"""Runs example DAGs in a real Airflow against the sandbox, and shows what came of them.

`formant_read_ids` places five calls and passes their ids on. `formant_batch_call` calls everybody in a table,
waits for the end, and reports who was reached. Then the first one runs once more, over a call store that lets
nobody be called more than once a day. `formant_call_list_decorated` calls a list, with two agents. It needs
no API key, no running Airflow and no network, and leaves nothing behind.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from columns import in_columns, ruled

ROOT = Path(__file__).resolve().parent.parent
# Virtual seconds per second: calls end at once.
FAST = 500_000
REPORT_TASK_ID = "list_calls"
COLUMNS = ("call", "status", "scheduled_for", "trace_id", "conversation_id")
REPORT_COLUMNS = (
    "row_number", "customer_phone", "reference", "status", "reason", "duration_seconds", "results",
)  # fmt: skip
PLACED = "\nCalls placed, by the sandbox's own count: {still}{calls}, to {phones} phones."
LIST_COLUMNS = ("row_number", "customer_phone", "reference", "agent_id", "status", "attempts", "intent")
REJECT_COLUMNS = ("row_number", "reason", "detail")
CAPPED_COLUMNS = ("call", "status", "reason")
HISTORY_COLUMNS = ("task_id", "run", "state", "trace_id")
ONE_PERSON = "+14155550130"


def prepare_airflow(home: str) -> None:
    """Give Airflow a home of its own. Must be called before anything imports Airflow."""
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags_examples"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }


def run_dag(dag_id: str, connection_uri: str, **conf: str) -> Any:
    """Run a DAG once and return the run."""
    from airflow.dag_processing.dagbag import DagBag

    os.environ["AIRFLOW_CONN_FORMANT_DEFAULT"] = connection_uri
    dag = DagBag(str(ROOT / "dags_examples" / f"{dag_id}.py")).dags[dag_id]
    return dag.test(run_conf=conf)


def returned(dag_run: Any, task_id: str) -> Any:
    """Return what a task of the run returned."""
    task = dag_run.get_task_instance(task_id)
    return task.xcom_pull(task_ids=task_id) if task else None


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Format rows in columns, with a dash where there is no value."""
    cells = [[str(row.get(column) or "-") for column in columns] for row in rows]
    return in_columns(ruled([columns, *cells]))


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def show_calls(run: Any, rings: Mapping[str, int]) -> bool:
    """Print the calls; return whether all is as expected."""
    rows = returned(run, REPORT_TASK_ID) or []
    print(f"\n1. Five calls. What the task {REPORT_TASK_ID} read from XCom (DAG run: {run.state}):\n")
    print(table(rows, COLUMNS))
    print("\nA call that was just accepted has no conversation_id yet; store its trace_id.")
    print(PLACED.format(still="", phones=len(rings), calls=sum(rings.values())))
    return run.state == "success" and list(rings.values()) == [1] * 5


def connect_store(connection: str, home: str) -> str:
    """Return the connection with a call store in a SQLite file: one call a day to each person."""
    from formant_provider.store.secrets import new_secret

    os.environ["AIRFLOW_CONN_CALL_STORE"] = json.dumps({"conn_type": "sqlite", "host": f"{home}/store.db"})
    store = {"store_conn_id": "call_store", "store_secret": new_secret(), "store_auto_upgrade": True}
    return json.dumps({**json.loads(connection), "extra": {**store, "call_cap": "1/1d"}})


def show_capped(run: Any, first: Any, rings: Mapping[str, int], store: Any) -> bool:
    """Print what became of the second run, and what the store knows of a person; return if it is right."""
    from formant_provider.store.history import of_people

    tasks = [task for task in run.get_task_instances() if task.task_id != REPORT_TASK_ID]
    tasks.sort(key=lambda task: (task.task_id, task.map_index))
    rows = [_result_of(task) for task in tasks]
    print("\n3. The five calls once more. The call store lets nobody be called more than once a day:\n")
    print(table(rows, CAPPED_COLUMNS))
    print(PLACED.format(still="still ", phones=len(rings), calls=sum(rings.values())))
    runs = {first.run_id: "first", run.run_id: "second"}
    asked = of_people(store, [ONE_PERSON])["asked"]
    known = [{**each, "run": runs[each["run_id"]]} for each in asked]
    print("\nWhat the store knows of one of the five, whose number is not in it:\n")
    print(table(known, HISTORY_COLUMNS))
    return [row["reason"] for row in rows] == ["capped"] * 5 and list(rings.values()) == [1] * 5


def _result_of(task: Any) -> dict[str, Any]:
    result = task.xcom_pull(task_ids=task.task_id, map_indexes=task.map_index)
    row = "" if task.map_index < 0 else f" [{task.map_index}]"
    return {"call": f"{task.task_id}{row}", **(result or {})}


def show_batch_call(run: Any, rings: Mapping[str, int], folder: Path) -> bool:
    """Print the report of the batch call; return whether all is as expected."""
    print(f"\n2. A batch call. The report, one row for each contact (DAG run: {run.state}):\n")
    print(table(read(folder / "results.csv"), REPORT_COLUMNS))
    print("\nRows that were rejected, and why:\n")
    print(table(read(folder / "rejects.csv"), REJECT_COLUMNS))
    print(PLACED.format(still="", phones=len(rings), calls=sum(rings.values())))
    return run.state == "success" and list(rings.values()) == [1] * 3


def show_call_list(run: Any, rings: Mapping[str, int], folder: Path) -> bool:
    """Print the results of the call list; return whether all is as expected."""
    results = folder / "surveys.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    print(f"\n4. A call list. Two agents share the people of a query (DAG run: {run.state}):\n")
    print(table(rows, LIST_COLUMNS))
    agents = (returned(run, "compare") or {}).items()
    print(f"\nReached: {', '.join(f'{reached} by agent {agent_id}' for agent_id, reached in agents)}.")
    print(PLACED.format(still="", phones=len(rings), calls=sum(rings.values())))
    return run.state == "success" and list(rings.values()) == [1] * 3


def main() -> int:
    """Run the demo; the exit code is 0 if every phone that should ring rang exactly once."""
    from formant_provider.sandbox import Sandbox

    print("Running four DAG runs in Airflow, against the sandbox on this machine ...", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="formant-demo-") as home,
        Sandbox() as sandbox,
        Sandbox(speed=FAST) as fast,
        Sandbox(call_speed=FAST) as listed,
    ):
        prepare_airflow(home)
        log_file, folder = Path(home, "demo.log"), Path(home, "batch_call")
        with log_file.open("w") as log, redirect_stdout(log):
            from airflow.utils.db import initdb

            from formant_provider.hooks.formant import FormantHook

            initdb()
            connection = connect_store(sandbox.connection_json(), home)
            calls = run_dag("formant_read_ids", connection)
            batch_call = run_dag("formant_batch_call", fast.connection_uri(), folder=str(folder))
            again = run_dag("formant_read_ids", connection)
            store = FormantHook().get_store()
            call_list = run_dag("formant_call_list_decorated", listed.connection_uri(), folder=str(folder))
            logging.shutdown()
        good = show_calls(calls, sandbox.rings)
        good &= show_batch_call(batch_call, fast.rings, folder)
        good &= show_capped(again, calls, sandbox.rings, store)
        good &= show_call_list(call_list, listed.rings, folder)
        if not good:
            print(log_file.read_text()[-5000:], file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
