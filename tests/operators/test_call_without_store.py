"""What holds without a task state store: on Airflow before 3.3, and imitated on later ones.

Nothing is remembered across tries there. The vendor's key keeps the phone from ringing twice for 24 hours,
and beyond them a further try sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from support.calls import CREATE_CALL, NUMBER, an_operator
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

LIST = "GET /v1/conversations"
NO_RECORD = "+14155550108"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

FAULTS = [fault for fault in Fault if CREATE_CALL in fault.endpoints]
HANGS = {Fault.HANG_BEFORE: 1.5, Fault.HANG_AFTER: 1.5}

pytestmark = pytest.mark.usefixtures("sleeps")

PassTime = Callable[[timedelta], None]


@pytest.fixture
def pass_time(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> PassTime:
    """Let time pass for us and for the API alike."""

    def pass_time(span: timedelta) -> None:
        moment = pendulum.now("UTC") + span
        monkeypatch.setattr(pendulum, "now", lambda *_: moment)
        sandbox.advance(span.total_seconds())

    return pass_time


def a_try(operator: Any, channel: FakeSupervisor, try_number: int = 1, **attempt: Any) -> TaskRun:
    attempt = {"logical_date": datetime.now(UTC), **attempt}
    return run_task(operator, channel, try_number=try_number, state_store=False, **attempt)


def posts(sandbox: Sandbox) -> int:
    return sum(seen.method == "POST" for seen in sandbox.requests)


def lose_the_answer(sandbox: Sandbox) -> None:
    """The phone rings, no answer comes, and the server is down for the rest of the try."""
    sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)


@pytest.mark.parametrize("stays", [False, True], ids=["once", "to stay"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_one_ring_whatever_goes_wrong_on_the_wire(
    fault: Fault, stays: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Every fault, then a retry, then a clear within 24 hours: one ring, and the task succeeds."""
    channel.connections["formant_default"] = {
        "conn_type": "formant",
        "host": sandbox.base_url,
        "password": sandbox.api_key,
        "extra": {"read_timeout": 0.5 if fault in HANGS else 30},
    }
    sandbox.inject(CREATE_CALL, fault, times=4 if stays else 1, seconds=HANGS.get(fault))
    if not stays:
        sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)
    runs = []
    for try_number in (1, 2, 3):
        runs.append(a_try(an_operator(), channel, try_number))
        sandbox.advance(600)
    assert sandbox.rings == {NUMBER: 1}
    assert [run.state for run in runs[1:]] == ["success"] * 2
    assert runs[2].xcoms["trace_id"] == sandbox.calls[0].trace_id
    assert len({seen.body["idempotency_key"] for seen in sandbox.requests if seen.method == "POST"}) == 1


@pytest.mark.parametrize("hours", [0.2, 23])
def test_a_retry_after_a_lost_answer_finds_the_ids(
    hours: float, sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """The vendor refuses the key of the first try; the retry looks for the call and hands on its ids."""
    lose_the_answer(sandbox)
    began = datetime.now(UTC)
    assert a_try(an_operator(), channel, logical_date=began).state == "up_for_retry"
    pass_time(timedelta(hours=hours))
    run = a_try(an_operator(), channel, 2, logical_date=began)
    (call,) = sandbox.calls
    assert run.state == "success"
    assert run.xcoms["return_value"]["placement"] == "found"
    assert (run.xcoms["trace_id"], run.xcoms["conversation_id"]) == (call.trace_id, call.conversation_id)


def test_a_retry_while_the_call_lasts_is_unconfirmed(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The record is not there yet: no ids, no second ring, and the task ends as its user chose."""
    lose_the_answer(sandbox)
    a_try(an_operator(), channel)
    run = a_try(an_operator(on_unconfirmed="skip"), channel, 2)
    assert (run.state, sandbox.rings) == ("skipped", {NUMBER: 1})
    assert "Unconfirmed: " in run.log_text


def test_a_retry_after_a_fault_before_the_call_places_it(
    sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """Within 24 hours a retry sends the key again, since only the vendor knows that it was never used."""
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=4)
    assert a_try(an_operator(), channel).state == "up_for_retry"
    pass_time(timedelta(hours=23))
    run = a_try(an_operator(), channel, 2)
    assert run.xcoms["return_value"]["placement"] == "placed"
    assert sandbox.rings == {NUMBER: 1}


OLD_RUNS = {  # age of the run at the first try, pause before the second
    "the retry comes late": (timedelta(0), timedelta(hours=25)),
    # As after a clear, or in a catch-up: the run starts now, and what it stands for was long ago.
    "the run is old": (timedelta(days=2), timedelta(minutes=10)),
}


@pytest.mark.parametrize("case", OLD_RUNS)
def test_a_retry_in_a_run_of_yesterday_calls_nobody_and_takes_no_ids(
    case: str, sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """The key may protect no longer, and what is on record since may be anybody's: it is unconfirmed."""
    age, pause = OLD_RUNS[case]
    began = datetime.now(UTC) - age
    lose_the_answer(sandbox)
    a_try(an_operator(), channel, logical_date=began)
    sent = posts(sandbox)
    pass_time(pause)
    run = a_try(an_operator(), channel, 2, logical_date=began)
    assert (run.state, sandbox.rings, posts(sandbox)) == ("success", {NUMBER: 1}, sent)
    assert run.xcoms["return_value"]["placement"] == "unconfirmed"
    assert run.xcoms["trace_id"] == ""


@pytest.mark.parametrize("case", OLD_RUNS)
@pytest.mark.parametrize("rang", [True, False], ids=["it rang", "it did not"])
def test_a_retry_in_a_run_of_yesterday_that_finds_nothing_fails_for_good(
    rang: bool, case: str, sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """Without a record nobody can tell whether a phone rang, so nothing is sent and a person has to look."""
    age, pause = OLD_RUNS[case]
    began = datetime.now(UTC) - age
    sandbox.inject(CREATE_CALL, Fault.ERROR_500_AFTER if rang else Fault.ERROR_500_BEFORE)
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)
    operator = an_operator(NO_RECORD)
    assert a_try(operator, channel, logical_date=began).state == "up_for_retry"
    sent = posts(sandbox)
    pass_time(pause)
    run = a_try(operator, channel, 2, logical_date=began)
    assert (run.state, posts(sandbox)) == ("failed", sent)
    assert "A call may have been placed." in str(run.error)
    assert "idempotency_key of its own" in str(run.error)
    assert sandbox.rings == ({NO_RECORD: 1} if rang else {})


def test_a_retry_in_a_run_of_yesterday_that_cannot_look_may_be_retried(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A list that does not answer says nothing about the call: Airflow may try again, and nothing is sent."""
    lose_the_answer(sandbox)
    a_try(an_operator(), channel, logical_date=LONG_AGO)
    sent = posts(sandbox)
    sandbox.inject(LIST, Fault.ERROR_500_BEFORE, times=99)
    run = a_try(an_operator(), channel, 2, logical_date=LONG_AGO)
    assert (run.state, posts(sandbox)) == ("up_for_retry", sent)
    assert "A call may have been placed." in run.log_text


def test_the_first_try_of_an_old_run_calls(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """In a catch-up nobody has sent anything before the first try, however old the run is."""
    run = a_try(an_operator(), channel, logical_date=LONG_AGO)
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert run.xcoms["return_value"]["placement"] == "placed"


@pytest.mark.parametrize("hours", [0.2, 23, 25, 24 * 9])
def test_a_clear_of_a_successful_call_does_not_ring_again(
    hours: float, sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """Hours later the cleared task hands on the ids of its call; days later nobody can tell whose it is."""
    began = datetime.now(UTC)
    first = a_try(an_operator(), channel, logical_date=began)
    pass_time(timedelta(hours=hours))
    again = a_try(an_operator(), channel, 2, logical_date=began)
    assert (again.state, sandbox.rings) == ("success", {NUMBER: 1})
    known = hours < 24
    assert again.xcoms["return_value"]["placement"] == ("found" if known else "unconfirmed")
    assert again.xcoms["trace_id"] == (first.xcoms["trace_id"] if known else "")
    assert posts(sandbox) == (2 if known else 1)


def test_a_redial_is_refused(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Nobody could tell a redial from a retry, so redial_on fails the task before anything is sent."""
    run = a_try(an_operator(redial_on={"busy"}, wait_for_completion=True, retries=1), channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert str(run.error).startswith("redial_on: needs the task state store of Airflow 3.3")
    assert "No call was placed" in str(run.error)


def test_a_mapped_list_in_another_order_moves_nobody_s_call(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The key follows the person: after a clear, each row of the reordered list finds its own call."""
    numbers = [f"+1415555012{n}" for n in range(3)]
    ids = []
    for try_number, order in enumerate((numbers, numbers[::-1]), start=1):
        with make_dag():
            mapped = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand(
                parameters=[{"customer_phone": number} for number in order]
            )
        runs = [a_try(mapped, channel, try_number, map_index=index) for index in range(3)]
        ids.append({number: run.xcoms["trace_id"] for number, run in zip(order, runs, strict=True)})
        sandbox.advance(600)
    assert sandbox.rings == dict.fromkeys(numbers, 1)
    assert ids[0] == ids[1]


LIMITED = {"fault": Fault.RATE_LIMIT, "retry_after": 600}


def resumed(operator: Any, channel: FakeSupervisor, deferred: TaskRun, **attempt: Any) -> TaskRun:
    """Go on with what the trigger hands back; when it fires is told by the clock of the test."""
    event = {name: value for name, value in deferred.trigger_kwargs.items() if name != "until"}
    return a_try(operator, channel, resume_event=event, **attempt)


def test_waiting_for_the_rate_limit_in_the_triggerer_places_the_call(
    sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """A first try that was only ever refused goes on after the wait, however late, and places the call."""
    sandbox.inject(CREATE_CALL, **LIMITED)
    operator = an_operator(deferrable=True)
    first = a_try(operator, channel)
    assert first.state == "deferred"
    pass_time(timedelta(hours=25))
    second = resumed(operator, channel, first)
    assert (second.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert second.xcoms["return_value"]["placement"] == "placed"


@pytest.mark.parametrize("hours", [10, 25])
def test_a_doubt_outlives_the_wait_for_the_rate_limit(
    hours: float, sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """A lost answer before the wait: the try that goes on a day later, still the first, rings nobody."""
    sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    sandbox.inject(CREATE_CALL, **LIMITED)
    operator = an_operator(deferrable=True)
    first = a_try(operator, channel)
    assert first.state == "deferred"
    pass_time(timedelta(hours=hours))
    second = resumed(operator, channel, first)
    assert (second.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert second.xcoms["return_value"]["placement"] == ("found" if hours < 24 else "unconfirmed")
    assert posts(sandbox) == (3 if hours < 24 else 2)


def test_a_doubt_is_as_old_as_the_first_try(
    sandbox: Sandbox, channel: FakeSupervisor, pass_time: PassTime
) -> None:
    """A second try that waits for the rate limit does not forget how long ago the first one sent."""
    began = datetime.now(UTC)
    lose_the_answer(sandbox)
    a_try(an_operator(), channel, logical_date=began)
    pass_time(timedelta(hours=20))
    operator = an_operator(deferrable=True)
    sandbox.inject(CREATE_CALL, **LIMITED)
    deferred = a_try(operator, channel, 2, logical_date=began)
    assert deferred.state == "deferred"
    pass_time(timedelta(hours=5))
    run = resumed(operator, channel, deferred, try_number=2, logical_date=began)
    assert (run.state, sandbox.rings) == ("success", {NUMBER: 1})
    assert run.xcoms["return_value"]["placement"] == "unconfirmed"
