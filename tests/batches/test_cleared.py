"""Batch calls whose run is cleared while something has changed: every one uploaded once, and found again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH
from support.clocks import Clock
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

HOUR = 3600
HOURS = pytest.mark.parametrize("hours", [1, 25])


def a_list(name: str, *endings: str) -> dict[str, Any]:
    return {"name": name, "contacts": [{"customer_phone": f"+1415555{ending}"} for ending in endings]}


DELHI, MUMBAI, AGRA = a_list("Delhi", "0120", "0122"), a_list("Mumbai", "0121"), a_list("Agra", "0130")


class World:
    """One DAG run, with a task that places one batch call, or one for each row of a list."""

    def __init__(self, sandbox: Sandbox, clock: Clock) -> None:
        self.sandbox, self.clock = sandbox, clock
        self.channel = FakeSupervisor(connections={"formant_default": sandbox.connection_uri()})
        self._began = datetime.now(UTC)
        self._tries: dict[int, int] = {}

    def run(self, rows: Sequence[dict[str, Any]], only: Sequence[int] | None = None) -> list[TaskRun]:
        """Run rows of the mapped task, at first or after a clear."""
        with make_dag():
            partial = FormantCreateBatchCallOperator.partial(
                task_id="batch_call", agent_id=456, retries=3, lookup_timeout=0
            )
            mapped = partial.expand_kwargs(list(rows))
        return [self._run(mapped, row) for row in only or range(len(rows))]

    def run_plain(self, **options: Any) -> TaskRun:
        """Run a task that places one batch call."""
        options = {
            "task_id": "batch_call",
            "agent_id": 456,
            "retries": 3,
            "lookup_timeout": 0,
            **DELHI,
            **options,
        }
        return self._run(FormantCreateBatchCallOperator(**options), -1)

    def _run(self, operator: Any, index: int) -> TaskRun:
        self._tries[index] = self._tries.get(index, 0) + 1
        at = {"map_index": index, "try_number": self._tries[index], "logical_date": self._began}
        return run_task(operator, self.channel, clear_number=max(self._tries.values()) - 1, **at)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        yield World(sandbox, Clock(sandbox, monkeypatch))


def assert_once(world: World, *lists: dict[str, Any]) -> None:
    """Each list was uploaded once, and each of its people is called once."""
    numbers = [row["customer_phone"] for each in lists for row in each["contacts"]]
    assert world.sandbox.rings == dict.fromkeys(numbers, 1)
    assert len(world.sandbox.batches) == len(lists)


def assert_own(runs: Sequence[TaskRun], lists: Sequence[dict[str, Any]], sandbox: Sandbox, how: str) -> None:
    """Each row hands on the id of the batch call with its own list."""
    for run, each in zip(runs, lists, strict=True):
        assert run.state == "success", run.masked_log_text
        receipt = run.xcoms["return_value"]
        (own,) = (batch for batch in sandbox.batches if batch.name.startswith(each["name"]))
        assert (receipt["placement"], receipt["batch_id"]) == (how, own.batch_id)


@HOURS
@needs_state_store
def test_a_list_that_grew_uploads_what_is_new_and_nothing_else(hours: int, world: World) -> None:
    """Rows that moved find their batch call, however late; the new one is placed."""
    world.run([DELHI, MUMBAI])
    world.clock.lapse(hours * HOUR)
    new, *moved = world.run([AGRA, DELHI, MUMBAI])
    assert_once(world, DELHI, MUMBAI, AGRA)
    assert_own([new], [AGRA], world.sandbox, "placed")
    assert_own(moved, [DELHI, MUMBAI], world.sandbox, "found")


@HOURS
@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1)])
def test_a_list_in_another_order_refuses_nobody(order: tuple[int, ...], hours: int, world: World) -> None:
    """What rows announced before the clear is stale: each finds its own batch call."""
    rows = [DELHI, MUMBAI, AGRA]
    world.run(rows)
    world.clock.lapse(hours * HOUR)
    turned = [rows[place] for place in order]
    assert_own(world.run(turned), turned, world.sandbox, "found")
    assert_once(world, *rows)


@HOURS
@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
def test_a_deleted_state_entry_uploads_nothing_again(mapped: bool, hours: int, world: World) -> None:
    """The batch call is found by the marker in its name."""
    first = world.run([DELHI])[0] if mapped else world.run_plain()
    world.channel.state.clear()
    world.clock.lapse(hours * HOUR)
    again = world.run([DELHI])[0] if mapped else world.run_plain()
    assert_once(world, DELHI)
    assert first.xcoms["return_value"]["placement"] == "placed"
    assert_own([again], [DELHI], world.sandbox, "found")


def test_a_deleted_state_entry_whose_batch_call_is_not_in_the_list_is_parked(world: World) -> None:
    """It may have been uploaded, and the list may lag: nothing is sent, and the log says what to check."""
    world.sandbox.inject(BATCH, Fault.ERROR_503_BEFORE)
    assert world.run_plain().state == "failed"
    world.channel.state.clear()
    again = world.run_plain()
    assert (again.state, world.sandbox.rings) == ("failed", {})
    assert "Look in the FormantAI dashboard" in again.log_text


@needs_state_store
def test_a_first_try_that_sent_nothing_leaves_no_doubt(world: World) -> None:
    """Contacts that were corrected are uploaded by a clear, days later too."""
    wrong = [{"customer_phone": "4155550120"}]
    assert world.run_plain(contacts=wrong).state == "failed"
    world.clock.lapse(48 * HOUR)
    assert_own([world.run_plain()], [DELHI], world.sandbox, "placed")


@pytest.mark.parametrize("hours", [0, 25])
def test_two_rows_of_one_name_are_refused_when_their_contacts_differ(hours: int, world: World) -> None:
    """Otherwise the second would take the first one's batch call for its own, and its people be forgotten."""
    twins = [DELHI, {**MUMBAI, "name": "Delhi"}]
    first = world.run(twins, only=[0])
    world.clock.lapse(hours * HOUR)
    second = world.run(twins, only=[1])
    assert [run.state for run in (*first, *second)] == ["success", "failed"]
    assert "is the same in another row of this mapped task" in second[0].log_text
    assert_once(world, DELHI)


@pytest.mark.parametrize("hours", [0, 25])
def test_two_rows_of_one_name_and_the_same_contacts_are_one_batch_call(hours: int, world: World) -> None:
    """Everybody in it is called once."""
    runs = world.run([DELHI, DELHI], only=[0])
    world.clock.lapse(hours * HOUR)
    runs += world.run([DELHI, DELHI], only=[1])
    assert_once(world, DELHI)
    assert_own(runs[1:], [DELHI], world.sandbox, "found")


def test_one_person_in_two_spellings_is_called_once(world: World) -> None:
    """Within a batch call as well the second is a duplicate."""
    numbers = ("+442079460123", "+4402079460123")
    contacts = [{"customer_phone": number} for number in numbers]
    run = world.run_plain(contacts=contacts, invalid_rows="reject")
    assert run.xcoms["return_value"]["contacts"]["by_reason"] == {"duplicate": 1}
    assert world.sandbox.rings == {numbers[0]: 1}


def test_in_a_loop_every_iteration_is_a_batch_call_of_its_own(world: World) -> None:
    """Three iterations (Airflow 3.4) are three uploads; a clear finds each of them again."""

    class Loop:
        index = 0

    class InALoop(FormantCreateBatchCallOperator):
        def execute(self, context: Any) -> dict[str, Any]:
            context["loop"] = Loop
            return super().execute(context)

    began, ids = datetime.now(UTC), {}
    for try_number in (1, 2):
        for Loop.index in range(3):
            world.channel.state.clear()  # a store of its own for each iteration
            operator = InALoop(task_id="batch_call", agent_id=456, retries=3, lookup_timeout=0, **DELHI)
            run = run_task(operator, world.channel, try_number=try_number, logical_date=began)
            batch_id = run.xcoms["return_value"]["batch_id"]
            assert ids.setdefault(Loop.index, batch_id) == batch_id
            world.clock.lapse(HOUR)
    assert list(ids.values()) == [batch.batch_id for batch in world.sandbox.batches]
