"""What a callback of Airflow tells of: read from its context, which differs by where the callback runs.

In a worker it is the full context of a task; in the DAG processor, after a worker died, one whose task has
no state; for a DAG, one of whichever task came last, or hardly any; for a deadline, plain values and no task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BY_STATE = {
    "failed": "failed",
    "up_for_retry": "retry",
    "success": "success",
    "skipped": "skipped",
    "running": "started",
}


@dataclass(frozen=True)
class Event:
    """What happened, in the same words for every kind of callback.

    :param kind: ``failed``, ``retry``, ``success``, ``skipped``, ``started`` or ``deadline``; empty when the
        context does not tell.
    :param task_id: empty when the event is that of a whole DAG run.
    :param try_number: 0 when there is no task.
    :param log_url: of the task; empty when there is none.
    :param exception_type: name of the exception's class; empty when the context does not tell.
    :param deadline_id: of the deadline that was missed.
    """

    kind: str = ""
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0
    log_url: str = ""
    exception_type: str = ""
    deadline_id: str = ""

    @property
    def name(self) -> str | None:
        """What tells the event from all others, however often it is told; ``None`` when nothing does.

        The try is not in it: a task that is tried again and again is one event of its kind.
        """
        if self.kind == "deadline":
            return json.dumps(["page", "deadline", self.deadline_id]) if self.deadline_id else None
        if not (self.kind and self.dag_id and self.run_id):
            return None
        return json.dumps(["page", self.kind, self.dag_id, self.run_id, self.task_id, self.map_index])

    def __str__(self) -> str:
        where = [text for text in (self.dag_id, self.run_id, self.task_id) if text]
        if self.map_index >= 0:
            where.append(str(self.map_index))
        return f"{self.kind or 'unknown event'} of {' / '.join(where) or 'nothing known'}"


def event_of(context: Mapping[str, Any], callback: object) -> Event:
    """Return what a callback was called for."""
    if "deadline" in context:
        return _of_deadline(context)
    if "reason" in context:
        return _of_dag_run(context)
    if context.get("ti") is not None:
        return _of_task(context, callback)
    return Event()


def _of_deadline(context: Mapping[str, Any]) -> Event:
    dag_run = context.get("dag_run") or {}
    return Event(
        "deadline",
        dag_id=str(dag_run.get("dag_id") or ""),
        run_id=str(dag_run.get("dag_run_id") or ""),
        deadline_id=str(context["deadline"].get("id") or ""),
    )


def _of_dag_run(context: Mapping[str, Any]) -> Event:
    return Event(
        "success" if context["reason"] == "success" else "failed",
        dag_id=context["dag"].dag_id,
        run_id=context["run_id"],
        exception_type=_type_of(context),
    )


def _of_task(context: Mapping[str, Any], callback: object) -> Event:
    ti = context["ti"]
    state = getattr(ti.state, "value", ti.state)
    return Event(
        _BY_STATE.get(state) or _kind_without_state(context.get("task"), ti, callback),
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index,
        try_number=ti.try_number,
        log_url=str(getattr(ti, "log_url", "")),
        exception_type=_type_of(context),
    )


def _kind_without_state(task: object, ti: Any, callback: object) -> str:
    """Tell a retry from a failure where Airflow does not: by the list that we stand in, or the tries left."""
    on_retry = _is_one_of(getattr(task, "on_retry_callback", None), callback)
    on_failure = _is_one_of(getattr(task, "on_failure_callback", None), callback)
    is_retry = on_retry if on_retry != on_failure else ti.try_number <= ti.max_tries
    return "retry" if is_retry else "failed"


def _is_one_of(callbacks: object, callback: object) -> bool:
    return callbacks is callback or (isinstance(callbacks, Sequence) and callback in callbacks)


def _type_of(context: Mapping[str, Any]) -> str:
    error = context.get("exception")
    return type(error).__name__ if isinstance(error, BaseException) else ""
