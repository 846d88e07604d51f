"""Run one operator through Airflow's real task runner: no database, no process, no network.

What a worker does to a task happens here too: templates are rendered and masked, a mapped operator is
unmapped, XComs of the last try are cleared, the outcome becomes a state, callbacks and links run. Only the
supervisor at the other end of the line is a :class:`FakeSupervisor`.

    channel = FakeSupervisor(connections={"formant_default": "formant://:key@localhost"})
    first = run_task(operator, channel)
    second = run_task(operator, channel, try_number=2)    # state store and XComs live in the channel
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import structlog
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import AssetEventDagRunReference, DagRun, TIRunContext
from airflow.sdk.execution_time import task_runner

from support.isolation import process_left_alone
from support.log_capture import captured_logs
from support.supervisor import FakeSupervisor, TaskKey, supervised_by

__all__ = [
    "Attempt",
    "FakeSupervisor",
    "TaskRun",
    "TriggerRun",
    "make_dag",
    "run_task",
    "run_trigger",
    "supervised_by",
]

START = datetime(2026, 1, 1, tzinfo=UTC)
NOT_RESUMED: Any = object()


@dataclass(frozen=True)
class Attempt:
    """The circumstances of one run of a task. Everything has a default.

    :param run_type: what started the run, such as ``"scheduled"``.
    :param run_started_at: when the run, or its last clear, began; default: now by the real clock.
    :param data_interval_end: default: the logical date; the interval is a day long.
    :param run_after: when the run was due; default: the end of its data interval.
    :param partition_date: of a partitioned run; Airflow before 3.2 has none.
    :param source_runs: ids of the runs whose asset events started this one; ``None`` is an event of no run.
    :param max_tries: retries that are allowed; default: the operator's ``retries``, plus one a clear.
    :param should_retry: what the server says about another try; default: worked out from the tries.
    :param resume_event: payload of the event that ends the last deferral of this task.
    :param resume_timeout: the last deferral of this task ran into its timeout.
    :param state_store: False takes the task state store away, as on Airflow before 3.3.
    """

    run_id: str = "r1"
    try_number: int = 1
    map_index: int = -1
    max_tries: int | None = None
    should_retry: bool | None = None
    logical_date: datetime | None = START
    run_type: str = "manual"
    run_started_at: datetime | None = None
    data_interval_end: datetime | None = None
    run_after: datetime | None = None
    partition_date: datetime | None = None
    source_runs: Sequence[str | None] = ()
    conf: Mapping[str, Any] | None = None
    clear_number: int = 0
    reschedule_count: int = 0
    resume_event: Any = NOT_RESUMED
    resume_timeout: bool = False
    state_store: bool = True

    @property
    def resumed(self) -> bool:
        return self.resume_timeout or self.resume_event is not NOT_RESUMED


@dataclass(frozen=True)
class TaskRun:
    """What one run of a task left behind.

    :param messages: everything it sent to its supervisor, in order.
    :param xcoms: key to value, of this task and map index, as sent.
    :param state_store: key to value in the task state store, as sent.
    :param log_text: everything logged, tracebacks included, before any masking.
    :param masked_log_text: the same as a person sees it.
    """

    state: str
    error: BaseException | None
    messages: list[Any]
    xcoms: dict[str, Any]
    state_store: dict[str, Any]
    log_text: str
    masked_log_text: str

    def sent(self, kind: str) -> list[Any]:
        """The messages of one type, such as ``"SetXCom"``."""
        return [msg for msg in self.messages if type(msg).__name__ == kind]

    @property
    def rendered_fields(self) -> dict[str, Any]:
        """The template fields as last sent to the server, which is after masking."""
        sent = self.sent("SetRenderedFields")
        return sent[-1].rendered_fields if sent else {}

    @property
    def deferral(self) -> Any:
        """The ``DeferTask`` message; None if the run did not end in a deferral."""
        return next(iter(self.sent("DeferTask")), None)

    @property
    def trigger_kwargs(self) -> dict[str, Any]:
        """The arguments of the trigger of that deferral; Airflow 3.1 sends them encoded."""
        return _trigger_kwargs(self.deferral)


@dataclass(frozen=True)
class TriggerRun:
    """The payload of a trigger's first event, and what was logged on the way."""

    event: Any
    log_text: str
    masked_log_text: str


def make_dag(dag_id: str = "test_dag", **kwargs: Any) -> DAG:
    """A DAG without schedule; an operator built inside of it (``with``) belongs to it."""
    return DAG(dag_id=dag_id, schedule=None, start_date=START, **kwargs)


def run_task(operator: Any, channel: FakeSupervisor | None = None, **attempt: Any) -> TaskRun:
    """Run ``operator``, which may be mapped, once; the keyword arguments are those of :class:`Attempt`."""
    channel = channel or FakeSupervisor()
    at = Attempt(**attempt)
    if not operator.has_dag():
        make_dag().add_task(operator)
    task = TaskKey(operator.dag_id, at.run_id, operator.task_id, at.map_index)
    first_message = len(channel.messages)
    with process_left_alone(), supervised_by(channel), captured_logs() as lines:
        state, error = _run(_task_instance(operator, channel, task, at), at)
    return TaskRun(
        state=state,
        error=error,
        messages=channel.messages[first_message:],
        xcoms=dict(channel.xcoms.get(task, {})),
        state_store=dict(channel.state.get(task, {})),
        log_text=lines.text,
        masked_log_text=lines.masked_text,
    )


def run_trigger(deferral: Any, channel: FakeSupervisor, timeout_s: float = 60) -> TriggerRun:
    """Build the trigger of a deferral from what was sent, and run it to its first event."""
    module, _, name = deferral.classpath.rpartition(".")
    trigger = getattr(import_module(module), name)(**_trigger_kwargs(deferral))

    async def first_event() -> Any:
        async with asyncio.timeout(timeout_s):
            return await anext(trigger.run())

    with process_left_alone(), supervised_by(channel), captured_logs() as lines:
        event = asyncio.run(first_event())
    return TriggerRun(event.payload, lines.text, lines.masked_text)


def _trigger_kwargs(deferral: Any) -> dict[str, Any]:
    return dict(_decode(deferral.model_dump()["trigger_kwargs"]))


def _run(ti: Any, at: Attempt) -> tuple[str, BaseException | None]:
    context = ti.get_template_context()
    if not at.state_store:
        context.pop("task_state_store", None)
    log = structlog.get_logger(logger_name="task")
    state, _, error = task_runner.run(ti, context, log)
    context["exception"] = error
    task_runner.finalize(ti, state, context, log, error)
    return state.value, error


def _task_instance(operator: Any, channel: FakeSupervisor, task: TaskKey, at: Attempt) -> Any:
    max_tries = _retries(operator) + at.clear_number if at.max_tries is None else at.max_tries
    return task_runner.RuntimeTaskInstance.model_construct(
        **task._asdict(),
        id=channel.begin(task, resumed=at.resumed),
        try_number=at.try_number,
        dag_version_id=uuid.uuid4(),
        hostname="localhost",
        context_carrier={},
        queue="default",
        task=operator,
        bundle_instance=None,
        max_tries=max_tries,
        start_date=datetime.now(UTC),
        state="running",
        _ti_context_from_server=_run_context(channel, task, at, max_tries),
    )


def _retries(operator: Any) -> int:
    given = operator.partial_kwargs.get("retries", 0) if operator.is_mapped else operator.retries
    return int(given)


def _run_context(channel: FakeSupervisor, task: TaskKey, at: Attempt, max_tries: int) -> TIRunContext:
    """What the server tells a worker when the task starts."""
    retry_left = max_tries > 0 and at.try_number <= max_tries
    return TIRunContext(
        dag_run=_dag_run(task, at),
        max_tries=max_tries,
        task_reschedule_count=at.reschedule_count,
        should_retry=retry_left if at.should_retry is None else at.should_retry,
        xcom_keys_to_clear=[] if at.resumed else list(channel.xcoms.get(task, {})),
        **(_resumption(channel.deferrals[task], at) if at.resumed else {}),
    )


def _dag_run(task: TaskKey, at: Attempt) -> DagRun:
    """The model is generated and differs by Airflow version; all of them forbid unknown fields."""
    end = at.data_interval_end or at.logical_date
    fields: dict[str, Any] = {
        "dag_id": task.dag_id,
        "run_id": task.run_id,
        "logical_date": at.logical_date,
        "data_interval_start": end and end - timedelta(days=1),
        "data_interval_end": end,
        "run_after": at.run_after or end or START,
        "start_date": at.run_started_at or datetime.now(UTC),
        "end_date": None,
        "clear_number": at.clear_number,
        "run_type": at.run_type,
        "state": "running",
        "conf": dict(at.conf or {}),
        "consumed_asset_events": [_asset_event(run_id) for run_id in at.source_runs],
        "partition_key": at.partition_date and at.partition_date.isoformat(),
        "partition_date": at.partition_date,
    }
    return _of_fields(DagRun, fields)


def _asset_event(source_run_id: str | None) -> AssetEventDagRunReference:
    fields: dict[str, Any] = {
        "asset": {"name": "loans", "uri": "loans", "extra": {}},
        "extra": {},
        "source_task_id": source_run_id and "produce",
        "source_dag_id": source_run_id and "producer",
        "source_run_id": source_run_id,
        "source_map_index": -1,
        "source_aliases": [],
        "timestamp": datetime.now(UTC),
        "partition_key": None,
    }
    return _of_fields(AssetEventDagRunReference, fields)


def _of_fields(model: Any, fields: Mapping[str, Any]) -> Any:
    return model(**{name: value for name, value in fields.items() if name in model.model_fields})


def _resumption(deferral: Any, at: Attempt) -> dict[str, Any]:
    """The next method and its arguments, as the triggerer leaves them with the server."""
    if at.resume_timeout:
        return {"next_method": "__fail__", "next_kwargs": _encode({"error": "Trigger timeout"})}
    kwargs = _decode(deferral.model_dump()["next_kwargs"]) | {"event": at.resume_event}
    return {"next_method": deferral.next_method, "next_kwargs": _encode(kwargs)}


def _serde() -> Any:
    """Arguments of deferrals were encoded by the core's serialiser before Airflow 3.2."""
    try:
        return import_module("airflow.sdk.serde")
    except ImportError:
        return import_module("airflow.serialization.serialized_objects").BaseSerialization


def _encode(kwargs: dict[str, Any]) -> Any:
    return _serde().serialize(kwargs)


def _decode(encoded: Any) -> Any:
    return _serde().deserialize(encoded)
