"""First tries and what follows them: faults, deaths, ledgers that fail, refusals. The rest is next door."""

from __future__ import annotations

import logging
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from formant_provider.api.client import CREATE_CALL
from formant_provider.api.errors import (
    AuthenticationFailed,
    FormantError,
    InvalidRequest,
    NotFound,
    RequestRefused,
    ResponseLost,
    RetryableError,
    SendAborted,
    Superseded,
    Unreachable,
)
from formant_provider.api.models import CallRequest
from formant_provider.core.calls.placement import Result
from formant_provider.core.keys import key_after_refusals
from formant_provider.core.ledger import Sent
from formant_provider.sandbox import Fault
from support.ledgers import (
    CALL,
    LIMITS,
    LOST_AFTER,
    LOST_BEFORE,
    NOON,
    NUMBER,
    Died,
    MemoryLedger,
    StaleLedger,
    Start,
    on_ask,
)
from support.scripted_server import Answer, ScriptedServer


def test_a_calm_first_try_rings_once_and_writes_before_and_after(start: Start) -> None:
    """The intent is on record before the send, the receipt after it, and nothing is asked twice."""
    task = start()
    placement = task.place()
    (call,) = task.sandbox.calls
    assert placement.result is Result.PLACED
    assert placement.receipt is not None
    assert placement.receipt.trace_id == call.trace_id
    assert (task.rings, task.keys, task.ledger.writes) == (1, [CALL.idempotency_key], 2)
    assert task.ledger.last.receipt == placement.receipt


def test_a_later_try_sends_nothing(start: Start) -> None:
    """With the receipt in the ledger, a further try gives it back without a word to the server."""
    task = start()
    first = task.place()
    seen = len(task.sandbox.requests)
    task.sandbox.advance(40 * 3600)
    assert task.place() == first
    assert len(task.sandbox.requests) == seen


@pytest.mark.parametrize("fault", [*LOST_BEFORE, Fault.HANG_BEFORE, *LIMITS])
def test_a_fault_before_accepting_is_repeated_with_the_same_key(fault: Fault, start: Start) -> None:
    """Whatever kept the vendor from accepting once, the call is placed once, in the same try."""
    task = start(read_timeout_s=0.6 if fault is Fault.HANG_BEFORE else 30.0)
    task.sandbox.inject(CREATE_CALL, fault)
    assert task.place().result is Result.PLACED
    assert (task.rings, task.keys) == (1, [CALL.idempotency_key] * 2)
    assert task.ledger.last.receipt is not None


@pytest.mark.parametrize("fault", [*LOST_AFTER, Fault.HANG_AFTER])
def test_a_fault_after_accepting_rings_once_and_the_call_is_found(fault: Fault, start: Start) -> None:
    """The repeat is refused as a duplicate, and the record gives back the ids that were lost."""
    task = start(read_timeout_s=0.6 if fault is Fault.HANG_AFTER else 30.0)
    task.sandbox.inject(CREATE_CALL, fault)
    placement = task.place()
    (call,) = task.sandbox.calls
    assert (placement.result, task.rings, len(task.keys)) == (Result.FOUND, 1, 2)
    assert placement.receipt == task.ledger.last.receipt
    assert placement.receipt is not None
    assert (placement.receipt.trace_id, placement.receipt.conversation_id) == (
        call.trace_id,
        call.conversation_id,
    )
    assert (placement.receipt.agent_id, placement.receipt.status) == (456, "initiated")


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_a_call_whose_record_is_not_there_yet_is_unconfirmed_and_found_later(
    fault: Fault, start: Start
) -> None:
    """Nobody is called again while the record is missing; a later try finds it."""
    task = start(lookup_timeout_s=10.0)
    task.sandbox.inject(CREATE_CALL, fault)
    unconfirmed = task.place()
    assert (unconfirmed.result, unconfirmed.receipt) == (Result.UNCONFIRMED, None)
    assert (task.ledger.last.sent, task.ledger.last.receipt) == (Sent.UNCLEAR, None)
    task.sandbox.advance(600)
    assert task.place().result is Result.FOUND
    assert task.rings == 1


@pytest.mark.parametrize(
    ("fault", "expected", "sent"),
    [
        *((fault, RetryableError | ResponseLost, Sent.UNCLEAR) for fault in LOST_BEFORE),
        *((fault, RetryableError, Sent.REFUSED) for fault in LIMITS),
    ],
)
def test_a_try_that_ends_in_faults_says_whether_a_call_may_have_been_placed(
    fault: Fault, expected: Any, sent: Sent, start: Start
) -> None:
    """Four unclear sends are a doubt on record, four times 429 a refusal; the next try places the call."""
    task = start()
    task.sandbox.inject(CREATE_CALL, fault, times=4)
    error = task.fail()
    assert isinstance(error, expected)
    assert error.maybe_placed is (sent is Sent.UNCLEAR)
    assert (task.rings, len(task.keys), task.ledger.last.sent) == (0, 4, sent)
    assert task.place().result is Result.PLACED
    assert (task.rings, set(task.keys)) == (1, {CALL.idempotency_key})


def test_a_limit_does_not_clear_up_an_earlier_doubt(start: Start) -> None:
    """503, then 429 until the try ends: a call may still have been placed, and the ledger keeps saying so."""
    task = start()
    task.sandbox.inject(CREATE_CALL, Fault.ERROR_503_BEFORE)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT, times=7)
    assert task.fail().maybe_placed
    assert task.fail().maybe_placed
    assert task.ledger.last.sent is Sent.UNCLEAR


def test_a_server_that_is_not_there_was_sent_nothing(start: Start) -> None:
    """No connection is no send: no doubt remains, and the next try places the call."""
    task = start()
    task.sandbox.stop()
    error = task.fail()
    assert isinstance(error, Unreachable)
    assert not error.maybe_placed
    assert task.ledger.last.sent is Sent.NEVER
    task.sandbox.start()
    assert task.place().result is Result.PLACED


def dying_sleep(_: float) -> None:
    raise Died


# Where the process dies: at a write of its ledger, at an ask, or while it looks; what its first send meets;
# how many sends there were, and after the next try; and how that one ends.
DEATHS: dict[str, tuple[dict[str, Any], int, Fault | None, tuple[int, int], Result]] = {
    "before the intent is written": ({"dies_before": [1]}, 0, None, (0, 1), Result.PLACED),
    "after the intent is written": ({"dies_after": [1]}, 0, None, (0, 1), Result.PLACED),
    "right before the send": ({}, 1, None, (0, 1), Result.PLACED),
    "with the receipt in hand": ({"dies_before": [2]}, 0, None, (1, 2), Result.FOUND),
    "after the receipt is written": ({"dies_after": [2]}, 0, None, (1, 1), Result.PLACED),
    "between two sends, the first lost": ({}, 2, Fault.DROP_BEFORE, (1, 2), Result.PLACED),
    "between two sends, the first accepted": ({}, 2, Fault.DROP_AFTER, (1, 2), Result.FOUND),
    "while looking": ({}, 0, Fault.DROP_AFTER, (2, 3), Result.FOUND),
}


@pytest.mark.parametrize("point", DEATHS)
def test_a_process_that_dies_anywhere_is_followed_by_one_that_places_the_call_once(
    point: str, start: Start
) -> None:
    """Not sent, it is sent; sent, it is found; on record, it is left alone. Nobody is called twice."""
    mishap, dies_at_ask, fault, sent, then = DEATHS[point]
    task = start(ledger=MemoryLedger(**mishap))
    if fault:
        task.sandbox.inject(CREATE_CALL, fault)
    task.die(check_before_send=on_ask(dies_at_ask, Died()), sleep=dying_sleep)
    assert len(task.keys) == sent[0]
    placement = task.place()
    assert (placement.result, task.rings) == (then, 1)
    assert placement.receipt is not None
    assert placement.receipt.trace_id == task.sandbox.calls[0].trace_id
    assert len(task.keys) == sent[1]


@pytest.mark.parametrize("moment", ["dies_before", "dies_after"])
@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_death_anywhere_on_the_way_to_a_second_key_rings_at_most_once(
    write: int, moment: str, start: Start
) -> None:
    """Intent, next key, its intent, receipt: wherever the process dies, the call is placed or in doubt."""
    task = start(ledger=MemoryLedger(**{moment: [write]}), sandbox={"failed_request_uses_key": True})
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    task.die()
    placement = task.place()
    found_or_placed = placement.receipt is not None
    assert task.rings == found_or_placed
    assert found_or_placed or placement.result is Result.UNCONFIRMED


@pytest.mark.parametrize(
    ("fault", "maybe_placed", "sent", "then"),
    [
        (None, False, Sent.NEVER, Result.PLACED),
        (Fault.RATE_LIMIT, False, Sent.REFUSED, Result.PLACED),
        (Fault.ERROR_500_BEFORE, True, Sent.UNCLEAR, Result.PLACED),
        (Fault.DROP_AFTER, True, Sent.UNCLEAR, Result.FOUND),
    ],
)
def test_a_call_aborted_before_a_send_is_not_sent_and_remembers_the_send_before(
    fault: Fault | None, maybe_placed: bool, sent: Sent, then: Result, start: Start
) -> None:
    """The error that aborts it is raised as it is; what an earlier send came to is not forgotten."""
    task = start()
    if fault:
        task.sandbox.inject(CREATE_CALL, fault)
    aborted, sends = SendAborted("The task was stopped"), 1 if fault else 0
    error = task.fail(check_before_send=on_ask(sends + 1, aborted))
    assert error is aborted
    assert (error.maybe_placed, task.ledger.last.sent, len(task.keys)) == (maybe_placed, sent, sends)
    assert (task.place().result, task.rings) == (then, 1)


def test_an_intent_that_cannot_be_written_is_not_sent(start: Start) -> None:
    """No ledger, no call; once the ledger is back, the call is placed."""
    task = start(ledger=MemoryLedger(fails_at=[1]))
    error = task.fail()
    assert isinstance(error, SendAborted)
    assert not error.maybe_placed
    assert task.sandbox.requests == []
    assert task.place().result is Result.PLACED


def test_a_stale_process_sends_nothing(start: Start) -> None:
    """A process that lost its task reads nothing, may not write, and so may not ring."""
    task = start(ledger=StaleLedger())
    assert isinstance(task.fail(), SendAborted)
    assert task.sandbox.requests == []


class TakenLedger(StaleLedger):
    """A store whose reads lag behind: each write is refused for a row that no read brings."""

    def write(self, intent: Any) -> None:
        raise Superseded(f"Another process has this call in hand: {intent.key}")

    claim = write


def test_a_ledger_that_always_tells_of_others_is_not_asked_for_ever(start: Start) -> None:
    """The try ends, retries may follow, and nobody was called."""
    task = start(ledger=TakenLedger())
    error = task.fail()
    assert isinstance(error, Superseded)
    assert not error.maybe_placed
    assert task.sandbox.rings == {}


def test_a_ledger_that_fails_after_a_doubt_does_not_deny_it(start: Start) -> None:
    """A try that cannot even write does not deny a call that an earlier try may have placed."""
    task = start(sends=1)
    task.sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    assert task.fail().maybe_placed
    task.ledger.fails_at = {task.ledger.writes + 1}
    error = task.fail()
    assert isinstance(error, SendAborted)
    assert task.rings == 1
    assert error.maybe_placed


def test_a_receipt_that_cannot_be_written_is_still_a_receipt(start: Start) -> None:
    """The call was placed, so the try says so; the next one finds it and rings nobody."""
    task = start(ledger=MemoryLedger(fails_at=[2]))
    assert task.place().result is Result.PLACED
    assert task.ledger.last.receipt is None
    assert task.place().result is Result.FOUND
    assert (task.rings, task.ledger.last.receipt is None) == (1, False)


def test_a_refusal_that_cannot_be_written_stays_a_doubt(start: Start) -> None:
    """429, and the ledger fails: the error says what is known, and the next try looks rather than rings."""
    task = start(ledger=MemoryLedger(fails_at=[2]), sandbox={"failed_request_uses_key": True}, sends=1)
    task.sandbox.inject(CREATE_CALL, Fault.RATE_LIMIT)
    assert not task.fail().maybe_placed
    assert task.ledger.last.sent is Sent.UNCLEAR
    assert task.place().result is Result.UNCONFIRMED
    assert task.rings == 0


REFUSED: dict[str, tuple[CallRequest, str | None, type[RequestRefused]]] = {
    "400": (replace(CALL, scheduled_for=NOON + timedelta(days=31)), None, InvalidRequest),
    "401": (CALL, "another-key", AuthenticationFailed),
    "404, the agent": (replace(CALL, agent_id=999), None, NotFound),
    "404, the chain": (replace(CALL, conversation_id="nobody_1"), None, NotFound),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_call_rang_nobody_and_says_so(kind: str, start: Start) -> None:
    """4xx is sent once, raised as it came, and leaves no doubt behind."""
    call, api_key, expected = REFUSED[kind]
    task = start(call=call, api_key=api_key)
    error = task.fail()
    assert type(error) is expected
    assert not error.maybe_placed
    assert (len(task.keys), task.rings, task.ledger.last.sent) == (1, 0, Sent.REFUSED)


def test_a_refusal_does_not_clear_up_an_earlier_doubt(start: Start) -> None:
    """Placed with its answer lost, then 401: the error says that a call may have been placed."""
    task = start(sends=1)
    task.sandbox.inject(CREATE_CALL, Fault.DROP_AFTER)
    task.fail()
    task.api_key = "another-key"
    error = task.fail()
    assert isinstance(error, AuthenticationFailed)
    assert error.maybe_placed
    assert task.ledger.last.sent is Sent.UNCLEAR
    task.api_key = None
    assert task.place().result is Result.FOUND
    assert task.rings == 1


def test_a_key_used_up_by_a_plain_refusal_is_followed_by_the_next(start: Start) -> None:
    """400 in one try, 409 in the next: nobody was called with that key, so the call goes out with another."""
    answers = Answer(400, {}), Answer(409, {}), Answer(200, {"data": {"trace_id": "t-1"}})
    task = start()
    with ScriptedServer(*answers) as server:
        task.base_url = server.base_url
        assert isinstance(task.fail(), InvalidRequest)
        placement = task.place()
    first = CALL.idempotency_key
    assert placement.result is Result.PLACED
    assert [seen.body["idempotency_key"] for seen in server.seen] == [
        first,
        first,
        key_after_refusals(key=first, spent=1),
    ]
    assert (task.ledger.last.spent_keys, task.ledger.last.receipt) == (1, placement.receipt)


PRIVATE = {
    "parameters": (*CALL.parameters, ("balance", "eighty rupees")),
    "metadata": "m-private",
    "retry_context": {"collected_data": {"owes": "a lot"}},
}
SECRETS = (NUMBER[1:], "Rahul", "eighty", "m-private", "a lot")
BEFORE_ACCEPTING = [Fault.RATE_LIMIT, Fault.ERROR_500_BEFORE, Fault.DROP_BEFORE]


@pytest.mark.parametrize("uses_key", [True, False])
@pytest.mark.parametrize("fault", [*BEFORE_ACCEPTING, Fault.DROP_AFTER, Fault.GARBAGE, None])
def test_nothing_private_is_written_or_said(
    fault: Fault | None, uses_key: bool, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Ledger, errors and logs hold no number, no parameter, no metadata, no context: whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    settings = {"failed_request_uses_key": uses_key, "echo_values_in_errors": True}
    call = replace(CALL, **PRIVATE, scheduled_for=None if fault else NOON + timedelta(days=31))
    task = start(call=call, sandbox=settings)
    if fault:
        task.sandbox.inject(CREATE_CALL, fault, times=4)
    said = []
    for _ in range(2):
        try:
            task.place()
        except FormantError as error:
            said += ["".join(traceback.format_exception(error)), repr(vars(error))]
    for secret in SECRETS:
        assert all(secret not in text for text in [*said, *task.ledger.history, caplog.text])
