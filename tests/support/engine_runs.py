"""Runs of the engine of which ``dag.test()`` knows nothing: of a schedule, and cleared ones.

``dag.test()`` makes each run anew, as one that somebody starts. Here it is handed the run that it is to work
on: with the times of a schedule, or the one of before with some of its tasks cleared by Airflow's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models import dagrun
from airflow.models.dagrun import DagRun
from sqlalchemy import delete, select

try:
    from airflow.models.task_state_store import TaskStateStoreModel
except ImportError:  # before Airflow 3.3
    TaskStateStoreModel = None

# No run is of this date, so that dag.test() finds nothing to delete.
NO_RUN = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cleared:
    """A run that goes on with these tasks cleared.

    :param forgets: whether their task state is deleted, as Airflow 3.4 does when tasks are cleared in its UI.
    :param counts: whether Airflow counts the clear, which it does not with ``reset_dag_runs=false``. Such a
        one comes a minute after the run began.
    """

    run_id: str
    task_ids: Collection[str]
    forgets: bool = True
    counts: bool = True


@contextmanager
def working_on(run: Cleared | datetime | None) -> Iterator[None]:
    """Hand ``dag.test()`` another run within the block.

    :param run: the cleared one; or when the data interval of a scheduled one has ended; ``None``: its own.
    """
    original = dagrun.get_or_create_dagrun
    if isinstance(run, Cleared):
        dagrun.get_or_create_dagrun = lambda *, dag, session, **_: _clear(run, dag, session)
    elif run is not None:
        dagrun.get_or_create_dagrun = _scheduled(original, run)
    try:
        yield
    finally:
        dagrun.get_or_create_dagrun = original


def _scheduled(original: Callable[..., Any], due: datetime) -> Callable[..., Any]:
    def made(**kwargs: Any) -> Any:
        run = original(**kwargs)
        run.run_type, run.run_after, run.start_date = "scheduled", due, due
        run.data_interval_start, run.data_interval_end = due - timedelta(days=1), due
        kwargs["session"].commit()
        return run

    return made


def _clear(cleared: Cleared, dag: Any, session: Any) -> Any:
    options = {} if cleared.counts else {"dag_run_state": False}
    dag.clear(run_id=cleared.run_id, task_ids=cleared.task_ids, session=session, **options)
    if TaskStateStoreModel is not None and cleared.forgets:
        of_them = TaskStateStoreModel.task_id.in_(cleared.task_ids)
        of_run = TaskStateStoreModel.run_id == cleared.run_id
        session.execute(delete(TaskStateStoreModel).where(of_run, of_them))
    run = session.scalars(
        select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == cleared.run_id)
    ).one()
    began = run.start_date
    run.dag, run.state = dag, "running"
    if not cleared.counts:
        run.start_date = began - timedelta(minutes=1)
    session.commit()
    return run
