"""What a further try of a task does: a retry, a clear, a redial, a wait for the API's rate limit."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest

from formant_provider.api.errors import InvalidRequest, RateLimited, ServerError
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.tasks.ledger import CALLS_ENTRY
from support.calls import CREATE_CALL, NUMBER, an_operator
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task, run_trigger
from support.versions import needs_retry_policies, needs_state_store

BUSY = "+14155550102"
NO_ANSWER = "+14155550101"

pytestmark = pytest.mark.usefixtures("sleeps")


# What redial_on needs; a try ends when its call is placed, and the triggerer waits.
WAITING = {"wait_for_completion": True, "deferrable": True}


def posts(sandbox: Sandbox) -> list[Any]:
    return [seen for seen in sandbox.requests if seen.method == "POST"]


def the_entry(run: TaskRun) -> dict[str, Any]:
    return the_call(run.state_store[CALLS_ENTRY])


def the_call(position: Any) -> dict[str, Any]:
    (entry,) = position["calls"].values()
    return dict(entry)


@needs_state_store
def test_a_further_try_returns_the_receipt_and_sends_nothing(
    sandbox: Sandbox, channel: FakeSupervisor, caplog: pytest.LogCaptureFixture
) -> None:
    """A clear or a retry after success hands the same ids on again, asks nobody, and its log says so."""
    caplog.set_level("INFO")
    said = "This call was placed before: nothing is sent."
    first = run_task(an_operator(), channel)
    assert said not in caplog.text
    again = run_task(an_operator(), channel, try_number=2)
    assert said in caplog.text
    assert again.state == "success"
    assert again.xcoms == first.xcoms
    assert len(posts(sandbox)) == 1


def test_a_further_try_days_later_sends_nothing_either(
    sandbox: Sandbox, channel: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger outlives the vendor's 24 hours."""
    run_task(an_operator(), channel)
    later = pendulum.now("UTC").add(days=9)
    monkeypatch.setattr(pendulum, "now", lambda *_: later)
    sandbox.advance(9 * 86400)
    assert run_task(an_operator(), channel, try_number=2).state == "success"
    assert sandbox.rings == {NUMBER: 1}


@needs_state_store
def test_the_ledger_holds_nothing_private(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """The state store is readable by all who see the task: key, times and receipt, and nothing else."""
    parameters = {"customer_phone": NUMBER, "customer_name": "Rahul-the-private"}
    run = run_task(an_operator(parameters=parameters, metadata="a note"), channel)
    entry = dict(the_entry(run))
    assert entry.pop("called_at") is None  # the sends tell
    assert list(run.state_store[CALLS_ENTRY]["calls"]) == [entry["key"]]
    times = {"written_at", "shared_since", "used_since", "looked_at", "sends", "last_at"}
    ids = {"key", "redials", "receipt", "earlier", "last_receipt"}
    assert set(entry) == {"sent", "spent_keys", "attempt", "try_number", "refused", *times, *ids}
    assert set(entry["sends"][0]) == {"at", "ended_at", "scheduled_for", "ahead_s"}
    assert entry["receipt"]["trace_id"] == sandbox.calls[0].trace_id
    for private in (NUMBER.strip("+"), "Rahul", "a note", sandbox.api_key):
        assert private not in repr(run.state_store)
        assert private not in repr(run.sent("SetTaskStateStore"))


@needs_state_store
def test_the_intent_is_written_before_anything_is_sent_and_never_expires(
    channel: FakeSupervisor, sandbox: Sandbox
) -> None:
    """First the doubt is written down, then the request leaves, then the receipt is written."""
    run = run_task(an_operator(), channel)
    first, last = run.sent("SetTaskStateStore")
    doubt = the_call(first.value)
    assert (doubt["sent"], doubt["receipt"]) == ("unclear", None)
    assert the_call(last.value)["receipt"]["trace_id"]
    assert first.expires_at is None
    assert last.expires_at is None
    assert datetime.fromisoformat(doubt["written_at"]) <= sandbox.requests[0].at + timedelta(seconds=1)


@needs_state_store
@pytest.mark.parametrize("refused", ["SetTaskStateStore", "GetTaskStateStore"])
def test_a_ledger_that_fails_keeps_the_call_back(
    refused: str, channel: FakeSupervisor, sandbox: Sandbox
) -> None:
    """A process that cannot write its intent may be stale: it sends nothing, and Airflow may retry."""
    channel.refused.add(refused)
    run = run_task(an_operator(), channel)
    assert run.state == "up_for_retry"
    assert "No call was placed by this try" in run.log_text
    assert sandbox.requests == []
    if refused == "SetTaskStateStore":  # the task may be another process's, and so is its result then
        assert "return_value" not in run.xcoms


@needs_state_store
def test_an_entry_that_cannot_be_read_keeps_the_call_back(channel: FakeSupervisor, sandbox: Sandbox) -> None:
    """Somebody edited the entry: the task says so and sends nothing."""
    run = run_task(an_operator(), channel)
    (name,) = run.state_store
    for entries in channel.state.values():
        entries[name] = {"key": "k", "written_at": "yesterday"}
    again = run_task(an_operator(), channel, try_number=2)
    assert again.state == "up_for_retry"
    assert name in again.log_text
    assert len(posts(sandbox)) == 1


def test_a_position_in_a_list_does_not_inherit_another_person_s_receipt(
    sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """After a clear the list is in another order: each row still gets the receipt of its own person."""
    numbers = [f"+1415555012{n}" for n in range(3)]
    found: list[dict[str, str]] = []
    for try_number, order in enumerate((numbers, numbers[::-1]), start=1):
        with make_dag():
            rows = [{"customer_phone": number} for number in order]
            mapped = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand(parameters=rows)
        at = {"try_number": try_number, "logical_date": datetime.now(UTC)}
        runs = [run_task(mapped, channel, map_index=i, **at) for i in range(3)]
        found.append({number: run.xcoms["trace_id"] for number, run in zip(order, runs, strict=True)})
        sandbox.advance(600)
    assert sandbox.rings == dict.fromkeys(numbers, 1)
    assert found[0] == found[1]


def test_the_same_person_twice_in_a_list_is_rung_once(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Two rows with one agent and one number are one call; the second finds it."""
    with make_dag():
        mapped = FormantCreateCallOperator.partial(task_id="call", agent_id=456).expand(
            parameters=[{"customer_phone": NUMBER}] * 2
        )
    first = run_task(mapped, channel, map_index=0, logical_date=datetime.now(UTC))
    sandbox.advance(600)
    second = run_task(mapped, channel, map_index=1, logical_date=datetime.now(UTC))
    assert sandbox.rings == {NUMBER: 1}
    assert second.xcoms["return_value"]["placement"] == "found"
    assert second.xcoms["trace_id"] == first.xcoms["trace_id"]


@needs_state_store
def test_a_stopped_task_sends_nothing_more(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """SIGTERM before the request: Airflow lets the code go on, but nothing is sent."""

    class Stopped(FormantCreateCallOperator):
        def pre_execute(self, context: Any) -> None:  # noqa: ARG002 - Airflow's signature
            os.kill(os.getpid(), signal.SIGTERM)

    operator = Stopped(task_id="call", agent_id=456, parameters={"customer_phone": NUMBER}, retries=3)
    run = run_task(operator, channel)
    assert run.state == "up_for_retry"
    assert "cannot be taken back" in run.log_text
    assert "No call was placed by this try" in run.log_text
    assert sandbox.requests == []
    assert the_entry(run)["sent"] == "never"


@needs_state_store
@pytest.mark.parametrize(("number", "outcome"), [(NO_ANSWER, "no_answer"), (BUSY, "busy")])
def test_a_redial_is_a_wish_spoken(
    number: str, outcome: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """After an outcome in redial_on a further try places a further call, joined to the last conversation."""
    operator = an_operator(number, redial_on={"no_answer", "busy"}, **WAITING)
    first = run_task(operator, channel)
    sandbox.advance(600)
    second = run_task(operator, channel, try_number=2)
    assert sandbox.rings == {number: 2}
    assert second.xcoms["trace_id"] != first.xcoms["trace_id"]
    again = posts(sandbox)[1].body
    assert again["idempotency_key"] != posts(sandbox)[0].body["idempotency_key"]
    assert again["conversation_id"].startswith(sandbox.calls[0].chain_id)
    assert the_entry(second)["attempt"] == 2
    assert f"ended as {outcome}" in second.log_text


@needs_state_store
@pytest.mark.parametrize(
    ("number", "redial_on"), [(NUMBER, {"no_answer", "busy"}), (BUSY, {"no_answer"}), (BUSY, ())]
)
def test_nobody_else_is_rung_again(
    number: str, redial_on: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Whoever was reached, and every outcome that is not named, keeps the old receipt."""
    operator = an_operator(number, redial_on=redial_on, **WAITING)
    first = run_task(operator, channel)
    sandbox.advance(600)
    assert run_task(operator, channel, try_number=2).xcoms == first.xcoms
    assert sandbox.rings == {number: 1}


@needs_state_store
def test_a_redial_waits_for_the_outcome(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """While the call lasts there is no outcome, so nobody is called again."""
    operator = an_operator(BUSY, redial_on={"busy"}, **WAITING)
    run_task(operator, channel)
    assert run_task(operator, channel, try_number=2).state == "deferred"
    assert sandbox.rings == {BUSY: 1}


@needs_state_store
def test_a_redial_whose_answer_is_lost_rings_once(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The protocol holds for the second call as for the first."""
    operator = an_operator(BUSY, redial_on={"busy"}, retry_context={"retry_language": "hi-IN"}, **WAITING)
    run_task(operator, channel)
    sandbox.advance(600)
    sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE, times=3)
    assert run_task(operator, channel, try_number=2).state == "up_for_retry"
    third = run_task(an_operator(BUSY, retry_context={"retry_language": "hi-IN"}), channel, try_number=3)
    assert sandbox.rings == {BUSY: 2}
    assert third.state == "success"
    assert posts(sandbox)[1].body["retry_context"] == {"retry_language": "hi-IN"}


WRONG_OPTIONS = [
    {"redial_on": {"completed"}},
    {"redial_on": "busy"},
    {"redial_on": {"bussy"}},
    {"on_unconfirmed": "retry"},
    {"lookup_timeout": -1},
    {"lookup_timeout": "30"},
    {"max_inline_wait": float("inf")},
    {"max_inline_wait": True},
    {"max_inline_wait": None},
]


@pytest.mark.parametrize("option", WRONG_OPTIONS, ids=repr)
def test_an_option_that_cannot_be_meant_breaks_the_dag_file(option: dict[str, Any]) -> None:
    """A mistake in an option shows when the DAG is parsed, not when somebody should be called."""
    (name,) = option
    with pytest.raises(ValueError, match=name):
        an_operator(**option)


def test_a_long_rate_limit_gives_the_worker_back(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A deferrable task waits in the triggerer for the moment the API named, then places its call."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=600)
    operator = an_operator(deferrable=True)
    first = run_task(operator, channel)
    assert first.state == "deferred"
    until = datetime.fromisoformat(first.trigger_kwargs["until"])
    assert "A triggerer has to run for that (airflow triggerer)" in first.log_text
    assert 590 < (until - datetime.now(UTC)).total_seconds() < 610
    assert NUMBER.strip("+") not in repr(first.deferral)
    event = {"give_up_at": (until + timedelta(hours=1)).isoformat()}
    second = run_task(operator, channel, resume_event=event)
    assert (second.state, sandbox.rings) == ("success", {NUMBER: 1})


def test_the_trigger_fires_at_its_moment_and_hands_the_deadline_back(channel: FakeSupervisor) -> None:
    """A trigger that starts after its moment fires at once: a restart does not wait anew."""
    operator = an_operator(deferrable=True, max_inline_wait=0)
    with Sandbox(api_key="k-12345", speed=0) as slow:
        slow.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=1)
        channel.connections["formant_default"] = slow.connection_uri()
        deferral = run_task(operator, channel).deferral
    event = run_trigger(deferral, channel).event
    assert datetime.fromisoformat(event["give_up_at"]) > datetime.now(UTC) + timedelta(hours=23)


def test_waiting_ends_one_day(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A server that asks to wait for ever is waited for a day; then the task fails as retryable."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=600, times=2)
    operator = an_operator(deferrable=True)
    assert run_task(operator, channel).state == "deferred"
    soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    assert run_task(operator, channel, resume_event={"give_up_at": soon}).state == "up_for_retry"
    assert sandbox.rings == {}


def test_without_deferral_a_long_rate_limit_is_left_to_airflow(
    sandbox: Sandbox, channel: FakeSupervisor, sleeps: list[float]
) -> None:
    """The worker does not sleep through it: the task fails at once and may be retried."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=600)
    run = run_task(an_operator(), channel)
    assert (run.state, sleeps, len(posts(sandbox))) == ("up_for_retry", [], 1)


def test_a_longer_inline_wait_may_be_chosen(
    sandbox: Sandbox, channel: FakeSupervisor, sleeps: list[float]
) -> None:
    """max_inline_wait says how long a worker may be held."""
    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=45)
    run = run_task(an_operator(max_inline_wait=timedelta(seconds=50)), channel)
    assert run.state == "success"
    assert 45 <= sleeps[0] < 47


def test_looking_for_a_call_heeds_the_rate_limit(
    sandbox: Sandbox, channel: FakeSupervisor, sleeps: list[float]
) -> None:
    """A 429 while a lost call is looked for is waited out, or ends the look when that takes too long."""
    sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    sandbox.inject("GET /v1/conversations", Fault.RATE_LIMIT, retry_after=12)
    sandbox.inject("GET /v1/conversations", Fault.RATE_LIMIT, retry_after=600)
    run = run_task(an_operator(), channel)
    assert run.xcoms["return_value"]["placement"] == "unconfirmed"
    assert sleeps[1:] == [12]
    assert len([seen for seen in sandbox.requests if seen.method == "GET"]) == 2


@needs_retry_policies
def test_the_retry_policy_retries_when_the_api_said(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """With FORMANT_RETRY_POLICY the next try comes at the moment the API named."""
    from formant_provider.retries import FORMANT_RETRY_POLICY

    sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, retry_after=600)
    run = run_task(an_operator(retry_policy=FORMANT_RETRY_POLICY), channel)
    assert run.state == "up_for_retry"
    (message,) = run.sent("RetryTask")
    assert message.retry_delay_seconds == 600


@needs_retry_policies
@pytest.mark.parametrize(
    ("error", "action", "seconds"),
    [
        (RateLimited("x", retry_after_s=90), "retry", 90),
        (RateLimited("x"), "default", None),
        (ServerError("x"), "default", None),
        (InvalidRequest("x"), "fail", None),
        (ValueError("x"), "default", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_retry_policy_decides_by_the_error(error: Exception, action: str, seconds: float | None) -> None:
    """A time that was named is kept, what is final fails at once, all else is the task's own business."""
    from formant_provider.retries import FORMANT_RETRY_POLICY

    decision = FORMANT_RETRY_POLICY.evaluate(error, 1, 3)
    assert decision.action.value == action
    assert decision.retry_delay == (timedelta(seconds=seconds) if seconds else None)
