"""Further calls that were asked for: only after the outcomes named, joined to the conversation, once each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import CREATE_CALL, GET_CONVERSATION, LIST_CONVERSATIONS
from formant_provider.api.errors import (
    CallNotAllowed,
    CallOutcomeUnknown,
    RetryableError,
    SendAborted,
    ServerError,
)
from formant_provider.core.calls.placement import Result
from formant_provider.core.keys import key_after_refusals, key_for_redial
from formant_provider.core.ledger import Sent
from formant_provider.sandbox import Fault
from support.ledgers import CALL, NOON, Died, MemoryLedger, Start, Tries, call_to, on_ask

HOUR = 3600
FIRST = CALL.idempotency_key
SECOND = key_for_redial(key=FIRST, attempt=2)
THIRD = key_for_redial(key=FIRST, attempt=3)
ENDINGS = {
    "completed": "00",
    "no_answer": "01",
    "busy": "02",
    "failed": "03",
    "unreachable": "04",
    "socket_failure": "05",
    "telephony_failed": "06",
    "voicemail_reached": "07",
}
ALL = frozenset(ENDINGS)


def after_a_call(start: Start, status: str = "busy", *, minutes: float = 10, **tries: Any) -> Tries:
    """A call that was placed some minutes ago, and whose next try may call again."""
    call = tries.pop("call", None) or call_to(ENDINGS[status])
    task = start(call=call, redial_on=frozenset({status}), **tries)
    assert task.place().result is Result.PLACED
    task.sandbox.advance(minutes * 60)
    return task


@pytest.mark.parametrize("status", ENDINGS)
def test_a_call_that_ended_as_named_is_placed_again(status: str, start: Start) -> None:
    """One more ring, with a key of its own, in the same conversation chain; its receipt is the ledger's."""
    task = after_a_call(start, status)
    placement = task.place()
    first, second = task.sandbox.calls
    assert (placement.result, task.rings, task.keys) == (Result.PLACED, 2, [FIRST, SECOND])
    assert placement.receipt is not None
    assert placement.receipt.trace_id == second.trace_id
    assert task.bodies[1]["conversation_id"] == first.conversation_id
    assert (second.chain_id, second.attempt) == (first.chain_id, 2)
    last = task.ledger.last
    assert (last.attempt, last.redials, last.receipt) == (2, first.conversation_id, placement.receipt)


@pytest.mark.parametrize("status", ENDINGS)
def test_a_call_that_ended_otherwise_is_not_placed_again(status: str, start: Start) -> None:
    """Whoever was reached, or whose line failed in a way that was not named, is left alone."""
    task = after_a_call(start, status)
    first = task.ledger.last.receipt
    task.redial_on = ALL - {status}
    placement = task.place()
    assert (placement.result, placement.receipt, task.rings) == (Result.PLACED, first, 1)


@pytest.mark.parametrize("appears", ["start", "end"])
def test_a_call_that_still_runs_is_not_placed_again(appears: str, start: Start) -> None:
    """Record not there yet, or there and in progress: nobody is called while they may be talking."""
    task = after_a_call(start, "no_answer", minutes=0.1, sandbox={"record_appears": appears})
    task.redial_on = ALL
    assert task.place().result is Result.PLACED
    assert task.rings == 1


def test_every_redial_has_its_own_key_and_follows_the_one_before(start: Start) -> None:
    """Three calls, three keys, one chain; each joins the conversation of the last."""
    task = after_a_call(start, "no_answer")
    task.place()
    task.sandbox.advance(600)
    assert task.place().result is Result.PLACED
    first, second, third = task.sandbox.calls
    assert task.keys == [FIRST, SECOND, THIRD]
    assert [body.get("conversation_id") for body in task.bodies] == [
        None,
        first.conversation_id,
        second.conversation_id,
    ]
    assert third.attempt == 3


@pytest.mark.parametrize("appears", ["start", "end"])
def test_two_tries_in_a_row_redial_once(appears: str, start: Start) -> None:
    """The second redial waits for how the first one ended."""
    task = after_a_call(start, "no_answer", sandbox={"record_appears": appears})
    assert [task.place().result for _ in range(3)] == [Result.PLACED] * 3
    assert task.rings == 2


@pytest.mark.parametrize(
    ("status", "context"),
    [
        ("completed", {"collected_data": {"intent": "payment_confirmed", "sentiment": "positive"}}),
        ("busy", None),
    ],
)
def test_a_redial_tells_what_the_last_call_brought(status: str, context: Any, start: Start) -> None:
    """What the agent had collected goes along as ``retry_context``, if there is anything."""
    task = after_a_call(start, status)
    task.place()
    assert task.bodies[1].get("retry_context") == context
    assert all("payment_confirmed" not in text for text in task.ledger.history)


def test_a_context_given_by_the_user_goes_out_as_given(start: Start) -> None:
    """The user's own ``retry_context`` is not mixed with what the last call brought."""
    mine = {"retry_language": "hi-IN"}
    task = after_a_call(start, "completed", call=replace(CALL, retry_context=mine))
    task.place()
    assert task.bodies[1]["retry_context"] == mine


# A redial is as safe as a call.


def test_a_redial_whose_answer_was_lost_is_found(start: Start) -> None:
    """Accepted, then dropped: the redial's own record is found, and it rang once."""
    task = after_a_call(start)
    task.sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    placement = task.place()
    assert placement.result is Result.FOUND
    assert placement.receipt is not None
    assert placement.receipt.trace_id == task.sandbox.calls[1].trace_id
    assert task.rings == 2


@pytest.mark.parametrize("lookup_timeout_s", [0.0, 300.0])
def test_a_redial_is_not_mistaken_for_the_call_it_follows(lookup_timeout_s: float, start: Start) -> None:
    """A redial soon after its call: the record of that call, seconds older, is not the redial's."""
    task = after_a_call(start, minutes=0.5, lookup_timeout_s=lookup_timeout_s)
    task.sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    placement = task.place()
    first, second = task.sandbox.calls
    found = placement.receipt and placement.receipt.trace_id
    assert found != first.trace_id
    assert placement.result is (Result.FOUND if found else Result.UNCONFIRMED)
    assert found in {None, second.trace_id}
    assert task.rings == 2


def test_a_redial_that_was_never_sent_is_not_found_in_the_call_it_follows(start: Start) -> None:
    """Dead before the send of a quick redial, a day ago: the call before it is no proof of it."""
    task = after_a_call(start, minutes=0.5, ledger=MemoryLedger(dies_after=[3]))
    task.die()
    task.sandbox.advance(24 * HOUR)
    assert isinstance(task.fail(), CallOutcomeUnknown)
    assert task.rings == 1


@pytest.mark.parametrize(
    ("death", "then", "sent"),
    [
        ({"dies_before": [3]}, Result.PLACED, [FIRST, SECOND]),
        ({"dies_after": [3]}, Result.PLACED, [FIRST, SECOND]),
        ({}, Result.PLACED, [FIRST, SECOND]),
        ({"dies_before": [4]}, Result.FOUND, [FIRST, SECOND, SECOND]),
        ({"dies_after": [4]}, Result.PLACED, [FIRST, SECOND]),
    ],
    ids=["before the intent", "after the intent", "before the send", "before the receipt", "after it"],
)
def test_a_process_that_died_in_a_redial_is_followed_by_one_that_ends_it(
    death: dict[str, Any], then: Result, sent: list[str], start: Start
) -> None:
    """Wherever it died, the redial rings once, and the call before it not again."""
    task = after_a_call(start, "no_answer", ledger=MemoryLedger(**death))
    task.die(check_before_send=None if "4" in str(death) else on_ask(1, Died()))
    placement = task.place()
    assert (placement.result, task.rings, task.keys) == (then, 2, sent)
    assert placement.receipt is not None
    assert placement.receipt.trace_id == task.sandbox.calls[1].trace_id


@pytest.mark.parametrize("uses_key", [True, False])
def test_a_redial_that_was_limited_goes_on_where_it_was(uses_key: bool, start: Start) -> None:
    """429 through a whole try: the next sends the same redial, and with a key of its own if need be."""
    task = after_a_call(start, sends=1, sandbox={"failed_request_uses_key": uses_key})
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    assert isinstance(task.fail(), RetryableError)
    assert (task.ledger.last.attempt, task.ledger.last.sent) == (2, Sent.REFUSED)
    assert task.place().result is Result.PLACED
    next_key = key_after_refusals(key=SECOND, spent=1)
    assert task.keys == [FIRST, SECOND, SECOND, *([next_key] if uses_key else [])]
    assert task.rings == 2
    assert len({call.chain_id for call in task.sandbox.calls}) == 1


def test_a_redial_that_was_limited_and_is_not_allowed_later_leaves_the_call_before_it(start: Start) -> None:
    """The person was called once, and the task has the ids of that."""
    task = after_a_call(start, sends=1)
    first = task.ledger.last
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    assert isinstance(task.fail(), RetryableError)

    def never(_asked: object, _now: object) -> None:
        raise CallNotAllowed("It is late", reason="late")

    for _ in range(2):  # however often it is asked
        placement = task.place(when=never)
        assert (placement.result, placement.receipt) == (Result.PLACED, first.receipt)
        assert placement.since == first.written_at
    assert task.rings == 1
    assert task.place().result is Result.PLACED
    assert (task.rings, task.ledger.last.receipt == first.receipt) == (2, False)


@pytest.mark.parametrize("waits", [False, True])
def test_who_is_reached_while_a_redial_was_refused_or_waits_is_not_rung(waits: bool, start: Start) -> None:
    """What was decided before it is asked again: the task has the ids of its call, and nobody is rung."""
    task = after_a_call(start, sends=1)
    first = task.ledger.last
    if waits:
        task.fail(check_before_send=lambda: SendAborted("Its turn has not come"))
    else:
        task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
        task.fail()
    task.sandbox.receive(task.call.recipient, lasts_seconds=30)
    task.sandbox.advance(600)
    placement = task.place()
    assert (placement.result, placement.receipt) == (Result.PLACED, first.receipt)
    assert (placement.since, task.rings) == (first.written_at, 1)


def test_who_is_reached_after_a_redial_died_before_its_send_is_not_rung(start: Start) -> None:
    """It may have been placed, so it is looked for; the call in which the person was reached is not its."""
    task = after_a_call(start, "no_answer")
    task.die(check_before_send=on_ask(1, Died()))
    task.sandbox.advance(600)
    task.sandbox.receive(task.call.recipient, lasts_seconds=30)
    task.sandbox.advance(600)
    placement = task.place()
    assert (placement.result, placement.receipt) == (Result.UNCONFIRMED, None)
    assert task.rings == 1


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_redial_that_is_wanted_no_more_is_not_placed(in_doubt: bool, start: Start) -> None:
    """``redial_on`` was taken out since, or another task asks: the call before it is the call."""
    task = after_a_call(start, sends=1)
    first = task.ledger.last
    if in_doubt:
        task.die(check_before_send=on_ask(1, Died()))
    else:
        task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
        task.fail()
    for changed in ({"redial_on": frozenset()}, {"try_number": 1}):
        placement = task.place(**changed)
        assert (placement.result, placement.receipt) == (Result.PLACED, first.receipt)
    assert task.rings == 1
    assert task.place().result is Result.PLACED
    assert task.rings == 2


def test_a_redial_that_is_aborted_is_not_sent(start: Start) -> None:
    """A task stopped before its redial rings nobody; the next try redials."""
    task = after_a_call(start)
    assert isinstance(task.fail(check_before_send=lambda: SendAborted("The task was stopped")), SendAborted)
    assert (task.rings, task.ledger.last.sent) == (1, Sent.NEVER)
    assert task.place().result is Result.PLACED
    assert (task.rings, task.keys) == (2, [FIRST, SECOND])


def test_a_redial_that_cannot_be_written_down_is_not_sent(start: Start) -> None:
    """No ledger, no redial."""
    task = after_a_call(start, ledger=MemoryLedger(fails_at=[3]))
    assert isinstance(task.fail(), SendAborted)
    assert task.rings == 1


@pytest.mark.parametrize("asked", [LIST_CONVERSATIONS, GET_CONVERSATION])
def test_while_the_last_call_cannot_be_read_nobody_is_rung_and_nothing_denied(
    asked: str, start: Start
) -> None:
    """How the last call ended is not known, so it is not placed again; that it was placed is not denied."""
    task = after_a_call(start)
    task.sandbox.inject(asked, Fault.ERROR_500_BEFORE, times=4)
    error = task.fail()
    assert isinstance(error, ServerError)
    assert task.rings == 1
    assert error.maybe_placed


def test_a_redial_in_doubt_is_not_denied_by_a_failed_read(start: Start) -> None:
    """The redial was placed and its process died; an unreadable conversation does not make that unsaid."""
    task = after_a_call(start, ledger=MemoryLedger(dies_before=[4]))
    task.die()
    task.sandbox.inject(GET_CONVERSATION, Fault.ERROR_500_BEFORE, times=4)
    error = task.fail()
    assert task.rings == 2
    assert error.maybe_placed


def test_the_redial_of_a_scheduled_call_goes_out_at_once(start: Start) -> None:
    """The time of the first call has passed; the redial does not ask for it again."""
    call = call_to("01", scheduled_for=NOON + timedelta(hours=2))
    task = after_a_call(start, "no_answer", call=call, minutes=180)
    placement = task.place()
    assert (placement.result, task.rings) == (Result.PLACED, 2)
    assert "scheduled_for" not in task.bodies[1]


def test_a_call_found_after_its_ledger_was_lost_can_be_redialled(start: Start) -> None:
    """Cleared, ledger and all: the call is found, and the next try knows how it ended."""
    task = after_a_call(start, "no_answer")
    task.ledger = MemoryLedger()
    assert task.place().result is Result.FOUND
    assert task.place().result is Result.PLACED
    assert (task.rings, task.keys[-1]) == (2, SECOND)


def test_without_redial_on_nothing_is_even_asked(start: Start) -> None:
    """No ``redial_on``, no read: the ledger's receipt is the answer."""
    task = after_a_call(start)
    task.redial_on = frozenset()
    seen = len(task.sandbox.requests)
    assert task.place().result is Result.PLACED
    assert len(task.sandbox.requests) == seen


def test_a_call_without_a_record_is_not_placed_again(start: Start) -> None:
    """Without a record nobody knows how the call ended, whatever the time."""
    task = after_a_call(start, "completed", call=call_to("08"))
    task.sandbox.advance(30 * HOUR)
    assert task.place().result is Result.PLACED
    assert task.rings == 1


def test_a_redial_in_doubt_for_a_day_is_found_and_not_sent(start: Start) -> None:
    """The key of a redial protects as long as any, and is not trusted longer."""
    task = after_a_call(start, ledger=MemoryLedger(dies_before=[4]))
    task.die()
    task.sandbox.advance(24 * HOUR)
    placement = task.place()
    assert (placement.result, task.rings, task.keys) == (Result.FOUND, 2, [FIRST, SECOND])


@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.ERROR_500_BEFORE])
def test_what_a_redial_was_to_tell_cannot_be_read_and_no_doubt_is_left(fault: Fault, start: Start) -> None:
    """A failed read right before the send is no send: the receipt stays, and the next try redials once."""
    task = after_a_call(start)
    first = task.ledger.last

    def when(asked: Any, _now: Any) -> Any:
        task.sandbox.inject(GET_CONVERSATION, fault, times=4)
        return asked

    error = task.fail(when=when)
    assert isinstance(error, RetryableError)
    assert (error.maybe_placed, task.ledger.last, task.rings) == (True, first, 1)
    assert task.place().result is Result.PLACED
    assert (task.rings, task.keys) == (2, [FIRST, SECOND])
