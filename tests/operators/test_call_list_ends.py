"""How the task of a call list ends: what the API, its user and its time do to it, and what is left."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.faults import CALL
from support.list_rows import number
from support.scripted_server import Answer
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store
from support.written_api import WrittenApi, refusal

pytestmark = needs_state_store
KEY = "key-1234567"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over in a moment."""
    with Sandbox(api_key=KEY, call_speed=3000, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def api() -> Iterator[WrittenApi]:
    with WrittenApi(KEY) as api:
        yield api


@pytest.fixture
def written(api: WrittenApi) -> FakeSupervisor:
    """An Airflow that knows the API that is written by hand."""
    return FakeSupervisor(connections={"formant_default": api.uri(KEY)})


def people(count: int, first: int = 110) -> list[dict[str, Any]]:
    return [{"customer_phone": number(first + at)} for at in range(count)]


def a_list(calls: Any, **fields: Any) -> FormantCallListOperator:
    fields = {"agent_id": 456, "poll_interval": 0.1, "retries": 2, **fields}
    return FormantCallListOperator(task_id="list", calls=calls, **fields)


def result(run: TaskRun) -> dict[str, Any]:
    return dict(run.xcoms["return_value"])


def once(count: int) -> dict[str, int]:
    return {number(110 + at): 1 for at in range(count)}


def after(times: int, do: Any) -> Any:
    """Return what does something when it is called for that time."""
    counted: list[None] = []

    def count() -> None:
        counted.append(None)
        if len(counted) == times:
            do()

    return count


def test_a_key_that_is_changed_in_the_middle_is_taken_up(api: WrittenApi, written: FakeSupervisor) -> None:
    """The connection is read again, and the list goes on with the new one."""

    def change() -> None:
        written.connections["formant_default"] = api.uri("another-key")
        api.keys = {"another-key"}

    api.before = after(6, change)
    run = run_task(a_list(people(20)), written)
    assert run.state == "success", run.log_text
    assert api.rings == once(20)
    assert result(run)["reached"] == 20


def test_a_key_that_stays_refused_in_the_middle_fails_the_task_and_loses_no_call(
    api: WrittenApi, written: FakeSupervisor
) -> None:
    """It says what to do; with a valid key the cleared task calls those who were not called."""
    api.before = after(6, lambda: setattr(api, "keys", {"another-key"}))
    run = run_task(a_list(people(20)), written)
    assert run.state == "failed", run.log_text
    assert "401" in str(run.error)
    called = dict(api.rings)
    assert 0 < len(called) < 20
    written.connections["formant_default"] = api.uri("another-key")
    again = run_task(a_list(people(20)), written, try_number=2, clear_number=1)
    assert again.state == "success", again.log_text
    assert api.rings == once(20)
    assert (result(again)["reached"], result(again)["calls"]) == (20, 20)


def test_a_limit_of_one_number_does_not_hold_up_the_others(api: WrittenApi, written: FakeSupervisor) -> None:
    """They are called meanwhile, and it is called when the API says."""
    slow = number(110)
    headers = {"Retry-After": "3", "X-RateLimit-Remaining": "40", "X-RateLimit-Limit": "50"}

    def refuse(phone: str, times: int) -> Answer | None:
        return refusal(429, "rate_limit_exceeded", headers) if phone == slow and times == 0 else None

    api.refuse = refuse
    run = run_task(a_list(people(15)), written)
    assert run.state == "success", run.log_text
    assert api.rings == once(15)
    assert api.order[-1] == slow
    assert api.asked[slow] == 2


def test_a_list_keeps_to_the_lines_that_there_are(channel: FakeSupervisor) -> None:
    """More calls at once than the API takes wait until others are over; nobody is left out."""
    with Sandbox(api_key=KEY, call_speed=500, rate_limit=None, max_concurrent_calls=2) as narrow:
        channel.connections["formant_default"] = narrow.connection_uri()
        run = run_task(a_list(people(6)), channel)
        assert run.state == "success", run.log_text
        assert narrow.rings == once(6)
    assert result(run)["by_status"] == {"completed": 6}


@pytest.mark.parametrize("count", [3, 90])
def test_an_agent_that_does_not_exist_fails_the_task(
    count: int, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """It is not asked for by everybody; the results say how the API refused it; a corrected list goes on."""
    place = tmp_path / "r.csv"
    run = run_task(a_list(people(count), agent_id=999, results_uri=str(place)), channel)
    assert run.state == "failed", run.log_text
    assert "Nobody was called" in str(run.error)
    assert not sandbox.rings
    assert sum(seen.endpoint == CALL for seen in sandbox.requests) <= 75
    with place.open(newline="") as file:
        assert {row["detail"][:3] for row in csv.DictReader(file)} == {"404"}
    again = run_task(a_list(people(count)), channel, try_number=2, clear_number=1)
    assert again.state == "success", again.log_text
    assert sandbox.rings == once(count)


def test_an_agent_that_does_not_exist_leaves_its_rows_out_where_others_are_called(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The results say which, and how the API refused them."""
    rows = [*people(3), {"customer_phone": number(120), "agent_id": 999}]
    run = run_task(a_list(rows, results_uri=str(tmp_path / "r.csv")), channel)
    assert run.state == "success", run.log_text
    assert sandbox.rings == once(3)
    with (tmp_path / "r.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["status"], last["reason"]) == ("rejected", "refused")
    assert last["detail"].startswith("404")


def test_whoever_is_not_called_in_time_is_expired(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """The task fails without a retry, and says what to do; the result is there."""
    run = run_task(a_list(people(3), timeout=0.001), channel)
    assert run.state == "failed"
    assert "Clear this task to go on" in str(run.error)
    assert (result(run)["status"], result(run)["by_reason"]) == ("expired", {"expired": 3})
    assert not sandbox.rings


BELOW = [*people(3), *people(1, first=101)]


def test_too_few_who_were_reached_fail_the_task(channel: FakeSupervisor) -> None:
    """Without a retry, which would call nobody more; the result is there."""
    run = run_task(a_list(BELOW, min_success_rate=80), channel)
    assert run.state == "failed"
    assert "75.0 % of the 4 people were reached, and 80 % were asked for" in str(run.error)
    assert (result(run)["reached"], result(run)["closed"]) == (3, 1)


@pytest.mark.parametrize(
    "options", [{"min_success_rate": 75}, {"min_success_rate": 80, "on_below_threshold": "succeed"}], ids=str
)
def test_a_rate_that_is_reached_or_only_warned_of_ends_well(
    options: dict[str, Any], channel: FakeSupervisor
) -> None:
    """The log says how it was in any case."""
    run = run_task(a_list(BELOW, **options), channel)
    assert run.state == "success", run.log_text
    assert "75.0 % of the 4 people were reached" in run.log_text


def test_rows_that_cannot_be_called_do_not_lower_the_rate(channel: FakeSupervisor) -> None:
    """They are no people that a list may reach."""
    rows = [*people(2), {"customer_phone": "nobody"}]
    run = run_task(a_list(rows, min_success_rate=100), channel)
    assert run.state == "success", run.log_text


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


@pytest.mark.parametrize("run_type", ["scheduled", "backfill"])
def test_a_list_of_last_month_is_skipped(run_type: str, channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """Nobody is called; a run that somebody starts by hand is never late."""
    late = {"run_type": run_type, "data_interval_end": ago(days=30)}
    run = run_task(a_list(people(2)), channel, **late)
    assert run.state == "skipped"
    assert not sandbox.requests
    assert result(run)["status"] == "skipped"
    by_hand = run_task(a_list(people(2)), channel, run_id="r2", data_interval_end=ago(days=30))
    assert by_hand.state == "success", by_hand.log_text


def test_a_list_that_began_in_time_and_is_late_now_is_reported(
    channel: FakeSupervisor, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Nobody further is called; who was called is in the results."""
    run = {"run_type": "scheduled", "data_interval_end": ago(hours=1)}
    assert run_task(a_list(people(2), max_lateness=7200), channel, **run).state == "success"
    late = a_list(people(4), max_lateness=60, timeout=60, results_uri=str(tmp_path / "r.csv"))
    again = run_task(late, channel, try_number=2, clear_number=1, **run)
    assert again.state == "success", again.log_text
    assert sandbox.rings == once(2)
    assert (result(again)["reached"], result(again)["by_reason"]) == (2, {"late": 2})
    with (tmp_path / "r.csv").open(newline="") as file:
        told = [(row["status"], row["reason"]) for row in csv.DictReader(file)]
    assert told == [("completed", "")] * 2 + [("rejected", "late")] * 2


def test_a_list_that_began_in_time_may_last_as_long_as_it_may(
    channel: FakeSupervisor, sandbox: Sandbox
) -> None:
    """Its own time counts from its begin."""
    run = {"run_type": "scheduled", "data_interval_end": ago(hours=1)}
    assert run_task(a_list(people(2), max_lateness=7200), channel, **run).state == "success"
    again = a_list(people(4), max_lateness=60, timeout=7200)
    assert run_task(again, channel, try_number=2, clear_number=1, **run).state == "success"
    assert sandbox.rings == once(4)


def test_a_task_that_is_killed_sends_nothing_more_and_its_retry_goes_on(
    api: WrittenApi, written: FakeSupervisor
) -> None:
    """What was sent is written down; nobody is called twice and nobody is forgotten."""
    running: list[Any] = []
    operator = a_list(people(30), concurrency=1, pre_execute=lambda context: running.append(context["task"]))
    api.before = after(4, lambda: running[0].on_kill())  # noqa: PLW0108 - it runs later
    run = run_task(operator, written)
    assert run.state == "up_for_retry", run.log_text
    assert 3 <= len(api.rings) <= 5
    assert "stopped before its end" in str(run.error)
    assert "cannot be taken back" in run.log_text
    again = run_task(a_list(people(30)), written, try_number=2)
    assert again.state == "success", again.log_text
    assert api.rings == once(30)


def test_a_task_that_is_killed_while_it_waits_ends_soon(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """Whatever it waits for."""
    timers: list[threading.Timer] = []

    def kill_soon(context: Any) -> None:
        timers.append(threading.Timer(0.5, context["task"].on_kill))
        timers[0].start()

    began = time.monotonic()
    run = run_task(a_list(people(1), poll_interval=60, pre_execute=kill_soon), channel)
    timers[0].join()
    assert run.state == "up_for_retry", run.log_text
    assert time.monotonic() - began < 45
    assert sandbox.rings == once(1)


@pytest.mark.parametrize("calls", [[], ""], ids=["empty list", "empty text"])
def test_a_list_of_nobody_fails_and_does_not_look_like_one_that_was_done(
    calls: Any, channel: FakeSupervisor, sandbox: Sandbox
) -> None:
    """Without a retry; a query that comes to nothing by mistake is noticed."""
    run = run_task(a_list(calls), channel)
    assert run.state == "failed", run.log_text
    assert "calls" in str(run.error) or "nobody is left" in str(run.error)
    assert not sandbox.requests


def test_a_list_of_nobody_is_skipped_if_its_user_says_so(
    channel: FakeSupervisor, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Some days there is nobody to call."""
    place = tmp_path / "people.csv"
    place.write_text("customer_phone\n")
    for calls in (str(place), [{"customer_phone": "nobody"}]):
        run = run_task(a_list(calls, on_empty="skip"), channel)
        assert run.state == "skipped", run.log_text
        assert result(run)["status"] == "skipped"
    assert not sandbox.requests


def test_calls_that_come_to_none_fail_the_task(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """An XCom without a value is no empty list."""
    run = run_task(a_list(None), channel)
    assert run.state == "failed", run.log_text
    assert str(run.error).startswith("calls")
    assert not sandbox.requests
