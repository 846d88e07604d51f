"""Tasks that read and write files of a real store, run by workers of Airflow in processes of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formant_provider.sandbox import Sandbox
from support.processes import until
from support.real_stores import RealStore

WORKER = Path(__file__).with_name("storage_worker.py")
_OPERATORS = "formant_provider.operators"
STORAGE = f"{_OPERATORS}.storage:FormantConversationToObjectStorageOperator"
EXPORT = f"{_OPERATORS}.export:FormantExportConversationsOperator"
CALL_LIST = f"{_OPERATORS}.call_list:FormantCallListOperator"
BATCH_CALL = f"{_OPERATORS}.batch:FormantCreateBatchCallOperator"
# By default gcsfs asks over gRPC, which no emulator speaks, what kind of bucket it is; see docs/storage.md.
_ENVIRONMENT = {**os.environ, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@dataclass(frozen=True)
class Task:
    """An operator, by module and name, and its parameters."""

    operator: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """What a task came to.

    :param grew_bytes: how much more memory the worker took at its peak than before the task.
    """

    state: str
    error: str
    result: Any
    log: str
    grew_bytes: int


class Worker:
    """A process that runs tasks one after the other."""

    def __init__(self) -> None:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        # Errors are what the vendors' libraries log.
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)], **pipes, stderr=subprocess.DEVNULL, text=True, env=_ENVIRONMENT
        )

    def run(self, task: Task, connections: Mapping[str, Any]) -> Ended:
        """Run a task to its end."""
        self.begin(task, connections)
        line = self._process.stdout.readline()  # type: ignore[union-attr] # it is a pipe
        assert line, f"the worker died: {self._process.wait()}"
        return Ended(**json.loads(line))

    def begin(self, task: Task, connections: Mapping[str, Any]) -> None:
        """Let the worker begin a task, and do not wait for it."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f"{json.dumps({**vars(task), 'connections': connections})}\n")
        stdin.flush()

    def kill(self) -> None:
        """Kill it as the kernel does when memory is short."""
        self._process.kill()

    def wait(self) -> int:
        """Wait for its end; return its exit code, or minus the signal that killed it."""
        return self._process.wait(timeout=120)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True)
class Airflow:
    """An Airflow whose connections lead to a store and to a sandbox.

    :param worker: runs tasks that nothing kills.
    """

    store: RealStore
    sandbox: Sandbox
    worker: Worker

    @property
    def connections(self) -> Mapping[str, Any]:
        """The connections of this Airflow, by id."""
        formant = json.loads(self.sandbox.connection_json())
        return {"formant_default": formant, self.store.scheme: self.store.connection}

    def run(self, operator: str, **fields: Any) -> Ended:
        """Run one task to its end."""
        return self.worker.run(Task(operator, fields), self.connections)

    def store_recording(self, conversation_id: str) -> Ended:
        """Store a recording, and nothing else."""
        return self.worker.run(self.recording_task(conversation_id), self.connections)

    def recording_task(self, conversation_id: str) -> Task:
        """Return the task that stores a recording."""
        fields = {"conversation_id": conversation_id, "folder_uri": self.store.uri("calls")}
        return Task(STORAGE, {**fields, "include": ["recording"]})

    def a_conversation(self) -> str:
        """Have a call that is over; return the id of its conversation."""
        call = self.sandbox.place("+14155550100")
        until(lambda: call.over(self.sandbox.now()))
        return str(call.conversation_id)

    def recording(self, conversation_id: str) -> bytes:
        """Return the recording of a conversation, as the API has it."""
        return b"".join(self.sandbox.recording(conversation_id).chunks())


def as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Return rows as a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
