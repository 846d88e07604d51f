"""Events as the DAG processor tells of them, which knows less than a worker: through its own functions."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext, TaskCallbackRequest
from airflow.dag_processing import processor
from airflow.sdk import DAG, BaseOperator

from formant_provider.notifications.event import Event, event_of
from support.supervisor import TaskKey
from support.task_run import Attempt, _dag_run, make_dag

RUN = _dag_run(TaskKey("nightly", "r1", "load", -1), Attempt()).model_dump(mode="json")


class Noted:
    """A callback that notes which event it was called for."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, context: Any) -> None:
        self.events.append(event_of(context, self))


def a_dag(**callbacks: Any) -> DAG:
    with make_dag("nightly") as dag:
        BaseOperator(task_id="load", **callbacks)
    return dag


def ti_of(try_number: int) -> dict[str, Any]:
    ids = {"id": uuid.uuid4(), "dag_version_id": uuid.uuid4(), "map_index": -1, "hostname": "h"}
    return {**ids, "dag_id": "nightly", "run_id": "r1", "task_id": "load", "try_number": try_number}


def tell_of_dead_task(dag: DAG, kind: str | None, try_number: int) -> None:
    """Call back as the DAG processor does after a worker died."""
    server = {"dag_run": RUN, "max_tries": 2, "variables": [], "connections": [], "xcom_keys_to_clear": []}
    request = TaskCallbackRequest(
        filepath="nightly.py",
        bundle_name="dags",
        bundle_version=None,
        ti=ti_of(try_number),
        task_callback_type=kind,
        context_from_server=server,
    )
    bag: Any = SimpleNamespace(dags={dag.dag_id: dag})
    processor._execute_task_callbacks(bag, request, structlog.get_logger())


@pytest.mark.parametrize(
    ("kind", "try_number", "told"),
    [("up_for_retry", 1, "retry"), ("up_for_retry", 2, "retry"), ("failed", 3, "failed")],
)
def test_a_task_whose_worker_died(kind: str, try_number: int, told: str) -> None:
    """The DAG processor tells of the same events as the worker would have, by the same names."""
    noted = Noted()
    tell_of_dead_task(a_dag(on_failure_callback=noted, on_retry_callback=noted), kind, try_number)
    (event,) = noted.events
    assert (event.kind, event.try_number) == (told, try_number)
    assert event.name == Event(told, "nightly", "r1", "load").name
    assert str(event) == f"{told} of nightly / r1 / load"


def test_a_task_that_failed_with_tries_left() -> None:
    """A task that was stuck in the queue fails whatever tries are left: the list we stand in tells so."""
    failed, retried = Noted(), Noted()
    dag = a_dag(on_failure_callback=[failed], on_retry_callback=[retried])
    tell_of_dead_task(dag, None, 1)
    tell_of_dead_task(dag, "up_for_retry", 3)
    assert [event.kind for event in failed.events] == ["failed"]
    assert [event.kind for event in retried.events] == ["retry"]


@pytest.mark.parametrize("last_ti", [None, ti_of(1)], ids=["no task", "a task"])
@pytest.mark.parametrize(("fails", "reason"), [(True, "task_failure"), (False, "success")])
def test_a_dag_run(last_ti: Any, fails: bool, reason: str) -> None:
    """A DAG run is an event of its own, whichever task came last."""
    noted = Noted()
    dag = make_dag("nightly", on_failure_callback=[noted], on_success_callback=[noted])
    dag.add_task(BaseOperator(task_id="load"))
    request = DagCallbackRequest(
        filepath="nightly.py",
        bundle_name="dags",
        bundle_version=None,
        dag_id="nightly",
        run_id="r1",
        is_failure_callback=fails,
        msg=reason,
        context_from_server=DagRunContext(dag_run=RUN, last_ti=last_ti) if last_ti else None,
    )
    bag: Any = SimpleNamespace(dags={"nightly": dag})
    processor._execute_dag_callbacks(bag, request, structlog.get_logger())
    (event,) = noted.events
    assert event == Event("failed" if fails else "success", "nightly", "r1")


def test_names_of_different_events_differ() -> None:
    """Kind, DAG, run, task, map index and deadline each make another name; the try and the log do not."""
    event = Event("failed", "nightly", "r1", "load")
    others = [
        Event("retry", "nightly", "r1", "load"),
        Event("failed", "weekly", "r1", "load"),
        Event("failed", "nightly", "r2", "load"),
        Event("failed", "nightly", "r1", "store"),
        Event("failed", "nightly", "r1", "load", 3),
        Event("failed", "nightly", "r1"),
        Event("deadline", "nightly", "r1", deadline_id="7"),
        Event("deadline", "nightly", "r1", deadline_id="8"),
    ]
    assert len({event.name, *(other.name for other in others)}) == 1 + len(others)
    assert Event("failed", "nightly", "r1", "load", try_number=2, log_url="x").name == event.name


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"ti": None},
        {"dag_run": {"dag_id": "nightly", "dag_run_id": "r1"}},
        {"deadline": {}, "dag_run": {"dag_id": "nightly", "dag_run_id": "r1"}},
    ],
)
def test_what_nothing_identifies_has_no_name(context: dict[str, Any]) -> None:
    """No two events may share a name only because nothing is known of either."""
    assert event_of(context, None).name is None
