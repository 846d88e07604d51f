"""Answers what a DAG asks people, as the page of required actions in Airflow's UI does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.sdk import timezone
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

try:
    from airflow.models.trigger import handle_event_submit
except ImportError:  # Airflow 3.1, where a trigger looks for the answer
    handle_event_submit = None

EVERY_S = 0.3


@contextmanager
def answering(dag_id: str, option: str | None) -> Iterator[dict[Any, dict[str, Any]]]:
    """Answer each question of a DAG within the block; yield the questions, by the task instance that asks.

    :param option: what is chosen; ``None`` lets the time run out that the question allows.
    """
    over, asked = threading.Event(), dict[Any, dict[str, Any]]()

    def look() -> None:
        while not over.wait(EVERY_S):
            # Without tables yet, or busy with another thread: asked again.
            with suppress(OperationalError), create_session() as session:
                for task, detail in _waiting(dag_id, session):
                    _answer(task, detail, option, session)
                    asked[detail.ti_id] = {"subject": detail.subject, "body": detail.body}

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join(timeout=60)


def _waiting(dag_id: str, session: Any) -> list[Any]:
    # Also what was answered: dag.test() may have written over the state that the answer had brought.
    pairs = select(TaskInstance, HITLDetail).join(HITLDetail, TaskInstance.id == HITLDetail.ti_id)
    waiting = pairs.where(TaskInstance.dag_id == dag_id, TaskInstance.state == "awaiting_input")
    return list(session.execute(waiting).unique().all())


def _answer(task: Any, detail: Any, option: str | None, session: Any) -> None:
    payload: Any = {"error": "timed out", "error_type": "timeout"}
    if option is not None:
        detail.responded_by = {"id": "1", "name": "approver"}
        detail.responded_at, detail.params_input = timezone.utcnow(), {}
        detail.chosen_options = [option]
        payload = detail.as_resume_event_payload()
    handle_event_submit(TriggerEvent(payload), task_instance=task, session=session)
