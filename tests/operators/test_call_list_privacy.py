"""What is private of a list stays private: searched for in everything that its task leaves behind."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.attempts import Attempts
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.list_rows import number
from support.private import search
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store

pytestmark = needs_state_store
KEY = "key-1234567"
REACHED, BUSY = number(110), number(102)
ROWS = [
    {
        "customer_phone": phone,
        "reference": f"loan-private-{phone[-4:]}",
        "customer_name": "Rahul-the-private",
        "due_amount": "2900071",
        "metadata": f"meta-private of {phone}",
        "idempotency_key": f"name-private of {phone}",
        "city": "Private-city",
    }
    for phone in (REACHED, BUSY)
]
ODD = [
    {"customer_phone": "nobody-private", "reference": "loan-private-1"},
    {"customer_phone": number(111), "scheduled_for": "day-private"},
    {"customer_phone": number(112), "agent_id": "agent-private"},
]
# No part of a number that is long enough to be one, and nothing of its row.
PRIVATE = (KEY, "4155550", "-private", "Private-", "2900071", "payment_confirmed")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over in a moment."""
    with Sandbox(api_key=KEY, call_speed=3000, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def a_list(**fields: Any) -> FormantCallListOperator:
    fields = {"calls": ROWS, "agent_id": 456, "poll_interval": 0.1, "retries": 2, **fields}
    return FormantCallListOperator(task_id="list", **fields)


def assert_private(run: TaskRun, private: tuple[str, ...] = PRIVATE) -> None:
    search(run, private)


def test_a_list_leaves_nothing_private(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """In no log line, XCom, rendered field or state entry: neither of rows, nor of what was said."""
    run = run_task(
        a_list(
            attempts=Attempts(2, {"busy": 6}),
            results_uri=str(tmp_path / "results.csv"),
            progress_uri=str(tmp_path / "progress.jsonl"),
            summary_uri=str(tmp_path / "page.html"),
            result_columns={"outcome": "results.intent"},
            keep_columns=["city"],
        ),
        channel,
    )
    assert run.state == "success", run.log_text
    assert sandbox.rings == {REACHED: 1, BUSY: 2}
    assert run.state_store
    assert_private(run)
    assert run.rendered_fields["calls"] == [dict.fromkeys(ROWS[0], "***")] * 2
    assert "payment_confirmed" in (tmp_path / "results.csv").read_text()
    assert not any(secret in (tmp_path / "page.html").read_text() for secret in PRIVATE)


def test_rows_that_cannot_be_called_leave_nothing_private(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The log says how many there are, and which column is wrong; not what is in it."""
    run = run_task(a_list(calls=[*ROWS, *ODD]), channel)
    assert run.state == "success", run.log_text
    assert "scheduled_for" in run.log_text
    assert len(sandbox.rings) == 2
    assert_private(run)


def test_a_list_that_is_refused_leaves_nothing_private(channel: FakeSupervisor) -> None:
    """Its rows are named in the error by their places."""
    run = run_task(a_list(calls=[*ROWS, *ODD], invalid_rows="fail"), channel)
    assert run.state == "failed"
    assert_private(run)
    run = run_task(a_list(calls=ODD), channel)
    assert run.state == "failed"
    assert_private(run)


def test_a_list_whose_key_is_refused_leaves_nothing_private(sandbox: Sandbox) -> None:
    """Neither the key nor a number is in the error, nor in what it came from."""
    wrong = sandbox.connection_uri().replace(KEY, "wrong-private-key")
    run = run_task(a_list(), FakeSupervisor(connections={"formant_default": wrong}))
    assert run.state == "failed", run.log_text
    assert "401" in str(run.error)
    assert_private(run)


def test_what_the_api_repeats_of_a_row_is_not_told(tmp_path: Path) -> None:
    """A careless answer holds the whole request; the results say how it was refused."""

    def repeat(seen: Seen) -> Answer:
        error = {"type": "invalid_request", "message": f"bad: {seen.raw_body.decode()}"}
        return Answer(400, {"error": error} if seen.method == "POST" else {"data": []})

    with ScriptedServer(repeat) as server:
        uri = f"formant://http://:{KEY}@{server.base_url.removeprefix('http://')}"
        channel = FakeSupervisor(connections={"formant_default": uri})
        run = run_task(a_list(results_uri=str(tmp_path / "results.csv")), channel)
    assert len(server.seen) == 2
    assert_private(run)
    told = (tmp_path / "results.csv").read_text()
    assert "invalid_request" in told
    assert "Rahul" not in told


def test_lost_answers_leave_nothing_private(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Errors that pass are in the log as well."""
    sandbox.inject(CALL, Fault.DROP_AFTER)
    sandbox.inject(CALL, Fault.GARBAGE)
    run = run_task(a_list(), channel)
    assert run.state == "success", run.log_text
    assert_private(run)


def test_a_list_that_waits_leaves_nothing_private(channel: FakeSupervisor, folder: Path) -> None:
    """Neither in its trigger, nor in what the server keeps of the deferral, nor on this machine."""
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    rows = [ROWS[0], {**ROWS[1], "scheduled_for": later}]
    run = run_task(a_list(calls=rows), channel)
    assert run.state == "deferred", run.log_text
    assert run.trigger_kwargs.keys() == {"until", "give_up_at", "doubt_since"}
    assert_private(run)
    assert list(folder.iterdir()) == []
    event = {"give_up_at": run.trigger_kwargs["give_up_at"]}
    again = run_task(a_list(calls=rows), channel, resume_event=event)
    assert again.state == "deferred"
    assert_private(again)


def test_a_dry_run_leaves_nothing_private(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """What would be said is not said here either."""
    run = run_task(a_list(calls=[*ROWS, *ODD], dry_run=True), channel)
    assert run.state == "success", run.log_text
    assert not sandbox.requests
    assert_private(run)


def test_state_entries_hold_ids_alone(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What the server keeps: keys that are derived, and the ids of conversations."""
    run = run_task(a_list(), channel)
    assert run.state == "success", run.log_text
    texts = json.dumps(run.state_store)
    ids = {call.trace_id for call in sandbox.calls}
    assert all(trace_id in texts for trace_id in ids), "it is not empty"
    assert_private(run)


def test_nothing_is_left_on_this_machine(
    sandbox: Sandbox, channel: FakeSupervisor, folder: Path, tmp_path: Path
) -> None:
    """The board of a list is gone with its wake, also when the list fails."""
    assert run_task(a_list(results_uri=str(tmp_path / "r.csv")), channel).state == "success"
    assert run_task(a_list(calls=ODD), channel, run_id="r2").state == "failed"
    assert sandbox.rings
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("recipients", "shown"), [(None, "*******0110"), ("full", REACHED), ("none", None)], ids=str
)
def test_results_show_as_much_of_numbers_as_was_chosen(
    recipients: str | None, shown: str | None, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Without a choice, the last four digits; the reference is the user's own name of the row."""
    chosen = {} if recipients is None else {"recipients": recipients}
    uris = {name: str(tmp_path / f"{name}.csv") for name in ("results_uri", "progress_uri")}
    run = run_task(a_list(calls=ROWS[:1], **uris, **chosen), channel)
    assert run.state == "success", run.log_text
    for name in uris:
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            [row] = csv.DictReader(file)
        assert row.get("customer_phone") == shown
        assert row["reference"] == "loan-private-0110"
        assert ("4155550" in json.dumps(row)) == (recipients == "full")


def test_rows_that_cannot_be_called_are_masked_in_the_results(
    channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A cell that is no number shows no more than a number would."""
    place = tmp_path / "results.csv"
    rows = [*ROWS[:1], {"customer_phone": "14155550123 call me"}, {"customer_phone": "00 4155550199"}]
    run = run_task(a_list(calls=rows, results_uri=str(place)), channel)
    assert run.state == "success", run.log_text
    assert "4155550" not in place.read_text()
    assert_private(run)
