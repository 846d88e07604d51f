"""Keys that were used before, keys that protect no more, and times that have passed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import CREATE_CALL, LIST_CONVERSATIONS
from formant_provider.api.errors import (
    AuthenticationFailed,
    CallOutcomeUnknown,
    FormantError,
    InvalidInput,
    RetryableError,
    SendAborted,
    ServerError,
    Unreachable,
)
from formant_provider.api.models import CallRequest
from formant_provider.core.calls.decision import MAX_KEYS_PER_TRY
from formant_provider.core.calls.placement import Result
from formant_provider.core.keys import key_after_refusals
from formant_provider.sandbox import Fault
from formant_provider.tasks.ledger import InMemoryLedger
from support.ledgers import CALL, NOON, MemoryLedger, Start, Tries, call_to

HOUR = 3600
USES_KEYS = {"failed_request_uses_key": True}


def keys(count: int) -> list[str]:
    """The keys of one call, in the order in which refusals use them up."""
    first = CALL.idempotency_key
    return [first, *(key_after_refusals(key=first, spent=spent) for spent in range(1, count))]


def rung_by_another(task: Tries, call: CallRequest | None = None) -> None:
    """Let somebody else place this call, with the same key, or another one."""
    with task.client() as client:
        client.create_call(call or task.call)


def only_line_taken(start: Start, **tries: Any) -> Tries:
    """A vendor that takes one call at a time, is busy with one, and counts what it refuses."""
    task = start(sandbox={**USES_KEYS, "max_concurrent_calls": 1}, **tries)
    rung_by_another(task, call_to("01", idempotency_key="somebody else's call"))
    return task


# Refused, and the key counted as used: nobody was called, so the next key is safe.


@pytest.mark.parametrize("sends", [1, 4])
@pytest.mark.parametrize("fault", [Fault.RATE_LIMIT, Fault.RATE_LIMIT_NO_HEADERS, Fault.CONCURRENCY_LIMIT])
def test_a_key_used_up_by_a_limit_is_followed_by_the_next(fault: Fault, sends: int, start: Start) -> None:
    """429, then 409 for the same key, in one try or hours later: the next key is sent."""
    task = start(sandbox=USES_KEYS, sends=sends)
    task.sandbox.inject(CREATE_CALL, fault)
    if sends == 1:
        assert not task.fail().maybe_placed
        task.sandbox.advance(5 * HOUR)
    assert task.place().result is Result.PLACED
    assert (task.rings, task.keys) == (1, [keys(1)[0], *keys(2)])
    assert (task.ledger.last.key, task.ledger.last.spent_keys) == (keys(2)[1], 1)


@pytest.mark.parametrize("failing_write", [4, 5])
def test_the_next_key_is_written_down_before_it_is_sent(failing_write: int, start: Start) -> None:
    """A ledger that fails in between aborts the call: what is not on record is not sent."""
    task = start(sandbox=USES_KEYS, sends=1, ledger=MemoryLedger(fails_at=[failing_write]))
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    task.fail()
    error = task.fail()
    assert isinstance(error, SendAborted)
    assert not error.maybe_placed
    assert (task.keys, task.rings) == (keys(1) * 2, 0)


def test_several_keys_are_used_up_and_then_the_call_is_placed(start: Start) -> None:
    """Each key is refused once and counted as used; the first that is taken rings, once."""
    task = only_line_taken(start, sends=1)
    for spent in range(3):
        assert isinstance(task.fail(), RetryableError)
        assert task.ledger.last.spent_keys == spent
    task.sandbox.advance(HOUR)
    assert task.place().result is Result.PLACED
    assert task.rings == 1
    assert list(dict.fromkeys(task.keys[1:])) == keys(4)


def test_a_try_uses_up_only_so_many_keys(start: Start) -> None:
    """When every key is refused and used up, the try ends, says nobody was called, and the next goes on."""
    task = only_line_taken(start, sends=2)
    error = task.fail()
    assert type(error) is RetryableError
    assert not error.maybe_placed
    assert list(dict.fromkeys(task.keys[1:])) == keys(MAX_KEYS_PER_TRY)
    task.sandbox.advance(HOUR)
    assert task.place().result is Result.PLACED
    assert task.keys[-1] == keys(MAX_KEYS_PER_TRY + 1)[-1]
    assert task.rings == 1


def test_a_doubt_outlives_a_limit_that_uses_keys(start: Start) -> None:
    """Placed and its answer lost, then 429, then 409: the key is the call's, and no other is tried."""
    task = start(sandbox=USES_KEYS)
    task.sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    assert task.place().result is Result.FOUND
    assert (task.rings, set(task.keys)) == (1, {CALL.idempotency_key})


def test_a_server_error_that_uses_the_key_leaves_the_call_unconfirmed(start: Start) -> None:
    """503, then 409: the vendor may have called, so nobody is called again and nobody claims a call."""
    task = start(sandbox=USES_KEYS)
    task.sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE)
    placement = task.place()
    assert (placement.result, placement.receipt) == (Result.UNCONFIRMED, None)
    assert task.rings == 0
    task.sandbox.advance(25 * HOUR)
    assert isinstance(task.fail(), CallOutcomeUnknown)


# A key that somebody else has used: another task of the same name, or this task before its ledger was lost.


def test_a_stranger_s_call_is_found_and_nobody_is_rung_again(start: Start) -> None:
    """The look goes back to when somebody else can have used the key."""
    task = start()
    rung_by_another(task)
    task.sandbox.advance(2 * HOUR)
    assert task.place().result is Result.FOUND
    assert task.rings == 1


def test_a_stranger_s_call_outside_of_the_window_is_unconfirmed(start: Start) -> None:
    """What was called before anybody can have used the key is not taken for this call."""
    task = start()
    rung_by_another(task)
    task.sandbox.advance(2 * HOUR)
    task.taken_since = NOON + timedelta(hours=1)
    placement = task.place()
    assert (placement.result, task.rings) == (Result.UNCONFIRMED, 1)


def test_a_stranger_s_key_is_not_sent_again_when_the_vendor_may_have_forgotten_it(start: Start) -> None:
    """Told by a 409 that the call was placed, nobody rings again, however old that call is by now."""
    task = start(call=call_to("08"), lookup_timeout_s=5.0)
    rung_by_another(task)
    task.sandbox.advance(23 * HOUR)
    unconfirmed(task)
    task.sandbox.advance(2 * HOUR)
    unconfirmed(task)
    assert task.rings == 1


def aborted(task: Tries) -> None:
    assert isinstance(task.fail(check_before_send=lambda: SendAborted("The task was stopped")), SendAborted)


def unplugged(task: Tries) -> None:
    task.sandbox.stop()
    assert isinstance(task.fail(), Unreachable)
    task.sandbox.start()


def limited(task: Tries) -> None:
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, times=task.sends)
    assert isinstance(task.fail(), RetryableError)


def unconfirmed(task: Tries) -> None:
    assert task.place().result is Result.UNCONFIRMED


@pytest.mark.parametrize("first_try", [unconfirmed, aborted, unplugged])
def test_a_stranger_s_call_is_found_by_a_second_try_too(
    first_try: Callable[[Tries], None], start: Start
) -> None:
    """A first try that did not find it, or did not even send, does not shorten the look of the second."""
    task = start(lookup_timeout_s=5.0)
    rung_by_another(task)
    task.sandbox.advance(120)
    first_try(task)
    task.sandbox.advance(600)
    assert task.place().result is Result.FOUND
    assert task.rings == 1


@pytest.mark.parametrize(("uses_key", "sends"), [(True, 4), (False, 4), (False, 1)])
def test_a_limit_before_the_409_does_not_make_a_stranger_s_key_ours(
    uses_key: bool, sends: int, start: Start
) -> None:
    """429, then 409 in the same try or the next, where others can have used the key: nothing is placed again.

    So it goes when a task is cleared whose ledger Airflow clears too: the vendor still knows the key.
    """
    task = start(sends=sends, sandbox={"failed_request_uses_key": uses_key})
    rung_by_another(task)
    task.sandbox.advance(HOUR)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    if sends == 1:
        assert isinstance(task.fail(), RetryableError)
    assert (task.place().result, task.rings) == (Result.FOUND, 1)


@pytest.mark.parametrize(
    "elsewhere", [{"taken_since": NOON - timedelta(hours=1)}, {"ledger": InMemoryLedger(None)}]
)
def test_no_next_key_where_others_can_have_sent_the_first(elsewhere: dict[str, Any], start: Start) -> None:
    """Another row, another task, or without a store another process: 429, then 409, is a doubt."""
    task = start(sandbox=USES_KEYS, lookup_timeout_s=0.0, **elsewhere)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    assert task.place().result is Result.UNCONFIRMED
    assert (task.rings, set(task.keys)) == (0, set(keys(1)))


@pytest.mark.parametrize("faults", [[], [Fault.ERROR_503_BEFORE], [Fault.RATE_LIMIT, Fault.DROP_BEFORE]])
def test_a_doubt_is_a_doubt_even_when_the_key_is_ours_alone(faults: list[Fault], start: Start) -> None:
    """A key that was not only ever refused may have placed a call, so nobody is called."""
    task = start()
    rung_by_another(task)
    task.sandbox.advance(HOUR)
    for fault in faults:
        task.sandbox.inject(CREATE_CALL, fault)
    task.place()
    assert task.rings == 1


def test_a_doubt_of_our_own_does_not_make_a_stranger_s_key_younger(start: Start) -> None:
    """503, then 409: the key was used an hour ago if by a stranger, and protects that much shorter."""
    task = start(call=call_to("08"), lookup_timeout_s=5.0)
    rung_by_another(task)
    task.sandbox.advance(HOUR)
    task.sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE)
    unconfirmed(task)
    task.sandbox.advance(23.5 * HOUR)
    with suppress(FormantError):
        task.place()
    assert task.rings == 1


# A doubt that is older than the vendor's memory.


def in_doubt(start: Start, fault: Fault, **tries: Any) -> Tries:
    """A call whose only try so far died or failed without a clear answer."""
    task = start(sends=1, **tries)
    task.sandbox.inject(CREATE_CALL, fault)
    assert task.fail().maybe_placed
    return task


@pytest.mark.parametrize(
    ("fault", "hours", "then", "sends"),
    [
        (Fault.DROP_BEFORE, 1, Result.PLACED, 2),
        (Fault.DROP_BEFORE, 23.9, Result.PLACED, 2),
        *((Fault.DROP_AFTER, hours, Result.FOUND, 1) for hours in (23.92, 24, 26, 200)),
    ],
)
def test_a_doubt_is_sent_again_within_a_day_and_looked_for_after_it(
    fault: Fault, hours: float, then: Result, sends: int, start: Start
) -> None:
    """As long as the vendor knows the key it refuses a second call; then the call is found without a send."""
    task = in_doubt(start, fault)
    task.sandbox.advance(hours * HOUR)
    assert task.place().result is then
    assert (task.rings, len(task.keys)) == (1, sends)
    assert task.place().result is Result.PLACED
    assert (task.rings, len(task.keys)) == (1, sends)


def test_a_key_that_stops_protecting_while_a_try_waits_is_not_sent(start: Start) -> None:
    """Begun in time, then held up by slow answers or a worker that was suspended: no ring after a day."""
    task = in_doubt(start, Fault.DROP_AFTER)
    task.sandbox.advance(23.9 * HOUR)
    task.sends, task.oversleeps_s = 4, 600.0
    task.sandbox.inject(CREATE_CALL, Fault.DROP_BEFORE)
    with suppress(FormantError):
        task.place()
    assert task.rings == 1


def test_after_a_day_a_call_in_doubt_without_a_record_is_not_guessed(start: Start) -> None:
    """No record: neither called again nor called placed; the error says what to check."""
    task = in_doubt(start, Fault.DROP_BEFORE)
    task.sandbox.advance(24 * HOUR)
    error = task.fail()
    assert isinstance(error, CallOutcomeUnknown)
    assert error.maybe_placed
    assert CALL.idempotency_key in str(error)
    assert CALL.recipient[1:] not in str(error)
    assert (task.rings, len(task.keys)) == (0, 1)


def test_while_nobody_answers_the_look_is_not_over(start: Start) -> None:
    """A list that cannot be read is an error to try again after, and a call may have been placed."""
    task = in_doubt(start, Fault.DROP_AFTER, lookup_timeout_s=5.0)
    task.sandbox.advance(24 * HOUR)
    task.sandbox.inject(LIST_CONVERSATIONS, Fault.ERROR_500_BEFORE, times=4)
    error = task.fail()
    assert isinstance(error, ServerError)
    assert error.maybe_placed
    assert task.place().result is Result.FOUND
    assert (task.rings, len(task.keys)) == (1, 1)


def test_a_look_goes_on_after_errors_that_pass(start: Start) -> None:
    """A few failed reads do not end the look."""
    task = in_doubt(start, Fault.DROP_AFTER)
    task.sandbox.advance(24 * HOUR)
    task.sandbox.inject(LIST_CONVERSATIONS, Fault.DROP_BEFORE, times=3)
    assert task.place().result is Result.FOUND


def test_a_look_that_is_refused_says_so_at_once(start: Start) -> None:
    """A wrong API key is not looked with for minutes, and is no proof that nobody was called."""
    task = in_doubt(start, Fault.DROP_AFTER)
    task.sandbox.advance(24 * HOUR)
    task.api_key = "another-key"
    seen = len(task.sandbox.requests)
    error = task.fail()
    assert isinstance(error, AuthenticationFailed)
    assert error.maybe_placed
    assert len(task.sandbox.requests) == seen + 1


# Calls scheduled for a time that passes between the tries.

AT_TWO = replace(CALL, scheduled_for=NOON + timedelta(hours=2))


def test_a_scheduled_call_is_placed_and_its_receipt_kept(start: Start) -> None:
    """After its time, a further try gives back the receipt and refuses nothing."""
    task = start(call=AT_TWO)
    first = task.place()
    assert first.receipt is not None
    assert (first.receipt.status, first.receipt.scheduled_for) == ("scheduled", "2026-03-18T14:00:00Z")
    task.sandbox.advance(3 * HOUR)
    assert task.place() == first
    assert len(task.keys) == 1


@pytest.mark.parametrize("lost", ["the answer", "the process"])
def test_a_scheduled_call_in_doubt_is_found_after_its_time(lost: str, start: Start) -> None:
    """It cannot be sent any more; its record says that it was placed."""
    if lost == "the answer":
        task = in_doubt(start, Fault.DROP_AFTER, call=AT_TWO)
    else:
        task = start(call=AT_TWO, ledger=MemoryLedger(dies_before=[2]))
        task.die()
    task.sandbox.advance(3 * HOUR)
    placement = task.place()
    assert placement.result is Result.FOUND
    assert placement.receipt is not None
    assert placement.receipt.status == "scheduled"
    assert placement.receipt.scheduled_for == "2026-03-18T14:00:00Z"
    assert (task.rings, len(task.keys)) == (1, 1)


def test_another_call_before_the_scheduled_time_is_not_taken_for_the_scheduled_one(start: Start) -> None:
    """A call to the same person at one o'clock is no proof of the one asked for at two."""
    task = in_doubt(start, Fault.DROP_BEFORE, call=AT_TWO)
    task.sandbox.advance(HOUR)
    rung_by_another(task, replace(CALL, idempotency_key="another task's call"))
    task.sandbox.advance(2 * HOUR)
    assert isinstance(task.fail(), CallOutcomeUnknown)


@pytest.mark.parametrize("first_try", [None, limited, aborted, unplugged])
def test_a_scheduled_call_that_rang_nobody_is_refused_after_its_time(
    first_try: Callable[[Tries], None] | None, start: Start
) -> None:
    """Never sent, or refused in so many words: the input is what is wrong now, and nobody was called."""
    task = start(call=AT_TWO)
    if first_try:
        first_try(task)
    task.sandbox.advance(3 * HOUR)
    sent = len(task.keys)
    error = task.fail()
    assert isinstance(error, InvalidInput)
    assert not error.maybe_placed
    assert (error.field, task.rings, len(task.keys)) == ("scheduled_for", 0, sent)


def test_a_key_not_used_up_by_a_limit_is_sent_again(start: Start) -> None:
    """A vendor that does not count refused requests is sent the same key until it takes it."""
    task = start()
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, times=3)
    assert task.place().result is Result.PLACED
    assert (task.rings, set(task.keys)) == (1, {CALL.idempotency_key})


def test_a_dead_process_is_a_doubt_too(start: Start) -> None:
    """Died after the intent was written, a day ago: looked for, and not sent."""
    task = start(ledger=MemoryLedger(dies_after=[1]))
    task.die()
    task.sandbox.advance(24 * HOUR)
    assert isinstance(task.fail(), CallOutcomeUnknown)
    assert task.keys == []


def test_a_refused_call_is_sent_after_a_day_too(start: Start) -> None:
    """No doubt, no danger: yesterday's 429 does not keep today's try from calling."""
    task = start(sends=1)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    task.fail()
    task.sandbox.advance(30 * HOUR)
    assert task.place().result is Result.PLACED


def test_a_scheduled_call_in_doubt_without_a_record_is_not_guessed(start: Start) -> None:
    """Its time has passed and no record exists: it may have been placed, and is not sent late."""
    task = in_doubt(start, Fault.DROP_BEFORE, call=AT_TWO)
    task.sandbox.advance(3 * HOUR)
    assert isinstance(task.fail(), CallOutcomeUnknown)
    assert (task.rings, len(task.keys)) == (0, 1)
