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
def answering(dag_id: str, option: str | None) -> Iterator[list[Any]]:
    """Answer each question of a DAG within the block; yield the questions.

    :param option: what is chosen; ``None`` lets the time run out that the question allows.
    """
    over, asked = threading.Event(), []

    def look() -> None:
        while not over.wait(EVERY_S):
            # Without tables yet, or busy with another thread: asked again.
            with suppress(OperationalError), create_session() as session:
                asked.extend(_answer(detail, option, session) for detail in _open(dag_id, session))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join(timeout=10)


def _open(dag_id: str, session: Any) -> list[Any]:
    asked = select(HITLDetail).join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
    waiting = TaskInstance.state.in_(("awaiting_input", "deferred"))
    found = session.scalars(asked.where(TaskInstance.dag_id == dag_id, waiting)).all()
    return [detail for detail in found if not detail.response_received]


def _answer(detail: Any, option: str | None, session: Any) -> dict[str, Any]:
    task = session.get(TaskInstance, detail.ti_id)
    if option is None:
        payload = {"error": "timed out", "error_type": "timeout"}
    else:
        detail.responded_by = {"id": "1", "name": "approver"}
        detail.responded_at, detail.params_input = timezone.utcnow(), {}
        detail.chosen_options = [option]
        payload = detail.as_resume_event_payload()
    handle_event_submit(TriggerEvent(payload), task_instance=task, session=session)
    return {"subject": detail.subject, "body": detail.body}
