"""An export takes what webhooks have told from the call store, and asks the API for the rest alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS
from formant_provider.operators.export import FormantExportConversationsOperator
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.calls import Attempt
from formant_provider.store.store import Store
from formant_provider.tasks.storage.tables import COLUMNS, DEFAULT_COLUMNS
from support.databases import Database
from support.stores import connections_with, new_store
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.webhook_events import OWN_NUMBER, store_events, webhook_of

BEGAN = datetime(2025, 12, 31, tzinfo=UTC)
# What a test says of exports, and not of databases.
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
NUMBERS = [f"+141555501{ending}" for ending in ("00", "01", "03", "21")]


@pytest.fixture
def sandbox() -> Any:
    with Sandbox(
        api_key="key-1234567", speed=0, start_at=BEGAN - timedelta(days=1), rate_limit=None
    ) as sandbox:
        yield sandbox


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


@pytest.fixture
def calls(sandbox: Sandbox) -> Sequence[Attempt]:
    for hour, number in enumerate(NUMBERS):
        sandbox.place(number, scheduled_for=BEGAN + timedelta(hours=hour, microseconds=123456))
    sandbox.advance(7 * 86400)
    return sandbox.calls


def export(channel: FakeSupervisor, path: Path, fields: Sequence[str] = DEFAULT_COLUMNS) -> TaskRun:
    operator = FormantExportConversationsOperator(
        task_id="export", agent_id=456, output_uri=str(path), fields=fields, recipients="full"
    )
    run = run_task(operator, channel)
    assert run.state == "success", run.log_text
    return run


def requests(sandbox: Sandbox) -> tuple[int, int]:
    asked = [seen.endpoint for seen in sandbox.requests]
    return asked.count(LIST_CONVERSATIONS), asked.count(GET_CONVERSATION)


def test_events_make_the_same_file_without_details(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store, calls: Sequence[Attempt], tmp_path: Path
) -> None:
    """Byte for byte; the list says which conversations there are, and the log how many were told."""
    plain = export(channel, tmp_path / "plain.jsonl")
    assert requests(sandbox) == (1, 4)
    assert "webhooks had told" not in plain.log_text
    store_events(store, *map(webhook_of, calls))
    told = export(channel, tmp_path / "told.jsonl")
    assert requests(sandbox) == (2, 4)
    assert (tmp_path / "told.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
    assert "Of 4 of them webhooks had told all; 0 were read in detail." in told.log_text


@ON_SQLITE
def test_what_events_do_not_tell_is_read_in_detail(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store, calls: Sequence[Attempt], tmp_path: Path
) -> None:
    """No event, one without results, one of another attempt under the same id, one of a call that came in."""
    export(channel, tmp_path / "plain.jsonl")
    store_events(
        store,
        webhook_of(calls[0], results=None),
        webhook_of(calls[1], started_at=BEGAN.isoformat()),
        webhook_of(calls[2], to_phone=OWN_NUMBER, from_phone=NUMBERS[2]),
    )
    export(channel, tmp_path / "told.jsonl")
    assert requests(sandbox) == (2, 8)
    assert (tmp_path / "told.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


@ON_SQLITE
def test_times_that_an_event_rounds_are_those_of_the_list(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store, calls: Sequence[Attempt], tmp_path: Path
) -> None:
    """The vendor's sample of an event has no fraction of a second."""
    export(channel, tmp_path / "plain.jsonl")
    whole = [
        {
            "started_at": each.starts_at.isoformat("T", "seconds"),
            "ended_at": each.ends_at.isoformat("T", "seconds"),
        }
        for each in calls
    ]
    store_events(store, *(webhook_of(each, **times) for each, times in zip(calls, whole, strict=True)))
    export(channel, tmp_path / "told.jsonl")
    assert requests(sandbox) == (2, 4)
    assert (tmp_path / "told.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


@ON_SQLITE
def test_a_transcript_is_read_in_detail_unless_an_event_has_it_in_that_form(
    sandbox: Sandbox, channel: FakeSupervisor, store: Store, calls: Sequence[Attempt], tmp_path: Path
) -> None:
    """As text it would be of two forms in one file."""
    export(channel, tmp_path / "plain.jsonl", tuple(COLUMNS))
    store_events(store, *(webhook_of(each, transcript="BOT: Hello") for each in calls))
    export(channel, tmp_path / "told.jsonl", tuple(COLUMNS))
    assert requests(sandbox) == (2, 8)
    assert (tmp_path / "told.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()
