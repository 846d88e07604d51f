"""A world for the state machine: a clock, a sandbox, an Airflow, and processes that die or are overtaken."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest
import requests
from sqlalchemy import Engine, select

from formant_provider.sandbox import Sandbox
from formant_provider.store.schema import intents
from formant_provider.store.store import open_up
from support.databases import Database
from support.stores import SECRET, connections_with, sqlite_store
from support.supervisor import FakeSupervisor

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
API_KEY = "machine-key-1234567"
READ_TIMEOUT_S = 0.5
LEDGER_MESSAGES = ("GetTaskStateStore", "SetTaskStateStore")


class Died(BaseException):
    """The process is gone: nothing of it runs any more, and no ``except Exception`` sees it."""


@dataclass
class Interruption:
    """Something that happens once, at the n-th step of a process: a send, a ledger read or write, an XCom.

    :param at: counted from 1.
    :param before: whether it happens before the step takes effect, or after.
    :param act: what happens; ``Died`` if it raises it.
    """

    at: int
    before: bool
    act: Callable[[], None]
    where: str = field(default="", init=False)
    """Which step it was; empty as long as it did not happen."""


class Steps:
    """Counts the steps of the process that runs, and interrupts one of them."""

    def __init__(self) -> None:
        self.interruption: Interruption | None = None
        self._count = 0
        self._dead = False

    @contextmanager
    def process(self, interruption: Interruption | None = None) -> Iterator[None]:
        """A process begins; the one that it interrupts stands still meanwhile."""
        before = self.interruption, self._count, self._dead
        self.interruption, self._count, self._dead = interruption, 0, False
        try:
            yield
        finally:
            self.interruption, self._count, self._dead = before

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step of the process."""
        if self._dead:  # what a killed process would do in its finally blocks
            raise Died
        self._count += 1
        due = self.interruption
        if due is None or due.where or due.at != self._count:
            yield
            return
        place = re.sub(r"(?<=/conversations/)[^/ ]+", "{id}", name)
        due.where = f"{'before' if due.before else 'after'} {place}"
        if due.before:
            self._interrupt(due)
        yield
        if not due.before:
            self._interrupt(due)

    def _interrupt(self, due: Interruption) -> None:
        try:
            due.act()
        except Died:
            self._dead = True
            raise


class SteppingSupervisor(FakeSupervisor):
    """Every message to the ledger, and every XCom, is a step."""

    def __init__(self, steps: Steps, **given: Any) -> None:
        super().__init__(**given)
        self._steps = steps

    def send(self, msg: Any) -> Any:
        name = type(msg).__name__
        if name not in (*LEDGER_MESSAGES, "SetXCom"):
            return super().send(msg)
        with self._steps.step(name):
            return super().send(msg)


class MachineWorld:
    """All clocks stand still but for :meth:`lapse`.

    :param skew_s: how far the vendor's clock is ahead of the worker's.
    :param settings: of the sandbox.
    :param has_call_store: whether the connection names a call store, in a SQLite file.
    """

    def __init__(self, skew_s: float, settings: dict[str, Any], *, has_call_store: bool = False) -> None:
        self._open = ExitStack()
        self._skew = timedelta(seconds=skew_s)
        self.steps = Steps()
        self.sandbox = self._open.enter_context(
            Sandbox(api_key=API_KEY, speed=0, rate_limit=None, start_at=NOON + self._skew, **settings)
        )
        connections = {"formant_default": self._connection()}
        self.call_store: Database | None = None
        if has_call_store:
            self.call_store = self._open.enter_context(sqlite_store())
            options = {"is_set_up": False, "read_timeout": READ_TIMEOUT_S}
            connections = connections_with(self.call_store, self.sandbox, **options)
            self._store = open_up(self.call_store.engine(), "the machine's", SECRET)
        self.airflow = SteppingSupervisor(self.steps, connections=connections)
        self._replace_time()
        self._count_steps()

    def close(self) -> None:
        self._open.close()

    def receipt(self, run_id: str, person: str) -> str | None:
        """The trace id of a person's call in a run, if its receipt is in the call store."""
        if self.call_store is None:
            return None
        of_call = intents.c.run_id == run_id, intents.c.recipient == self._store.digests.recipient(person)
        with self._store.reading() as conn:
            return conn.execute(select(intents.c.trace_id).where(*of_call)).scalar()

    def _connection(self) -> dict[str, Any]:
        return {**json.loads(self.sandbox.connection_json()), "extra": {"read_timeout": READ_TIMEOUT_S}}

    def now(self) -> datetime:
        """The worker's time."""
        return self.sandbox.now() - self._skew

    def lapse(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.sandbox.advance(max(seconds, 0))

    def _patch(self, owner: Any, name: str, value: Any) -> None:
        patch = pytest.MonkeyPatch()
        self._open.callback(patch.undo)
        patch.setattr(owner, name, value)

    def _replace_time(self) -> None:
        main, real_sleep = threading.get_ident(), time.sleep

        def sleep(seconds: float) -> None:
            (self.lapse if threading.get_ident() == main else real_sleep)(seconds)

        self._patch(time, "sleep", sleep)
        self._patch(pendulum, "now", lambda *_, **__: pendulum.instance(self.now()))

    def _count_steps(self) -> None:
        count_steps(self.steps, self._patch)


def count_steps(steps: Steps, patch: Callable[[Any, str, Any], None]) -> None:
    """Make each request, and each transaction of a call store, a step of the process that runs.

    :param patch: sets an attribute, as ``pytest.MonkeyPatch.setattr`` does.
    """
    send, begin = requests.adapters.HTTPAdapter.send, Engine.begin

    def stepping_send(this: Any, request: Any, **options: Any) -> Any:
        with steps.step(f"{request.method} {request.path_url.partition('?')[0]}"):
            return send(this, request, **options)

    @contextmanager
    def stepping_begin(this: Any) -> Iterator[Any]:
        with steps.step("transaction"), begin(this) as connection:
            yield connection

    patch(requests.adapters.HTTPAdapter, "send", stepping_send)
    patch(Engine, "begin", stepping_begin)
