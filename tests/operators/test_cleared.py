"""The rows of the failure matrix in which a run is cleared, through Airflow's task runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pendulum
import pytest
from engine.matrix import CLEARED, DEFERRABLE, MAPPED, Ends, Row

from formant_provider.calling_window import CallingWindow
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from support.clocks import Clock
from support.databases import Database
from support.stores import connections_with, sqlite_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

HOUR = 3600
NEW, FIRST, SECOND = "+14155550130", "+14155550120", "+14155550121"
LONDON, LONDON_WITH_A_ZERO = "+442079460123", "+4402079460123"


class World:
    """A run of a DAG with a task of one of the three kinds, and those whom it calls."""

    def __init__(self, column: str, sandbox: Sandbox, clock: Clock, database: Database | None = None) -> None:
        self.column, self.sandbox, self.clock = column, sandbox, clock
        self.options: Mapping[str, Any] = {}
        connections: Mapping[str, Any] = {"formant_default": sandbox.connection_uri()}
        if database is not None:
            connections = connections_with(database, sandbox, is_set_up=False)
        self.channel = FakeSupervisor(connections=connections)
        self._began = datetime.now(UTC)
        self._tries: dict[int, int] = {}

    @property
    def people(self) -> list[str]:
        """Whom the kind of task calls."""
        return [FIRST, SECOND] if self.column == MAPPED else [FIRST]

    def run(self, people: Sequence[str], rows: Sequence[int] | None = None) -> list[TaskRun]:
        """Run the task, or rows of it, as Airflow does at first and after every clear."""
        if self.column != MAPPED:
            return [self._run(self._operator(parameters={"customer_phone": people[0]}), -1)]
        chosen = range(len(people)) if rows is None else rows
        return [self._run(self._mapped(people), index) for index in chosen]

    def _operator(self, **fields: Any) -> Any:
        waits = {"deferrable": True, "wait_for_completion": True} if self.column == DEFERRABLE else {}
        return FormantCreateCallOperator(task_id="call", agent_id=456, retries=3, **waits, **fields)

    def _mapped(self, people: Sequence[str]) -> Any:
        with make_dag():
            partial = FormantCreateCallOperator.partial(
                task_id="call", agent_id=456, retries=3, **self.options
            )
            return partial.expand(parameters=[{"customer_phone": person} for person in people])

    def _run(self, operator: Any, index: int) -> TaskRun:
        self._tries[index] = self._tries.get(index, 0) + 1
        at = {"map_index": index, "try_number": self._tries[index], "logical_date": self._began}
        return run_task(operator, self.channel, clear_number=max(self._tries.values()) - 1, **at)


def grew(world: World, *, after_s: float = HOUR, limited: bool = False) -> list[TaskRun]:
    world.run([FIRST, SECOND])
    world.clock.lapse(after_s)
    new = world.run([NEW, FIRST, SECOND], rows=[0])
    assert placement_of(new[0]) == "placed"
    moved = []
    for row in (1, 2):
        if limited:
            world.sandbox.inject("POST /v1/call", Fault.RATE_LIMIT)
        moved += world.run([NEW, FIRST, SECOND], rows=[row])
    assert world.sandbox.rings.pop(NEW) == 1
    return moved


def turned(world: World) -> list[TaskRun]:
    world.run([FIRST, SECOND])
    world.clock.lapse(HOUR)
    return world.run([SECOND, FIRST])[::-1]


def cleared(world: World, *, after_s: float = HOUR, forgotten: bool = False) -> list[TaskRun]:
    world.run(world.people)
    world.clock.lapse(after_s)
    if forgotten:
        world.channel.state.clear()
    return world.run(world.people)


def one_person_twice(
    world: World, *, after_s: float, spellings: tuple[str, str] = (FIRST, FIRST)
) -> list[TaskRun]:
    world.run(spellings, rows=[0])
    world.clock.lapse(after_s)
    return world.run(spellings, rows=[1])


DAY_LATER, MONTH_LATER = 25 * HOUR, 25 * 24 * HOUR
STORIES: dict[str, Callable[[World], list[TaskRun]]] = {
    "the list grew: whoever moved to another row": grew,
    "the list grew, and whoever moved meets a 429 first": lambda it: grew(it, limited=True),
    "the list is in another order": turned,
    "the task's state entry was deleted": lambda it: cleared(it, forgotten=True),
    "25 hours later, and nothing else": lambda it: cleared(it, after_s=DAY_LATER),
    "25 hours later, and the task's state entry was deleted": (
        lambda it: cleared(it, after_s=DAY_LATER, forgotten=True)
    ),
    "25 hours later, and the list grew: whoever moved to another row": (
        lambda it: grew(it, after_s=DAY_LATER)
    ),
    "25 days later, and nothing else": lambda it: cleared(it, after_s=MONTH_LATER),
    "25 days later, and the task's state entry was deleted": (
        lambda it: cleared(it, after_s=MONTH_LATER, forgotten=True)
    ),
    "25 days later, and the list grew: whoever moved to another row": (
        lambda it: grew(it, after_s=MONTH_LATER)
    ),
    "one person in two rows, of which the second starts 25 hours later": (
        lambda it: one_person_twice(it, after_s=DAY_LATER)
    ),
    "one person in two rows, in two spellings": (
        lambda it: one_person_twice(it, after_s=HOUR, spellings=(LONDON, LONDON_WITH_A_ZERO))
    ),
}


def receipt_of(run: TaskRun) -> dict[str, Any]:
    if run.state == "deferred":
        return dict(run.trigger_kwargs["receipt"])
    return dict(run.xcoms["return_value"])


def placement_of(run: TaskRun) -> str:
    return str(receipt_of(run)["placement"])


CASES = [pytest.param(row, column, id=f"{row.name}-{column}") for row in CLEARED for column in row.columns]


@needs_state_store
@pytest.mark.parametrize("key_used", [False, True], ids=["key kept", "key used"])
@pytest.mark.parametrize(("row", "column"), CASES)
def test_a_cleared_run_ends_as_promised(
    row: Row, column: str, key_used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has changed: everybody is called once, and the ids downstream are those of their own call."""
    ends = row.ends(key_used=key_used, mapped=column == MAPPED)
    with Sandbox(speed=0, rate_limit=None, failed_request_uses_key=key_used) as sandbox:
        assert_story(World(column, sandbox, Clock(sandbox, monkeypatch)), row, ends)


@pytest.mark.parametrize(("row", "column"), CASES)
def test_a_cleared_run_with_a_call_store_ends_as_promised(
    row: Row, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every Airflow: everybody is called once, and the ids are there, whatever has changed."""
    with sqlite_store() as database, Sandbox(speed=0, rate_limit=None) as sandbox:
        world = World(column, sandbox, Clock(sandbox, monkeypatch), database)
        assert_story(world, row, row.ends(key_used=False, stored=True))


def assert_story(world: World, row: Row, ends: Ends) -> None:
    """Play it, and look at what came of it."""
    runs = STORIES[row.name](world)
    assert_ends(runs, ends, world.sandbox)
    assert set(world.sandbox.rings.values()) == {1}, row.name
    assert all(posts <= ends.posts for posts in posts_by_person(world.sandbox).values())


def assert_ends(runs: list[TaskRun], ends: Ends, sandbox: Sandbox) -> None:
    people = [person for person in (LONDON, FIRST, SECOND) if person in sandbox.rings]
    for run, person in zip(runs, people, strict=True):
        receipt = receipt_of(run)
        assert receipt["placement"] in ends.placement, run.masked_log_text
        (own,) = (call for call in sandbox.calls if call.customer_phone == person)
        assert receipt["trace_id"] == (own.trace_id if ends.placement != ("unconfirmed",) else None)


def posts_by_person(sandbox: Sandbox) -> dict[str, int]:
    posts: dict[str, int] = {}
    for seen in sandbox.requests:
        if seen.method == "POST":
            phone = seen.body["parameters"][0]["value"]
            posts[phone] = posts.get(phone, 0) + 1
    return posts


def test_every_row_has_its_story() -> None:
    """What the page promises of cleared runs is played here, all of it."""
    assert set(STORIES) == {row.name for row in CLEARED}


@needs_state_store
@pytest.mark.parametrize(
    "held_back", [{"suppress": [SECOND]}, {"calling_window": "closed", "on_closed": "skip"}]
)
def test_who_was_called_and_moved_is_not_said_to_be_skipped(
    held_back: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not allowed in a cleared run, a row looks first: what another may have placed is unconfirmed."""
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        world = World(MAPPED, sandbox, Clock(sandbox, monkeypatch))
        world.run([FIRST, SECOND])
        world.clock.lapse(HOUR)
        if "calling_window" in held_back:
            closed = f"{pendulum.now('UTC').add(hours=2):%H:%M}", f"{pendulum.now('UTC').add(hours=3):%H:%M}"
            held_back = {**held_back, "calling_window": CallingWindow(*closed, timezone="UTC")}
        world.options = held_back
        new, _, moved = world.run([NEW, FIRST, SECOND])
        assert moved.xcoms["return_value"]["placement"] == "unconfirmed"
        assert (moved.state, sandbox.rings[SECOND]) == ("success", 1)
        assert new.state == ("skipped" if "calling_window" in held_back else "success")


@needs_state_store
def test_two_rows_with_names_of_their_own_never_take_each_other_s_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One person, two calls on purpose, the rows swapped before a clear: no row hands on the other's ids."""
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        world = World(MAPPED, sandbox, Clock(sandbox, monkeypatch))
        rows = [{"parameters": {"customer_phone": FIRST}, "idempotency_key": name} for name in ("a", "b")]
        own: dict[str, str] = {}
        for order in (rows, rows[::-1]):
            with make_dag():
                partial = FormantCreateCallOperator.partial(task_id="call", agent_id=456, retries=3)
                mapped = partial.expand_kwargs(order)
            for index, row in enumerate(order):
                trace_id = receipt_of(world._run(mapped, index))["trace_id"]
                assert trace_id in {None, own.setdefault(str(row["idempotency_key"]), trace_id)}
            world.clock.lapse(HOUR)
        assert sandbox.rings == {FIRST: 2}


@needs_state_store
def test_in_a_loop_every_iteration_is_a_call_of_its_own(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three iterations (Airflow 3.4) are three calls; each hands on the ids of its own, after a clear too."""

    class Loop:
        index = 0

    class InALoop(FormantCreateCallOperator):
        def execute(self, context: Any) -> dict[str, Any]:
            context["loop"] = Loop
            return super().execute(context)

    channel = FakeSupervisor(connections={"formant_default": sandbox.connection_uri()})
    clock, began, traces = Clock(sandbox, monkeypatch), datetime.now(UTC), {}
    for try_number in (1, 2):
        for Loop.index in range(3):
            channel.state.clear()  # a store of its own for each iteration
            operator = InALoop(task_id="call", agent_id=456, parameters={"customer_phone": FIRST}, retries=3)
            run = run_task(operator, channel, try_number=try_number, logical_date=began)
            trace_id = receipt_of(run)["trace_id"]
            assert trace_id is None or traces.setdefault(Loop.index, trace_id) == trace_id
            clock.lapse(HOUR)
    assert sandbox.rings == {FIRST: 3}
    assert list(traces.values()) == [call.trace_id for call in sandbox.calls]
