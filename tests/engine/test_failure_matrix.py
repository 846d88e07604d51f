"""Every failure of the matrix, in every kind of task, through the engine: one ring each, and no call lost.

One run of a DAG plays one row: a plain task, a mapped one and one that may defer are struck one after the
other. The sandbox's calls are over in a moment, so that they are on record soon; pauses are cut short.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from airflow.listeners import hookimpl
from airflow.models.xcom import XComModel

try:
    from airflow.sdk.listener import get_listener_manager
except ImportError:  # before Airflow 3.2
    from airflow.listeners.listener import get_listener_manager
from engine.matrix import (
    IN_ENGINE,
    MAPPED,
    RETRIES,
    ROWS,
    UNTROUBLED,
    Down,
    Ends,
    MemoryLost,
    Row,
    Step,
    StoreDown,
    StrangerCalls,
    Strike,
)

from formant_provider.core.keys import key_for_task
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.faults import CALL
from support.databases import Database, Postgres, contents_of, postgres_database
from support.engine import DagResult, TaskId, run_dag_source
from support.stores import connections_with, sqlite_store

pytestmark = pytest.mark.engine

KEY = "key-1234567"
NAME = "Rahul-the-private"
AMOUNT = 2900071
AGENT = 456
# 555-0100 to 555-0199 are nobody's in any area.
AREAS = {"plain": "+1415555", "mapped": "+1212555", "deferrable": "+1202555"}
SHORTEST_PAUSE_S = 0.4  # between two sends of ours; what else sleeps in this process sleeps shorter or longer
SHORTEST_PAUSE_OF_LEDGER_S = 0.2
CUT_TO_S = 0.02
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
# What a database can have a say in: a doubt, a refusal, a row of another, a memory that is lost.
ON_POSTGRES = (
    "every answer of the first try is lost",
    "429 for the whole first try",
    "the same person twice in one list, and a 429 for both",
    "answers of the first try lost, and the task's state store deleted",
)
KEY_IS = {False: "key kept", True: "key used"}

DAG = """
from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator

PEOPLE = {people!r}
OPTIONS = {options!r}
LISTED_BY_A_TASK = {turned}

with DAG("matrix", schedule=None):
    for kind in PEOPLE.keys() - {{"mapped"}}:
        FormantCreateCallOperator(
            task_id=kind, parameters=PEOPLE[kind][0], deferrable=kind == "deferrable", **OPTIONS
        )
    if "mapped" in PEOPLE:

        @task(show_return_value_in_logs=False)
        def people():
            return PEOPLE["mapped"]

        listed = people() if LISTED_BY_A_TASK else PEOPLE["mapped"]
        FormantCreateCallOperator.partial(task_id="mapped", **OPTIONS).expand(parameters=listed)
"""


class Api:
    """The sandbox, and a plan by which it goes down and comes up again between two sends."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._down = False
        self._plan: list[Callable[[], None]] = []

    def go_down(self, down: Down) -> None:
        """Stop listening as ``down`` says, counted from the next send on."""
        self._plan = [self._nothing] * down.after + [self._stop]
        if down.sends:
            self._plan += [self._nothing] * (down.sends - 1) + [self.come_up]
        self._before_send()

    def come_up(self) -> None:
        """Listen again, if it does not."""
        self._plan = []
        if self._down:
            self._sandbox.start()
            self._down = False

    def pause(self, seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Stand in for ``time.sleep``: what the client does between two sends."""
        sleep(min(seconds, CUT_TO_S))
        if seconds >= SHORTEST_PAUSE_S:
            self._before_send()

    def _stop(self) -> None:
        self._sandbox.stop()
        self._down = True

    def _nothing(self) -> None:
        pass

    def _before_send(self) -> None:
        if self._plan:
            self._plan.pop(0)()


class Scene:
    """One row, played. Airflow tells it, as a listener, when a try begins and when it ends."""

    def __init__(self, row: Row, *, key_used: bool, database: Database | None = None) -> None:
        self.row = row
        self.key_used = key_used
        self.database = database
        settings = {"call_speed": 3000, "rate_limit": None, "failed_request_uses_key": key_used}
        self.sandbox = Sandbox(api_key=KEY, **settings)
        self.api = Api(self.sandbox)
        self.phones = {column: self._phones(column) for column in row.columns}
        self.struck: set[TaskId] = set()
        self.result: DagResult
        self.is_kill_due = False
        self._store_down_for: int | None = None
        self._begun: set[tuple[TaskId, int]] = set()
        self._failed: set[TaskId] = set()

    def _phones(self, column: str) -> list[str]:
        area, struck = AREAS[column], "0121" if self.row.on_record else "0108"
        if column != MAPPED:
            return [area + struck]
        return [area + "0120", area + struck, area + (struck if self.row.twins else "0122")]

    def emit(self, record: logging.LogRecord) -> None:
        """The task says that it sends now, after its claim was committed."""
        if self.is_kill_due and record.getMessage().startswith("Asking "):
            self.is_kill_due = False
            self._server().kill()

    def _pause(self, seconds: float) -> None:
        self.api.pause(seconds)
        if self._store_down_for is not None and seconds >= SHORTEST_PAUSE_OF_LEDGER_S:
            self._store_down_for -= 1
            if self._store_down_for == 0:
                self._store_comes_up()

    def _server(self) -> Postgres:
        assert self.database is not None
        assert self.database.server is not None
        return self.database.server

    def _store_goes_down(self, down: StoreDown) -> None:
        self.is_kill_due, self._store_down_for = down.at_send, down.for_pauses
        if not down.at_send:
            self._server().kill()

    def _store_comes_up(self) -> None:
        """Start the database again, if it is down."""
        if self.row.needs_store and not self._server().is_up:
            self._store_down_for = None
            self._server().start()

    def phone(self, task: TaskId) -> str:
        """Whom the task calls."""
        return self.phones[task[0]][max(task[1], 0)]

    def told(self, column: str) -> list[dict[str, Any]]:
        """What the agent is told, for everyone whom the column calls."""
        common = {"customer_name": NAME, "due_amount": AMOUNT}
        return [{"customer_phone": phone, **common} for phone in self.phones[column]]

    def play(self, folder: Path) -> None:
        """Run the DAG to its end."""
        source = DAG.format(
            people={column: self.told(column) for column in self.row.columns},
            options={"agent_id": AGENT, "retries": RETRIES, **self.row.options},
            turned=self.row.turned,
        )
        connections: dict[str, Any] = {
            "formant_default": {**json.loads(self.sandbox.connection_json()), "extra": {"read_timeout": 0.3}}
        }
        if self.database is not None:
            connections = connections_with(self.database, self.sandbox, read_timeout=0.3)
        env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
        with heard_by(self), read_by(self), pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("time.sleep", self._pause)
            self.result = run_dag_source(source, folder, "matrix", env=env)

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        """Bring about what goes wrong in this try."""
        task = (task_instance.task_id, task_instance.map_index)
        begun = (task, task_instance.try_number)
        if task[0] not in self.phones or begun in self._begun:  # after a deferral it is told again
            return
        if task[0] != MAPPED or task[1] in self.row.strikes:
            # With a call store the second of two who are one person asks for nothing.
            is_idle = self.database is not None and self.row.twins and bool(self.struck)
            self.struck.add(task)
            for step in () if is_idle else self._steps(task_instance.try_number):
                self._do(step, task_instance)
        self._begun.add(begun)

    @hookimpl
    def on_task_instance_success(self) -> None:
        """A fault lasts no longer than the try."""
        self.api.come_up()
        self._store_comes_up()

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        """A fault lasts no longer than the try; the list may change now."""
        self.api.come_up()
        self._store_comes_up()
        self._failed.add((task_instance.task_id, task_instance.map_index))
        if self.row.turned and len(self._failed) == len(self.row.strikes):
            self._failed.clear()
            self._turn_list(task_instance)

    def _steps(self, try_number: int) -> Sequence[Step]:
        return dict(enumerate(self.row.tries, start=1)).get(try_number, ())

    def _do(self, step: Step, ti: Any) -> None:
        match step:
            case Strike():
                self.sandbox.inject(step.at, step.fault, times=step.times, retry_after=step.retry_after)
            case StoreDown():
                self._store_goes_down(step)
            case Down():
                self.api.go_down(step)
            case StrangerCalls():
                self._call_as_stranger(ti)
            case MemoryLost():
                ti.get_template_context()["task_state_store"].clear()

    def _call_as_stranger(self, ti: Any) -> None:
        phone = self.phone((ti.task_id, ti.map_index))
        names = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
        body = {
            "agent_id": AGENT,
            "parameters": [{"name": "customer_phone", "value": phone}],
            "idempotency_key": key_for_task(**names, agent_id=AGENT, recipient=phone),
        }
        url, headers = f"{self.sandbox.base_url}/v1/call", {"Authorization": f"Bearer {KEY}"}
        requests.post(url, json=body, headers=headers, timeout=60).raise_for_status()

    def _turn_list(self, ti: Any) -> None:
        """Leave the list as it is when the task that made it has run again and found another order."""
        self.phones[MAPPED].reverse()
        where = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": "people"}
        XComModel.set("return_value", self.told(MAPPED), **where, serialize=False)

    def posts(self, phone: str) -> int:
        """How often the provider asked the API for a call to this person."""
        wanted = {"name": "customer_phone", "value": phone}
        ours = (
            seen
            for seen in self.sandbox.requests
            if seen.headers["User-Agent"].startswith("airflow-provider")
        )
        return sum(seen.endpoint == CALL and wanted in seen.body["parameters"] for seen in ours)

    def story(self) -> str:
        """What the provider logged, for whoever reads a failed test."""
        return "\n".join(line for line in self.result.masked_log_text.splitlines() if " formant_" in line)

    def ends_of(self, task: TaskId) -> Ends:
        """How this task has to end."""
        if task not in self.struck:
            return UNTROUBLED
        stored = self.database is not None
        return self.row.ends(key_used=self.key_used, mapped=task[0] == MAPPED, stored=stored)

    def tasks_of(self, column: str) -> list[TaskId]:
        """The tasks of a column, one for each call."""
        return [(column, index) for index in range(3)] if column == MAPPED else [(column, -1)]


@contextmanager
def heard_by(listener: object) -> Iterator[None]:
    """Register a listener with Airflow for a while."""
    manager = get_listener_manager()
    manager.add_listener(listener)
    try:
        yield
    finally:
        manager.pm.unregister(listener)


Case = tuple[Row, bool, str]
Play = Callable[[Row, bool, str], Scene]
DATABASES = {"": nullcontext, SQLITE: sqlite_store, POSTGRES: postgres_database}


@contextmanager
def read_by(scene: Scene) -> Iterator[None]:
    """Let a scene read what is logged when a call is sent."""
    logger, handler = logging.getLogger("formant_provider.tasks.calls.placing"), logging.Handler()
    handler.emit = scene.emit  # type: ignore[method-assign] # a class would say no more
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Play a row, once for all tests that look at it."""
    with ExitStack() as opened:

        @cache
        def play(name: str, key_used: bool, store: str) -> Scene:
            (row,) = (row for row in IN_ENGINE if row.name == name)
            database = opened.enter_context(DATABASES[store]())
            scene = Scene(row, key_used=key_used, database=database)
            with scene.sandbox:
                scene.play(tmp_path_factory.mktemp("dags"))
                stats = requests.get(f"{scene.sandbox.base_url}/sandbox/stats", timeout=60).json()
            assert stats["faults"] == [], "not everything that was to go wrong did"
            assert not scene.is_kill_due, "the store was not killed"
            assert "error calling listener" not in scene.result.log_text
            return scene

        yield lambda row, key_used, store: play(row.name, key_used, store)


def cases_with(store: str, rows: Sequence[Row]) -> list[Case]:
    """Each row with a call store; of both answers of the vendor about keys only if they differ in the end."""
    cases = []
    for row in rows:
        kept, *others = row.key_answers
        ends = row.ends(key_used=kept, stored=True)
        cases += [(row, kept, store)]
        cases += [(row, used, store) for used in others if row.ends(key_used=used, stored=True) != ends]
    return cases


WITH_AND_WITHOUT = [row for row in IN_ENGINE if not row.needs_store]
CASES: list[Case] = [
    *((row, key_used, "") for row in WITH_AND_WITHOUT for key_used in row.key_answers),
    *cases_with(SQLITE, WITH_AND_WITHOUT),
    *cases_with(POSTGRES, [row for row in IN_ENGINE if row.needs_store or row.name in ON_POSTGRES]),
]


def named(row: Row, key_used: bool, store: str, *more: str) -> Any:
    """A case for pytest, with a name that a person can read."""
    words = [row.name, KEY_IS[key_used], *([f"store in {store}"] if store else []), *more]
    return pytest.param(row, key_used, store, *more, id="-".join(words))


@pytest.mark.parametrize(
    ("row", "key_used", "store", "column"),
    [named(*case, column) for case in CASES for column in case[0].columns],
)
def test_the_call_ends_as_promised(row: Row, key_used: bool, store: str, column: str, played: Play) -> None:
    """Whatever fails: rings, last state, tries, ids downstream and requests are those of the matrix."""
    scene = played(row, key_used, store)
    for task in scene.tasks_of(column):
        ends, result, phone = scene.ends_of(task), scene.result[task], scene.phone(task)
        assert scene.sandbox.rings[phone] == ends.rings, scene.story()
        assert (result.state, result.try_number) == (ends.state, ends.tries), scene.story()
        assert_ids(scene, task)
        same_person = [other for other in scene.tasks_of(column) if scene.phone(other) == phone]
        assert scene.posts(phone) <= sum(scene.ends_of(other).posts for other in same_person)
    assert scene.struck & set(scene.tasks_of(column))


def assert_ids(scene: Scene, task: TaskId) -> None:
    """The ids downstream are those of the person's one call, and there are none of a call nobody saw."""
    ends, xcoms = scene.ends_of(task), scene.result[task].xcoms
    if ends.state == "failed":
        told = [xcoms, xcoms["return_value"]]
        assert not any(each[name] for each in told for name in ("trace_id", "conversation_id"))
        return
    receipt = xcoms["return_value"]
    assert receipt["placement"] in ends.placement, scene.story()
    apart = (xcoms["trace_id"] or None, xcoms["conversation_id"] or None)
    assert apart == (receipt["trace_id"], receipt["conversation_id"])
    calls = [call for call in scene.sandbox.calls if call.customer_phone == scene.phone(task)]
    wanted = {
        "placed": [(call.trace_id, None) for call in calls],
        "found": [(call.trace_id, call.conversation_id) for call in calls],
        "unconfirmed": [(None, None)],
    }
    if scene.database is not None and receipt["conversation_id"] is None:  # found in the call store
        wanted["found"] = wanted["placed"]
    assert [(receipt["trace_id"], receipt["conversation_id"])] == wanted[receipt["placement"]]


@pytest.mark.parametrize(("row", "key_used", "store"), [named(*case) for case in CASES])
def test_nothing_private_is_left_behind(row: Row, key_used: bool, store: str, played: Play) -> None:
    """No failure brings a number, a parameter's value or the API key into log, stores, XCom or fields."""
    scene = played(row, key_used, store)
    log = scene.result.masked_log_text.splitlines()
    # At debug level Airflow logs its own traffic, orders to mask something among it.
    left = {"log": "\n".join(line for line in log if not line.startswith("debug "))}
    for column in row.columns:
        for task in scene.tasks_of(column):
            result = scene.result[task]
            left[str(task)] = f"{result.xcoms} {result.state_store} {result.rendered_fields}"
    if scene.database is not None:
        left["call store"] = contents_of(scene.database)
    numbers = [phone[1:] for phones in scene.phones.values() for phone in phones]
    for place, text in left.items():
        for private in (KEY, NAME, str(AMOUNT), *numbers):
            assert private not in text, place


@pytest.mark.parametrize(
    ("row", "key_used", "store"), [named(*case) for case in CASES if case[0].key_kept.state == "failed"]
)
def test_a_failed_task_says_whether_a_phone_may_have_rung(
    row: Row, key_used: bool, store: str, played: Play
) -> None:
    """A person who reads the log of a failed task learns whether somebody was called."""
    scene = played(row, key_used, store)
    ends = row.ends(key_used=key_used)
    tries = len(scene.struck) * ends.tries
    rung = ends.rings * tries
    assert scene.result.log_text.count("A call may have been placed") == rung
    assert scene.result.log_text.count("No call was placed") == tries - rung


def test_rows_are_told_apart_by_their_names() -> None:
    """No two rows have the same name."""
    assert len({row.name for row in ROWS}) == len(ROWS)
