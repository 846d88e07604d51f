"""A process that works off a call list, and may be killed at any moment.

It is what a worker of Airflow has in hand: one try of one task. What outlives it lies in a folder: the
entries of Airflow's task state store, which try is the newest, and what each try came to.
"""

from __future__ import annotations

import json
import os
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from formant_provider.operators.call_list import FormantCallListOperator
from support.processes import start
from support.supervisor import FakeSupervisor, TaskKey
from support.task_run import run_task, run_trigger


class LastingSupervisor(FakeSupervisor):
    """A supervisor whose task state store outlives its process, for a folder with one task.

    :param before_write: called with the name of an entry before it is written; ``after_write``: after that.
    """

    def __init__(self, folder: Path, connections: Mapping[str, Any], **more: Any) -> None:
        super().__init__(connections, **more)
        self.folder = folder
        self.before_write: Callable[[str], None] = lambda _: None
        self.after_write: Callable[[str], None] = lambda _: None
        folder.mkdir(exist_ok=True)

    def begin(self, task: TaskKey, *, resumed: bool) -> uuid.UUID:
        """The id of this try; from now on the process of an older one is told that it is stale."""
        own = super().begin(task, resumed=resumed)
        if not resumed:
            _write(self.folder / "newest", str(own))
        self.state[task] = {
            path.stem: json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))
        }
        return own

    def _task_of_id(self, ti_id: uuid.UUID) -> TaskKey | None:
        is_newest = (self.folder / "newest").read_text() == str(ti_id)
        return super()._task_of_id(ti_id) if is_newest else None

    def _answer_set_task_state_store(self, msg: Any) -> Any:
        self._known(msg.ti_id)
        self.before_write(msg.key)
        _write(self.folder / f"{msg.key}.json", json.dumps(msg.value))
        self.after_write(msg.key)
        return super()._answer_set_task_state_store(msg)


@dataclass(frozen=True)
class Came:
    """What one try came to, by its process."""

    state: str
    error: str
    result: Any
    wakes: int
    log: str


@dataclass
class ListTask:
    """A task with a call list, of which each try has a process of its own.

    :param operator: makes it, in the process.
    :param folder: of what outlives a process.
    :param patience_s: how long a try waits in the triggerer at most; the longest wait of a test.
    """

    operator: Callable[[], Any]
    folder: Path
    connections: Mapping[str, Any]
    variables: Mapping[str, str] | None = None
    patience_s: float = 60.0
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    tries: int = 0

    def start(self, prepare: Callable[[LastingSupervisor], None] = lambda _: None, **attempt: Any) -> int:
        """Start the next try; return the id of its process.

        :param prepare: is given the supervisor in the process, before it begins.
        """
        _warm_up()
        self.tries += 1
        number = self.tries
        return start(lambda: self._try(number, prepare, attempt))

    def came(self, number: int | None = None) -> Came | None:
        """What a try came to, by default the last one; ``None`` if its process did not get so far."""
        path = self._told(number or self.tries)
        return Came(**json.loads(path.read_text())) if path.exists() else None

    def _told(self, number: int) -> Path:
        return self.folder / f"try_{number}"

    def _try(
        self, number: int, prepare: Callable[[LastingSupervisor], None], attempt: dict[str, Any]
    ) -> None:
        _leave_sockets()
        channel = LastingSupervisor(self.folder, self.connections, variables=self.variables)
        prepare(channel)
        attempt = {"run_after": self.began, "run_started_at": self.began, **attempt}
        run = run_task(self.operator(), channel, try_number=number, **attempt)
        wakes, log = 1, run.log_text
        while run.deferral is not None:
            fired = run_trigger(run.deferral, channel, self.patience_s)
            resumed = {**attempt, "resume_event": fired.event}
            run = run_task(self.operator(), channel, try_number=number, **resumed)
            wakes, log = wakes + 1, log + run.log_text
        came = Came(run.state, str(run.error or ""), run.xcoms.get("return_value"), wakes, log)
        _write(self._told(number), json.dumps(vars(came), default=str))


@cache
def _warm_up() -> None:
    """Load what a try needs, before there are processes: each of them would do so again."""
    for module in ("core.call_lists.work", "tasks.call_lists.waking", "tasks.call_store", "store.ledger"):
        import_module(f"formant_provider.{module}")
    nobody = FakeSupervisor({"formant_default": "formant://:key-1234567@localhost"})
    someone = [{"customer_phone": "+14155550100"}]
    run_task(FormantCallListOperator(task_id="list", agent_id=456, calls=someone, dry_run=True), nobody)


def _leave_sockets() -> None:
    """Hold no socket of the process that this one was forked from: what it closes is to be closed."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(each)).st_mode):
                os.dup2(nothing, int(each))


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    part.write_text(text)
    part.replace(path)
