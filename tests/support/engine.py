"""Run whole DAGs through Airflow's engine in this process: ``dag.test()`` over a SQLite database.

Connections, XComs, the task state store, mapping, retries, deferral and stored rendered fields are
Airflow's own; the Execution API answers in process. ``use_own_airflow_home()`` must have been called.
Airflow before 3.3 has no task state store.

What ``dag.test()`` does differently from a deployment: a deferred task resumes with ``event`` alone, the
``kwargs`` of ``defer()`` are lost; a trigger runs to its first event, however long its timeout; there is no
``on_kill``; a second run at the same logical date deletes the first one. What is cleared, and what a schedule
starts, comes from :mod:`support.engine_runs`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from inspect import signature
from pathlib import Path
from textwrap import dedent
from typing import Any

from airflow.dag_processing.bundles import manager
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, timezone
from airflow.sdk.execution_time import supervisor
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select

from support.airflow_home import use_own_airflow_home
from support.engine_runs import NO_RUN, Cleared, working_on
from support.isolation import process_left_alone
from support.log_capture import captured_logs

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # Airflow 3.1
    from airflow.models.dagbag import DagBag

try:
    from airflow.sdk.importers import base as importers
except ImportError:  # before Airflow 3.4
    importers = None

try:
    from airflow.models.task_state_store import TaskStateStoreModel
except ImportError:  # before Airflow 3.3
    TaskStateStoreModel = None

if not hasattr(supervisor.in_process_api_server, "cache_info"):
    # Airflow before 3.3 makes its API anew for every task, which takes seconds.
    supervisor.in_process_api_server = cache(supervisor.in_process_api_server)

TaskId = tuple[str, int]


@dataclass(frozen=True)
class TaskResult:
    """One task instance as the database has it after the run."""

    state: str | None
    try_number: int
    xcoms: dict[str, Any]
    rendered_fields: dict[str, Any]
    state_store: dict[str, Any]


@dataclass(frozen=True)
class DagResult:
    """A finished run: ``result["task_id"]``, or ``result["task_id", map_index]`` for a mapped task.

    Iterations of a loop are not told apart: let a task behind the loop collect what is of interest.
    """

    state: str
    run_id: str
    tasks: dict[TaskId, TaskResult]
    log_text: str
    masked_log_text: str

    def __getitem__(self, task: str | TaskId) -> TaskResult:
        return self.tasks[(task, -1) if isinstance(task, str) else task]


def run_dag_file(
    path: Path | str,
    dag_id: str,
    *,
    run_conf: Mapping[str, Any] | None = None,
    logical_date: datetime | None = None,
    env: Mapping[str, str] | None = None,
    on: Cleared | datetime | None = None,
) -> DagResult:
    """Run one DAG of a file to its end. The file's folder serves as dags folder.

    :param logical_date: default: now.
    :param on: another run than one that is started now: see :func:`support.engine_runs.working_on`.
    :param env: environment variables for this run, such as ``AIRFLOW_CONN_FORMANT_DEFAULT``.
    """
    path = Path(path).resolve()
    _init_database()
    with process_left_alone(), captured_logs() as lines:
        os.environ.update(env or {}, AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=_bundle(path.parent))
        _read_configuration_again()
        dag = _load(path, dag_id)
        logical_date = NO_RUN if isinstance(on, Cleared) else logical_date or timezone.utcnow()
        with working_on(on):
            run = dag.test(run_conf=dict(run_conf or {}), logical_date=logical_date)
        return DagResult(
            state=str(run.state),
            run_id=run.run_id,
            tasks=_tasks(dag_id, run.run_id),
            log_text=lines.text,
            masked_log_text=lines.masked_text,
        )


def run_dag_source(source: str, folder: Path, dag_id: str, **options: Any) -> DagResult:
    """Write the source of a DAG file to ``folder`` and run it; options as in :func:`run_dag_file`."""
    path = folder / f"{dag_id}.py"
    path.write_text(dedent(source))
    return run_dag_file(path, dag_id, **options)


@cache
def _init_database() -> None:
    # Raises if Airflow was imported without it: nobody's real database may be meant.
    use_own_airflow_home()
    initdb()


def _read_configuration_again() -> None:
    # Airflow 3.4 reads once which bundles there are, and which importers.
    if hasattr(manager, "_load_bundle_config_snapshot"):
        manager._load_bundle_config_snapshot.cache_clear()
    if importers is not None:
        importers.reset_importer_registry()


def _bundle(folder: Path) -> str:
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return json.dumps([{"name": "dags-folder", "classpath": classpath, "kwargs": {"path": str(folder)}}])


def _load(path: Path, dag_id: str) -> DAG:
    named = {"bundle_name": "dags-folder"} if "bundle_name" in signature(DagBag).parameters else {}
    bag = DagBag(path, bundle_path=path.parent, **named)
    if bag.import_errors:
        raise ImportError("\n".join(bag.import_errors.values()))
    dag = bag.dags[dag_id]
    for task in dag.tasks:
        _retry_at_once(task)
    return dag


def _retry_at_once(task: Any) -> None:
    # dag.test() sleeps until the delay is over, five minutes by default.
    if task.is_mapped:
        task.partial_kwargs["retry_delay"] = timedelta(0)
    else:
        task.retry_delay = timedelta(0)


def _tasks(dag_id: str, run_id: str) -> dict[TaskId, TaskResult]:
    xcoms = _by_task(XComModel, dag_id, run_id)
    stored = _by_task(TaskStateStoreModel, dag_id, run_id) if TaskStateStoreModel else {}
    return {
        (ti.task_id, ti.map_index): TaskResult(
            state=ti.state and str(ti.state),
            try_number=ti.try_number,
            xcoms={row.key: XComModel.deserialize_value(row) for row in xcoms.get(key, [])},
            rendered_fields=RenderedTaskInstanceFields.get_templated_fields(ti) or {},
            state_store={row.key: json.loads(row.value) for row in stored.get(key, [])},
        )
        for key, [ti, *_] in _by_task(TaskInstance, dag_id, run_id).items()
    }


def _by_task(model: Any, dag_id: str, run_id: str) -> dict[TaskId, list[Any]]:
    grouped: dict[TaskId, list[Any]] = {}
    for row in _rows(model, dag_id, run_id):
        grouped.setdefault((row.task_id, _map_index(row)), []).append(row)
    return grouped


def _map_index(row: Any) -> int:
    # The state store has another name for it since Airflow 3.4.
    return int(row.map_index if hasattr(row, "map_index") else row.region_index)


def _rows(model: Any, dag_id: str, run_id: str) -> Iterator[Any]:
    with create_session() as session:
        rows = session.scalars(select(model).where(model.dag_id == dag_id, model.run_id == run_id)).all()
        session.expunge_all()
    yield from rows
