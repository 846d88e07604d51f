"""A report takes what webhooks have told from the call store, and asks the API for the rest alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import WAIT, a_batch_call, asked, read_report

from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.batches import Attempt
from formant_provider.sandbox.faults import DETAIL, LIST
from formant_provider.store.store import Store
from support.databases import Database
from support.stores import connections_with, new_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task, run_trigger
from support.webhook_events import OWN_NUMBER, store_events, webhook_of

ENDINGS = ("20", "01", "02", "03", "05", "21")
# What a test says of reports, and not of databases.
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
NUMBERS = [f"+141555501{ending}" for ending in ENDINGS]
FIELDS = (
    "conversation_id",
    "trace_id",
    "started_at",
    "ended_at",
    "duration_seconds",
    "failure_reason",
    "results",
)


@dataclass
class World:
    """A batch call that is over, and is reported on as often as a test likes."""

    sandbox: Sandbox
    channel: FakeSupervisor
    store: Store
    path: Path
    numbers: list[str]

    def __post_init__(self) -> None:
        contacts = [{"customer_phone": number} for number in self.numbers]
        options: dict[str, Any] = {"results_uri": str(self.path), "results_fields": FIELDS, **WAIT}
        self.task = a_batch_call(contacts, deferrable=True, keep_recipients=True, **options)
        run = run_task(self.task, self.channel)
        self.placed_at: str = run.trigger_kwargs["receipt"]["placed_at"]
        self.event = run_trigger(run.deferral, self.channel).event

    def attempts(self, row: int = 0) -> list[Attempt]:
        (batch,) = self.sandbox.batches
        return [batch.attempt(row, plan) for plan in batch.planned_attempts(row)]

    def tell(self, *events: dict[str, Any]) -> None:
        store_events(self.store, *events, received_at=datetime.now(UTC))

    def tell_all(self, **changed: Any) -> None:
        rows = range(len(self.numbers))
        self.tell(*(webhook_of(attempt, **changed) for row in rows for attempt in self.attempts(row)))

    def report(self) -> TaskRun:
        self.before = asked(self.sandbox, LIST), asked(self.sandbox, DETAIL)
        run = run_task(self.task, self.channel, resume_event=self.event)
        assert run.state == "success", run.log_text
        return run

    @property
    def requests(self) -> tuple[int, int]:
        """How many lists and details the last report has read."""
        return asked(self.sandbox, LIST) - self.before[0], asked(self.sandbox, DETAIL) - self.before[1]

    def ids(self) -> list[str | None]:
        return [row["conversation_id"] for row in read_report(self.path)]


@pytest.fixture
def make_world(make_sandbox: Any, database: Database, tmp_path: Path) -> Iterator[Any]:
    def make(numbers: list[str] = NUMBERS, name: str = "r.jsonl", **settings: Any) -> World:
        sandbox = make_sandbox(**settings)
        channel = FakeSupervisor(connections_with(database, sandbox))
        return World(sandbox, channel, new_store(database), tmp_path / name, numbers)

    return make


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv.gz"])
def test_events_make_the_same_file_without_a_request(name: str, make_world: Any) -> None:
    """Byte for byte, with all columns; the log says how many recipients were told by events."""
    world = make_world(name=name, trace_id_in_detail=True)
    first = world.report()
    assert world.requests == (1, len(NUMBERS))
    before = world.path.read_bytes()
    world.tell_all()
    second = world.report()
    assert (world.requests, world.path.read_bytes()) == ((0, 0), before)
    assert second.xcoms["return_value"] == first.xcoms["return_value"]
    told = f"Of {len(NUMBERS)} recipients webhooks had told all; 0 conversations were read in detail."
    assert told in second.log_text
    assert told not in first.log_text


@ON_SQLITE
def test_who_is_not_told_of_is_asked_for(make_world: Any) -> None:
    """One event is missing, and one lacks its results: the list is read, and two details."""
    world = make_world()
    world.report()
    before = world.path.read_bytes()
    world.tell(*(webhook_of(world.attempts(row)[0]) for row in range(1, len(NUMBERS) - 1)))
    world.tell(webhook_of(world.attempts(len(NUMBERS) - 1)[0], results=None))
    run = world.report()
    assert (world.requests, world.path.read_bytes()) == ((1, 2), before)
    assert "Of 4 recipients webhooks had told all; 2 conversations were read in detail." in run.log_text


@ON_SQLITE
@pytest.mark.parametrize("is_final", [False, None])
def test_a_redial_whose_event_was_lost_is_found_in_the_list(is_final: bool | None, make_world: Any) -> None:
    """An unsuccessful attempt that does not say that it is the last one ends nothing."""
    world = make_world([NUMBERS[1]], platform_redials=1)
    first, second = world.attempts()
    world.tell(webhook_of(first, retry={"attempt_number": 1, "is_final_attempt": is_final}))
    world.report()
    assert (world.ids(), world.requests) == ([second.conversation_id], (1, 1))


@ON_SQLITE
def test_a_redial_counts_whatever_the_order_of_the_events(make_world: Any) -> None:
    """The newest attempt is the outcome, as it is when the list is read."""
    world = make_world([NUMBERS[1]], platform_redials=1)
    world.report()
    before = world.path.read_bytes()
    first, second = world.attempts()
    world.tell(webhook_of(second))
    world.tell(webhook_of(first, retry={"attempt_number": 1, "is_final_attempt": False}))
    world.report()
    assert (world.requests, world.path.read_bytes()) == ((0, 0), before)


@ON_SQLITE
def test_calls_from_recipients_are_nobodys_outcome(make_world: Any) -> None:
    """A recipient has called back: the list has their number for it, and the event says who was called."""
    world = make_world([*NUMBERS[:2], NUMBERS[5]])
    world.sandbox.advance(3600)
    called_back = world.sandbox.receive(NUMBERS[1])
    world.sandbox.advance(3600)
    world.tell(*(webhook_of(world.attempts(row)[0]) for row in (0, 1)))
    world.tell(webhook_of(called_back, to_phone=OWN_NUMBER, from_phone=NUMBERS[1]))
    world.report()
    assert world.ids() == [world.attempts(row)[0].conversation_id for row in range(3)]
    assert world.requests == (1, 1)


@ON_SQLITE
def test_events_of_other_agents_and_of_earlier_calls_are_not_taken(make_world: Any) -> None:
    """Though they are to the same people, and come after the batch call began."""
    world = make_world([NUMBERS[0]])
    (attempt,) = world.attempts()
    earlier = (attempt.starts_at - timedelta(hours=1)).isoformat()
    world.tell(
        webhook_of(attempt, event_id="a", conversation_id="other agent", agent_id=123),
        webhook_of(attempt, event_id="b", conversation_id="earlier", started_at=earlier),
    )
    world.report()
    assert (world.ids(), world.requests) == ([attempt.conversation_id], (1, 1))


@ON_SQLITE
def test_the_end_of_an_earlier_call_does_not_stand_for_one_whose_event_was_lost(make_world: Any) -> None:
    """Though it began so shortly before that by other clocks it may be of this batch call: the list tells."""
    world = make_world([NUMBERS[0]])
    (attempt,) = world.attempts()
    earlier = datetime.fromisoformat(world.placed_at) - timedelta(seconds=40)
    world.tell(webhook_of(attempt, conversation_id="earlier", started_at=earlier.isoformat()))
    world.report()
    assert (world.ids(), world.requests) == ([attempt.conversation_id], (1, 1))


@ON_SQLITE
def test_a_store_that_cannot_be_read_hinders_no_report(make_world: Any) -> None:
    """The API is asked as without it, and the log says so once."""
    world = make_world()
    world.report()
    before = world.path.read_bytes()
    world.tell_all()
    world.channel.connections["calls_db"] = {"conn_type": "sqlite", "host": "/nowhere/calls.db"}
    run = world.report()
    assert (world.requests, world.path.read_bytes()) == ((1, len(NUMBERS)), before)
    assert run.log_text.count("What webhooks have told is not known, so the API is asked.") == 1


@ON_SQLITE
def test_nothing_private_of_an_event_is_logged(make_world: Any) -> None:
    """Neither numbers nor results."""
    world = make_world()
    world.tell_all()
    run = world.report()
    assert not [text for text in ("41555501", "payment_confirmed") if text in run.log_text]
