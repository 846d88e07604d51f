"""The other end of a task's line to its supervisor, in memory.

A worker process asks its supervisor for everything: connections, XComs, the task state store. Here a
plain object answers, remembers every message, and keeps the state that outlives one try.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms, task_runner

CONNECTION_FIELDS = ("conn_type", "host", "schema", "login", "password", "port", "extra")


class TaskKey(NamedTuple):
    """What Airflow keys XComs and task state by: the same in every try."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


NOBODY = TaskKey("", "", "", -1)


class FakeSupervisor:
    """Answers like the real supervisor; a message nobody needs an answer to is only kept.

    :param connections: URI text, or a mapping of connection fields, by connection id.
    :param variables: Airflow variables.
    """

    def __init__(
        self,
        connections: Mapping[str, str | Mapping[str, Any]] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.connections = dict(connections or {})
        self.variables = dict(variables or {})
        self.messages: list[Any] = []
        self.xcoms: dict[TaskKey, dict[str, Any]] = {}
        self.state: dict[TaskKey, dict[str, Any]] = {}
        self.deferrals: dict[TaskKey, Any] = {}
        self.refused: set[str] = set()
        """Names of message types to which the API server answers with an error from now on."""
        self._ids: dict[TaskKey, uuid.UUID] = {}
        self._current = NOBODY

    def begin(self, task: TaskKey, *, resumed: bool) -> uuid.UUID:
        """The id of this try. An older try of the same task is a stale process from now on."""
        if not resumed:
            self._ids[task] = uuid.uuid4()
        self._current = task
        return self._ids[task]

    def send(self, msg: Any) -> Any:
        """Answer one message, as ``CommsDecoder.send`` does."""
        name = type(msg).__name__
        comms._RequestFrame(id=0, body=msg.model_dump()).as_bytes()  # raises for what the line cannot carry
        self.messages.append(msg)
        if name in self.refused:
            raise _server_error(500)
        answer = getattr(self, "_answer_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(), None)
        return answer(msg) if answer else None

    async def asend(self, msg: Any) -> Any:
        return self.send(msg)

    # One method per message that wants an answer, by name, since the set differs by Airflow version.

    def _answer_get_connection(self, msg: Any) -> Any:
        if msg.conn_id not in self.connections:
            return _not_found("CONNECTION_NOT_FOUND", msg.conn_id)
        fields = _connection_fields(msg.conn_id, self.connections[msg.conn_id])
        return comms.ConnectionResult(conn_id=msg.conn_id, **fields)

    def _answer_get_variable(self, msg: Any) -> Any:
        if msg.key not in self.variables:
            return _not_found("VARIABLE_NOT_FOUND", msg.key)
        return comms.VariableResult(key=msg.key, value=self.variables[msg.key])

    def _answer_set_xcom(self, msg: Any) -> None:
        self.xcoms.setdefault(_task_of(msg), {})[msg.key] = msg.value

    def _answer_get_xcom(self, msg: Any) -> Any:
        value = self.xcoms.get(_task_of(msg), {}).get(msg.key)
        return comms.XComResult(key=msg.key, value=value)

    def _answer_delete_xcom(self, msg: Any) -> None:
        self.xcoms.get(_task_of(msg), {}).pop(msg.key, None)

    def _answer_get_xcom_count(self, msg: Any) -> Any:
        return comms.XComCountResponse(len=len(self._all_indexes(msg)))

    def _answer_get_xcom_sequence_item(self, msg: Any) -> Any:
        try:
            return comms.XComSequenceIndexResult(root=self._all_indexes(msg)[msg.offset])
        except IndexError:
            return _not_found("XCOM_NOT_FOUND", msg.key)

    def _answer_get_xcom_sequence_slice(self, msg: Any) -> Any:
        values = self._all_indexes(msg)[msg.start : msg.stop : msg.step]
        return comms.XComSequenceSliceResult(root=values)

    def _answer_get_task_state_store(self, msg: Any) -> Any:
        # A stale try is told "no such key", not "who are you": so says the real server.
        stored = self.state.get(self._task_of_id(msg.ti_id) or NOBODY, {})
        if msg.key not in stored:
            return _not_found("TASK_STORE_NOT_FOUND", msg.key)
        return comms.TaskStateStoreResult(value=stored[msg.key])

    def _answer_set_task_state_store(self, msg: Any) -> Any:
        self.state.setdefault(self._known(msg.ti_id), {})[msg.key] = msg.value
        return comms.OKResponse(ok=True)

    def _answer_delete_task_state_store(self, msg: Any) -> Any:
        self.state.get(self._known(msg.ti_id), {}).pop(msg.key, None)
        return comms.OKResponse(ok=True)

    def _answer_clear_task_state_store(self, msg: Any) -> Any:
        self.state.pop(self._known(msg.ti_id), None)
        return comms.OKResponse(ok=True)

    def _answer_defer_task(self, msg: Any) -> None:
        self.deferrals[self._current] = msg

    def _answer_validate_inlets_and_outlets(self, _msg: Any) -> Any:
        return comms.InactiveAssetsResult(inactive_assets=[])

    def _answer_get_task_reschedule_start_date(self, _msg: Any) -> Any:
        return comms.TaskRescheduleStartDate(start_date=datetime.now(UTC))

    def _all_indexes(self, msg: Any) -> list[Any]:
        wanted = (msg.dag_id, msg.run_id, msg.task_id)
        found = (self.xcoms[task] for task in sorted(self.xcoms) if task[:3] == wanted)
        return [xcoms[msg.key] for xcoms in found if msg.key in xcoms]

    def _task_of_id(self, ti_id: uuid.UUID) -> TaskKey | None:
        return next((task for task, current in self._ids.items() if current == ti_id), None)

    def _known(self, ti_id: uuid.UUID) -> TaskKey:
        task = self._task_of_id(ti_id)
        if task is None:
            raise _server_error(404)
        return task


@contextmanager
def supervised_by(channel: FakeSupervisor) -> Iterator[FakeSupervisor]:
    """Let code that runs outside of a task (a hook, a trigger) reach ``channel``."""
    missing = object()
    before = getattr(task_runner, "SUPERVISOR_COMMS", missing)
    task_runner.SUPERVISOR_COMMS = channel  # type: ignore[assignment]
    try:
        yield channel
    finally:
        if before is missing:
            del task_runner.SUPERVISOR_COMMS
        else:
            task_runner.SUPERVISOR_COMMS = before  # type: ignore[assignment]


def _connection_fields(conn_id: str, given: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, str):
        conn = Connection.from_uri(given, conn_id=conn_id)
        given = {name: getattr(conn, name) for name in CONNECTION_FIELDS}
    fields = dict.fromkeys(CONNECTION_FIELDS) | dict(given)
    if isinstance(fields["extra"], Mapping):
        fields["extra"] = json.dumps(fields["extra"])
    return fields


def _task_of(msg: Any) -> TaskKey:
    return TaskKey(msg.dag_id, msg.run_id, msg.task_id, -1 if msg.map_index is None else msg.map_index)


def _not_found(kind: str, key: str) -> comms.ErrorResponse:
    return comms.ErrorResponse(error=ErrorType(kind), detail={"key": key})


def _server_error(status: int) -> AirflowRuntimeError:
    detail = {"status_code": status}
    return AirflowRuntimeError(comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))
