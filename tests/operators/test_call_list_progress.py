"""A call list tells its store how it stands, for whoever looks at the calls page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from formant_provider.store.list_progress import ListProgress, progress_of_lists
from formant_provider.store.store import to_ms
from support.databases import Database
from support.stores import SECRET, connections_with, open_up, sqlite_store
from support.supervisor import FakeSupervisor
from support.task_run import run_task

NUMBERS = [f"+14155550{at}" for at in range(110, 115)]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key="key-1234567", call_speed=200, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def database() -> Iterator[Database]:
    with sqlite_store() as database:
        yield database


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox, is_set_up=False))


def a_list(**fields: Any) -> FormantCallListOperator:
    rows = [{"customer_phone": number} for number in (*NUMBERS, "nobody")]
    return FormantCallListOperator(
        task_id="list", calls=rows, agent_id=456, poll_interval=0.2, reference="june", **fields
    )


def told(database: Database) -> ListProgress:
    """What the one list has told last."""
    ago, ahead = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
    times = {"since": ago, "open_since": ago, "until": ahead}
    with open_up(database.engine(), "the test", SECRET).reading() as conn:
        (only,) = progress_of_lists(conn, **times, dag_ids=["test_dag"], most=9)
    return only


def test_a_list_tells_its_store_how_it_stands(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """While it waits, until when; at its end, how it ended and what came of its rows."""
    channel.variables["pause"] = "true"
    held = run_task(a_list(hold_variable="pause"), channel)
    assert held.state == "deferred", held.log_text
    waiting = told(database)
    assert (waiting.status, waiting.row_count, waiting.waiting, waiting.rejected) == (None, 6, 5, 1)
    assert waiting.resumes_at is not None
    assert waiting.resumes_at > waiting.told_at
    channel.variables["pause"] = "false"
    event = {"give_up_at": held.trigger_kwargs["give_up_at"]}
    assert run_task(a_list(hold_variable="pause"), channel, resume_event=event).state == "success"
    ended = told(database)
    assert (ended.status, ended.reached, ended.waiting, ended.rejected) == ("finished", 5, 0, 1)
    assert (ended.resumes_at, ended.reference, ended.map_index) == (None, "june", -1)
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)


def test_a_list_that_waits_for_its_end_says_when_that_is(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Its timeout may be up before there is something to do: then it goes on, and ends."""
    channel.variables["pause"] = "true"
    held = run_task(a_list(hold_variable="pause", timeout=5), channel)
    ends_at = datetime.fromisoformat(held.trigger_kwargs["give_up_at"])
    assert told(database).resumes_at == to_ms(ends_at)
    assert sandbox.rings == {}


def test_a_list_goes_on_where_it_cannot_be_told(
    database: Database, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """What only people look at ends no list: there is a warning, and everybody is called once."""
    with database.engine().begin() as conn:
        conn.execute(text("ALTER TABLE formant_lists RENAME TO gone"))
    run = run_task(a_list(), channel)
    assert run.state == "success", run.log_text
    assert "could not be told how the list stands" in run.log_text
    assert sandbox.rings == dict.fromkeys(NUMBERS, 1)
