"""The operator of call lists: what one task does for everybody of a list."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pendulum
import pytest

from formant_provider.attempts import Attempts
from formant_provider.calling_window import CallingWindow
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from formant_provider.stop_when import StopWhen
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store

KEY = "key-1234567"

pytestmark = needs_state_store


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over within a second."""
    with Sandbox(api_key=KEY, call_speed=200, rate_limit=None) as sandbox:
        yield sandbox


def a_list(calls: Any, **fields: Any) -> FormantCallListOperator:
    fields = {"agent_id": 456, "poll_interval": 0.2, "retries": 3, **fields}
    return FormantCallListOperator(task_id="list", calls=calls, **fields)


def people(count: int, **cells: Any) -> list[dict[str, Any]]:
    return [
        {"customer_phone": f"+1415555{100 + at:04d}", "name": f"n{at}", **cells}
        for at in range(10, 10 + count)
    ]


def test_everybody_of_a_list_is_called_once(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Each row is one call with its own parameters, and one row of the results."""
    run = run_task(
        a_list(people(30), results_uri=str(tmp_path / "results.csv"), summary_uri=str(tmp_path / "s.html")),
        channel,
    )
    assert run.state == "success", run.error
    assert sorted(sandbox.rings.values()) == [1] * 30
    result = run.xcoms["return_value"]
    assert result["reached"] == 30
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert len(rows) == 30
    assert {row["status"] for row in rows} == {"completed"}


def results(place: Path) -> list[dict[str, str]]:
    with place.open(newline="") as file:
        return list(csv.DictReader(file))


def to_numbers(*numbers: str, **cells: Any) -> list[dict[str, Any]]:
    return [{"customer_phone": number, **cells} for number in numbers]


NO_ANSWER, BUSY, REACHED = "+14155550101", "+14155550102", "+14155550110"


def test_whoever_was_not_reached_is_called_again(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A further attempt has a key of its own, joins the conversation, and comes as often as was said."""
    operator = a_list(
        to_numbers(NO_ANSWER, BUSY, REACHED),
        attempts=Attempts(most=3, after={"no_answer": "6s", "busy": 6}),
        results_uri=str(tmp_path / "results.csv"),
    )
    run = run_task(operator, channel)
    assert run.state == "success", run.error
    assert sandbox.rings == {NO_ANSWER: 3, BUSY: 3, REACHED: 1}
    chains = {call.chain_id: call.customer_phone for call in sandbox.calls}
    assert len(chains) == 3, "a further attempt joins the conversation"
    rows = results(tmp_path / "results.csv")
    assert [row["status"] for row in rows] == ["no_answer", "busy", "completed"]
    assert [row["reason"] for row in rows] == ["attempts_used", "attempts_used", ""]
    assert [row["attempts"] for row in rows] == ["3", "3", "1"]
    assert "Row 2: The last conversation ended as busy: call number 3 is due." in run.log_text


def test_a_cleared_list_that_has_grown_calls_those_who_were_added(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A further try goes on from what is written down, whatever the order of the rows."""
    first = run_task(a_list(people(5)), channel)
    again = run_task(
        a_list(list(reversed(people(8))), results_uri=str(tmp_path / "results.csv")),
        channel,
        try_number=2,
        clear_number=1,
    )
    assert (first.state, again.state) == ("success", "success")
    assert set(sandbox.rings.values()) == {1}
    assert len(sandbox.rings) == 8
    assert again.xcoms["return_value"]["reached"] == 8
    assert [row["row_number"] for row in results(tmp_path / "results.csv")] == [str(at) for at in range(1, 9)]


def test_a_row_that_is_no_call_stops_no_other(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Each row that cannot be called is in the results with the reason, and the others are called."""
    rows = [
        {"customer_phone": REACHED, "reference": "a", "scheduled_for": "", "agent_id": ""},
        {"customer_phone": "nobody", "reference": "b"},
        {"customer_phone": "+14155550111", "reference": "c", "scheduled_for": "tomorrow"},
        {"customer_phone": "+14155550112", "reference": "d", "agent_id": "x"},
        {"customer_phone": REACHED, "reference": "e"},
        {"customer_phone": "+14155550113", "reference": "f", "agent_id": "999"},
    ]
    run = run_task(a_list(rows, results_uri=str(tmp_path / "results.csv")), channel)
    assert run.state == "success", run.error
    told = [(row["reference"], row["status"], row["reason"]) for row in results(tmp_path / "results.csv")]
    assert told == [
        ("a", "completed", ""),
        ("b", "rejected", "not_e164"),
        ("c", "rejected", "invalid_input"),
        ("d", "rejected", "invalid_input"),
        ("e", "rejected", "duplicate"),
        ("f", "rejected", "refused"),
    ]
    assert sandbox.rings == {REACHED: 1}


def test_closed_hours_give_the_worker_back(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Whoever cannot be called now is waited for in the triggerer, until the hours open."""
    hour = pendulum.now("America/Los_Angeles").hour
    window = CallingWindow(f"{(hour + 2) % 24:02}:00", f"{(hour + 3) % 24:02}:00")
    run = run_task(a_list(to_numbers(REACHED), calling_window=window), channel)
    assert run.state == "deferred", run.error
    assert not sandbox.rings
    until = pendulum.parse(run.trigger_kwargs["until"])
    assert 0 < (until - pendulum.now("UTC")).total_seconds() <= 2 * 3600


def test_a_held_list_sends_nothing_and_goes_on_when_it_is_not_held(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """An Airflow Variable holds the list within seconds, and no longer than it is true."""
    channel.variables["pause"] = "true"
    held = run_task(a_list(people(3), hold_variable="pause"), channel)
    assert held.state == "deferred", held.error
    assert not sandbox.rings
    channel.variables["pause"] = "false"
    event = {"give_up_at": held.trigger_kwargs["give_up_at"]}
    run = run_task(a_list(people(3), hold_variable="pause"), channel, resume_event=event)
    assert run.state == "success", run.error
    assert len(sandbox.rings) == 3


def test_a_list_that_is_held_by_its_option_ends(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A DAG param does not change while a run lasts: the task ends, and a cleared one goes on."""
    run = run_task(a_list(people(3), hold=True), channel)
    assert run.state == "failed"
    assert not sandbox.rings
    assert run.xcoms["return_value"]["status"] == "held"
    again = run_task(a_list(people(3), hold=False), channel, try_number=2, clear_number=1)
    assert again.state == "success", again.error
    assert len(sandbox.rings) == 3


def test_a_list_stops_at_its_goal() -> None:
    """Once the goal is reached nobody is called any more; who was called is followed to the end."""
    with Sandbox(api_key=KEY, call_speed=200, rate_limit=10, rate_window_seconds=1) as slow:
        channel = FakeSupervisor(connections={"formant_default": slow.connection_uri()})
        run = run_task(a_list(people(80), stop_when=StopWhen(reached=5)), channel)
    assert run.state == "success", run.error
    result = run.xcoms["return_value"]
    assert result["status"] == "stopped"
    assert 5 <= result["reached"] == result["calls"] < 80
    assert result["by_reason"] == {"stopped": 80 - result["calls"]}


def test_a_dry_run_calls_nobody(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """It says how many would be called, and when."""
    run = run_task(a_list(people(3), dry_run=True), channel)
    assert run.state == "success", run.error
    assert not sandbox.requests
    result = run.xcoms["return_value"]
    assert (result["status"], result["waiting"]) == ("dry_run", 3)
    assert result["by_opening"][0]["count"] == 3
