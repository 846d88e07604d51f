"""What a call list does while the key of its connection changes, and while that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Timer
from typing import Any

import pytest

from formant_provider.attempts import Attempts
from formant_provider.operators.call_list import FormantCallListOperator
from support.databases import Database
from support.list_rows import number
from support.stores import connections_with
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store
from support.written_api import WrittenApi, refusal

pytestmark = needs_state_store
KEY = "key-1234567"
# An outage that is shorter than what a poll believes to last.
OUTAGE_S = 2.5


@pytest.fixture
def api() -> Iterator[WrittenApi]:
    with WrittenApi(KEY) as api:
        yield api


@pytest.fixture
def channel(api: WrittenApi) -> FakeSupervisor:
    """An Airflow that knows the API that is written by hand."""
    return FakeSupervisor(connections={"formant_default": api.uri(KEY)})


def a_list(count: int, **fields: Any) -> FormantCallListOperator:
    calls = [{"customer_phone": number(110 + at)} for at in range(count)]
    fields = {"agent_id": 456, "poll_interval": 1, "retries": 2, **fields}
    return FormantCallListOperator(task_id="list", calls=calls, **fields)


def each(count: int, times: int) -> dict[str, int]:
    return {number(110 + at): times for at in range(count)}


def change_key(api: WrittenApi, channel: FakeSupervisor) -> None:
    api.keys = {f"next-{min(api.keys)}"}
    known = channel.connections["formant_default"]
    fields = json.loads(api.connection_json())
    channel.connections["formant_default"] = {**(known if isinstance(known, dict) else {}), **fields}


def break_off(channel: FakeSupervisor) -> None:
    """Let no connection be read for a moment."""
    channel.refused = {"GetConnection"}
    Timer(OUTAGE_S, channel.refused.clear).start()


def at_request(api: WrittenApi, number: int, do: Any) -> None:
    """Do something when a call is asked for, before that is answered."""
    seen: list[None] = []

    def count() -> None:
        seen.append(None)
        if len(seen) == number:
            do()

    api.before = count


@pytest.mark.parametrize("at", [1, 6])
def test_a_look_before_a_further_attempt_uses_the_key_that_was_changed(
    at: int, api: WrittenApi, channel: FakeSupervisor
) -> None:
    """What is on record is read with the new key as well: everybody is called again, once."""
    api.status_of = lambda _: "no_answer"
    at_request(api, at, lambda: change_key(api, channel))
    run = run_task(a_list(6, attempts=Attempts(most=2, after={"no_answer": 1})), channel)
    assert run.state == "success", run.log_text
    assert api.rings == each(6, 2)


def test_a_key_that_is_changed_while_the_connection_cannot_be_read_is_waited_for(
    api: WrittenApi, channel: FakeSupervisor
) -> None:
    """Nothing is sent with the key before meanwhile, so no refusal is counted that says nothing."""

    def change() -> None:
        change_key(api, channel)
        break_off(channel)

    at_request(api, 6, change)
    run = run_task(a_list(20), channel)
    assert run.state == "success", run.log_text
    assert "Until it can, nobody is called" in run.log_text
    assert "isn't defined" not in run.log_text
    assert api.rings == each(20, 1)


def test_a_connection_that_cannot_be_read_for_a_moment_holds_up_no_call(
    api: WrittenApi, channel: FakeSupervisor
) -> None:
    """What was read before is used, and each call is waited for."""
    at_request(api, 6, lambda: break_off(channel))
    run = run_task(a_list(40, poll_interval=0.6, concurrency=2), channel)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["reached"] == 40
    assert api.rings == each(40, 1)


def test_a_connection_that_is_gone_after_its_key_was_refused_fails_the_task_and_loses_no_call(
    api: WrittenApi, channel: FakeSupervisor
) -> None:
    """With a connection, a further try calls those who were not called."""

    def remove() -> None:
        api.keys = {"next"}
        del channel.connections["formant_default"]

    at_request(api, 6, remove)
    run = run_task(a_list(20, poll_interval=0.2), channel)
    assert run.state == "up_for_retry", run.log_text
    channel.connections["formant_default"] = api.uri("next")
    again = run_task(a_list(20), channel, try_number=2)
    assert again.state == "success", again.log_text
    assert api.rings == each(20, 1)


@pytest.mark.parametrize("has_state", [True, False])
def test_over_a_call_store_all_of_that_calls_nobody_twice(
    has_state: bool, database: Database, api: WrittenApi
) -> None:
    """With and without Airflow's task state store, and through a moment without a connection."""
    channel = FakeSupervisor(connections_with(database, api))
    api.status_of, seen = (lambda _: "no_answer"), list[None]()

    def count() -> None:
        seen.append(None)
        if len(seen) in {5, 20}:
            change_key(api, channel)
        if len(seen) == 12:
            break_off(channel)

    api.before = count
    attempts = Attempts(most=2, after={"no_answer": 1})
    run = run_task(a_list(12, attempts=attempts), channel, state_store=has_state)
    assert run.state == "success", run.log_text
    assert len(seen) > 20
    assert api.rings == each(12, 2)


def test_a_key_that_is_changed_twice_is_taken_up_twice(api: WrittenApi, channel: FakeSupervisor) -> None:
    """Each time, all that was under way with the key before is asked for again."""
    seen: list[None] = []

    def count() -> None:
        seen.append(None)
        if len(seen) in {5, 20}:
            change_key(api, channel)

    api.before = count
    run = run_task(a_list(30), channel)
    assert run.state == "success", run.log_text
    assert api.rings == each(30, 1)


def refuse(status: int, *numbers: str) -> Any:
    """Refuse these numbers, or all, with a status that the vendor does not document."""
    return lambda called, _: refusal(status, "forbidden") if not numbers or called in numbers else None


@pytest.mark.parametrize("status", [302, 403])
def test_a_refusal_that_passes_closes_no_row(status: int, api: WrittenApi, channel: FakeSupervisor) -> None:
    """What stands before the API may refuse everybody for a moment: the list waits, and calls all."""

    def begin() -> None:
        api.refuse = refuse(status)
        Timer(OUTAGE_S, lambda: setattr(api, "refuse", refuse(status, "nobody"))).start()

    at_request(api, 6, begin)
    run = run_task(a_list(30), channel)
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["reached"] == 30
    assert api.rings == each(30, 1)
