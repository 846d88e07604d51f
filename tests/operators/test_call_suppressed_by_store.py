"""Who is on the do-not-call list of the connection's call store is called by no task and no further try."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.call_cap import CallCap
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.suppression import FormantSuppressionOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.store.commands.history import _lines
from formant_provider.store.history import of_dag
from formant_provider.store.store import Store, open_up
from formant_provider.store.suppressions import Decision, add, digests_of, remove
from formant_provider.store.verify import verify
from support.calls import CREATE_CALL, NUMBER, an_operator
from support.databases import Database
from support.stores import SECRET, connections_with
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

OTHER, BUSY = "+14155550101", "+14155550102"
DIGITS = "4155550"


@pytest.fixture
def channel(database: Database, sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections_with(database, sandbox))


@pytest.fixture
def store(database: Database, channel: FakeSupervisor) -> Store:
    """The store that the tasks use."""
    assert channel
    return open_up(database.engine(), "the test", SECRET)


def change(store: Store, number: str, how: Any = add) -> None:
    now = datetime.now(UTC)
    asked = dict.fromkeys(digests_of(store, [int(number)]), now)
    assert how(store, asked, Decision("letter", "maria", now)).changed


def assert_not_called(run: TaskRun) -> None:
    """The task is skipped with a result that says why, and nothing it leaves has a number."""
    assert run.state == "skipped", run.log_text
    result = run.xcoms["return_value"]
    assert (result["status"], result["reason"]) == ("skipped", "suppressed")
    assert "The number is on the do-not-call list of the call store" in run.log_text
    assert "There is nothing to do: nobody on the list is called." in run.log_text + str(run.error)
    assert DIGITS not in run.masked_log_text + str(run.xcoms) + str(run.rendered_fields) + str(run.error)


def test_the_history_tells_why_nobody_was_called(
    store: Store, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """On the list, or called often enough; no such call has a time. The chain of events stays whole."""
    change(store, NUMBER)
    for run_id in ("r1", "r2"):
        run_task(an_operator(NUMBER, call_cap=CallCap(1)), channel, run_id=run_id)
        run_task(an_operator(OTHER, call_cap=CallCap(1)), channel, run_id=run_id)
    asked = of_dag(store, None, None)["asked"]
    told = Counter((each["state"], each["reason"], each["call_at"] is None) for each in asked)
    assert told == {
        ("placed", None, False): 1,
        ("never", "capped", True): 1,
        ("never", "suppressed", True): 2,
    }
    assert verify(store).count == 0
    text = "\n".join(_lines({"asked": asked}))
    assert "Asked for: 4 (1 placed, 3 never sent)." in text
    assert text.count("not known, no task has waited for it") == 1
    assert sandbox.rings == {OTHER: 1}


def test_whoever_asks_for_the_call_it_is_skipped(
    store: Store, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """In every DAG, for every agent and however the number is written; others are called."""
    change(store, NUMBER)
    asked: list[tuple[str, dict[str, Any]]] = [
        (NUMBER, {}),
        (NUMBER, {"agent_id": 789, "idempotency_key": "loan 7"}),
        ("(415) 555-0100", {"default_country": "US"}),
        (NUMBER, {"scheduled_for": datetime.now(UTC) + timedelta(hours=6)}),
    ]
    for place, (number, fields) in enumerate(asked):
        with make_dag(dag_id=f"dag_{place}"):
            operator = an_operator(number, **fields)
        assert_not_called(run_task(operator, channel))
    assert sandbox.requests == []
    assert run_task(an_operator(OTHER), channel).state == "success"
    assert sandbox.rings == {OTHER: 1}


def test_rows_of_others_are_called(store: Store, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Of a mapped list, the row of who is on the list is skipped."""
    change(store, NUMBER)
    rows = [{"customer_phone": number} for number in (NUMBER, OTHER)]
    with make_dag():
        operator = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand(parameters=rows)
    runs = [run_task(operator, channel, map_index=row) for row in range(2)]
    assert_not_called(runs[0])
    assert runs[1].state == "success"
    assert sandbox.rings == {OTHER: 1}


def test_a_call_that_was_placed_keeps_its_ids(
    store: Store, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A retry, or a clear, after its number came onto the list returns them and sends nothing."""
    first = run_task(an_operator(), channel)
    change(store, NUMBER)
    for attempt in ({"try_number": 2}, {"try_number": 2, "clear_number": 1}):
        again = run_task(an_operator(), channel, **attempt)
        assert (again.state, again.xcoms) == ("success", first.xcoms)
    assert len(sandbox.requests) == 1
    assert_not_called(run_task(an_operator(), channel, run_id="r2"))


def test_who_comes_onto_the_list_between_two_tries_is_not_called(
    store: Store, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The first try was refused for now; the second asks the list again."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, times=4)
    assert run_task(an_operator(), channel).state == "up_for_retry"
    change(store, NUMBER)
    sent = len(sandbox.requests)
    assert_not_called(run_task(an_operator(), channel, try_number=2))
    assert (len(sandbox.requests), sandbox.rings) == (sent, {})


def test_a_call_in_doubt_is_looked_for_and_not_sent_again(
    store: Store, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """One that was placed is found, one that was not is not placed; both without a further send."""
    for number, fault in ((NUMBER, Fault.DROP_AFTER), (OTHER, Fault.DROP_BEFORE)):
        sandbox.inject(CREATE_CALL, fault)
        sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)
        when = {"run_id": number, "logical_date": datetime.now(UTC)}
        assert run_task(an_operator(number), channel, **when).state == "up_for_retry"
        change(store, number)
        sandbox.advance(600)
        sent = sum(seen.endpoint == CREATE_CALL for seen in sandbox.requests)
        again = run_task(an_operator(number), channel, try_number=2, **when)
        assert (again.state == "success") is (number == NUMBER), again.log_text
        assert sum(seen.endpoint == CREATE_CALL for seen in sandbox.requests) == sent
    assert sandbox.rings == {NUMBER: 1}


@pytest.mark.parametrize("is_refused_first", [False, True])
def test_a_redial_is_not_placed(
    is_refused_first: bool, store: Store, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Who was busy and asks not to be called is not called again; the ids are those of the call before.

    Also if a try between has begun the redial, and the API has refused it.
    """
    operator = an_operator(BUSY, redial_on={"busy"}, wait_for_completion=True, deferrable=True)
    first = run_task(operator, channel)
    assert first.state == "deferred"
    sandbox.advance(600)
    if is_refused_first:
        sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, times=4)
        assert run_task(operator, channel, try_number=2, max_tries=9).state == "up_for_retry"
    change(store, BUSY)
    last = run_task(operator, channel, try_number=3)
    assert last.xcoms["trace_id"] == first.xcoms["trace_id"]
    assert "do-not-call list of the call store. No further call is placed." in last.log_text
    assert sandbox.rings == {BUSY: 1}


def test_who_is_taken_off_the_list_is_called(store: Store, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """By the next try, or a clear, of the task that was skipped."""
    change(store, NUMBER)
    assert_not_called(run_task(an_operator(), channel))
    change(store, NUMBER, remove)
    assert run_task(an_operator(), channel, try_number=2, clear_number=1).state == "success"
    assert sandbox.rings == {NUMBER: 1}


def test_no_file_of_the_database_holds_a_number(
    store: Store, channel: FakeSupervisor, database: Database, tmp_path: Path
) -> None:
    """No digits of one, after it was added, refused a call and was removed: in tables, journals and logs."""
    listed, called = "+14155550187", "+14155550188"
    operator = FormantSuppressionOperator(task_id="suppress", numbers=[listed], reason="letter")
    assert run_task(operator, channel).state == "success"
    assert_not_called(run_task(an_operator(listed), channel))
    assert run_task(an_operator(called), channel).state == "success"
    change(store, listed, remove)
    if database.server is not None:
        database.server.execute(database.server.checkpoint)
    folder = tmp_path if database.server is None else database.server.folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    texts = [path.read_bytes() for path in files]
    assert any(store.digests.recipient(listed).encode() in text for text in texts)
    for number in (listed, called):
        found = [path for path, text in zip(files, texts, strict=True) if number[2:].encode() in text]
        assert found == []
