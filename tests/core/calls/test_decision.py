"""Whether a call may be sent, or sent again: one row for each situation, without server and clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.errors import CallNotAllowed, InvalidInput, ServerError
from formant_provider.api.models import CallReceipt, Conversation
from formant_provider.core.calls.decision import (
    MAX_KEYS_PER_TRY,
    Decision,
    Done,
    Look,
    Refuse,
    Send,
    after_duplicate,
    decide,
    first_intent,
    may_still_be_sent,
)
from formant_provider.core.calls.facts import At, Facts, Policy, Timing
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.conversations.lookup import Finding
from formant_provider.core.keys import KEY_PROTECTS, key_after_refusals, key_for_redial
from formant_provider.core.ledger import Sent

NOW = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
KEY = "0f3c8b5e-8f52-5d0e-9a3c-1d2e3f4a5b6c"
KEYS = {
    KEY: "first key",
    key_for_redial(key=KEY, attempt=2): "redial",
    key_after_refusals(key=KEY, spent=1): "next key",
}
BUSY = Conversation.from_json(
    {"conversation_id": "c1", "trace_id": "t1", "status": "busy", "start_timestamp": 1, "agent_id": 456}
)
REACHED = replace(BUSY, conversation_id="c2", trace_id="t2", status="completed")


def intent(*, ago: timedelta = HOUR, **fields: Any) -> Intent:
    return Intent(KEY, NOW - ago, **fields)


def unclear(ago: timedelta = HOUR, **fields: Any) -> Intent:
    """One whose send was written down, and whose answer was lost."""
    return intent(ago=ago, sent=Sent.UNCLEAR, **{"sends": (SendRecord(NOW - ago),), **fields})


def in_words(decision: Decision) -> str:
    match decision:
        case Send(intent=sent, moment=moment):
            return f"send {KEYS[sent.key]}" + (f", in {moment - NOW}" if moment else "")
        case Look(at=at):
            return f"look at {at.name}"
        case Done(result=result, is_traceable=is_traceable):
            return result.value + ("" if is_traceable else ", for ever")
        case Refuse(error=error):
            return f"refuse: {type(error).__name__}"


PLACED = unclear(receipt=CallReceipt(agent_id=456, trace_id="t1", status="initiated"))
OF_REDIAL = {"attempt": 2, "last_receipt": PLACED.receipt, "last_at": NOW - DAY, "redials": "c1"}
REFUSED = intent(sent=Sent.REFUSED)
SHARED = intent(shared_since=NOW - 2 * HOUR)
NEXT = intent(spent_keys=1)
INTENTS: dict[str, Intent] = {
    "placed": PLACED,
    "never sent": intent(),
    "refused": REFUSED,
    "refused 2 days ago": intent(ago=2 * DAY, sent=Sent.REFUSED),
    "next key": replace(NEXT, key=key_after_refusals(key=KEY, spent=1)),
    "shared key": SHARED,
    "shared, refused": replace(SHARED, sent=Sent.REFUSED),
    "shared, looked 1 h ago": replace(SHARED, looked_at=NOW - HOUR),
    "in doubt 1 h": unclear(),
    "in doubt 23 h": unclear(KEY_PROTECTS - timedelta(seconds=1)),
    "in doubt 24 h": unclear(KEY_PROTECTS),
    "in doubt 1 h, used 24 h": unclear(used_since=NOW - DAY),
    "in doubt, looked 1 h ago": unclear(looked_at=NOW - HOUR),
    "in doubt, looked 12 h ago": unclear(looked_at=NOW - KEY_PROTECTS / 2),
    "redial refused": intent(sent=Sent.REFUSED, **OF_REDIAL),
    "redial in doubt": unclear(**OF_REDIAL),
    # That an earlier try has sent is assumed: no send is written down.
    "assumed 1 h": unclear(sends=()),
    "assumed 24 h": unclear(DAY, sends=()),
    "assumed 24 h, used": unclear(DAY, sends=(), used_since=NOW - DAY),
}
POLICIES: dict[str, dict[str, Any]] = {
    "redial": {"redial_on": frozenset({"busy"}), "try_number": 2},
    "first try": {"try_number": 1},
    "old run": {"look_since": NOW - 30 * HOUR},
    "cleared": {"was_cleared": True},
}
CLOSED = Timing(error=CallNotAllowed("closed"))
FACTS: dict[str, dict[str, Any]] = {
    "allowed": {"timing": Timing()},
    "at six": {"timing": Timing(NOW + 6 * HOUR)},
    "closed": {"timing": CLOSED},
    "too late": {"timing": Timing(error=InvalidInput("scheduled_for", "lies in the past"))},
    "clock": {"vendor_now": NOW},
    "clock 24 h ahead": {"vendor_now": NOW + DAY},
    "clock 24 h behind": {"vendor_now": NOW - DAY},
    "no last call": {"since_last_call": ()},
    "was busy": {"since_last_call": (BUSY,)},
    "was reached": {"since_last_call": (replace(BUSY, status="completed"),)},
    "was busy, others reached": {"since_last_call": (BUSY, REACHED)},
    "only others reached": {"since_last_call": (REACHED,)},
    "409": {"is_used": True},
    "1 key used up": {"keys_used_up": 1},
    "4 keys used up": {"keys_used_up": MAX_KEYS_PER_TRY},
    "a record": {"call": Finding(BUSY)},
    "our record": {"call": Finding(BUSY, is_own=True)},
    "2 records": {"call": Finding(others=2)},
    "no record": {"call": Finding()},
    "look failed": {"call": Finding(error=ServerError("500"))},
    "others' call": {"others": Finding(BUSY)},
    "others' 2 calls": {"others": Finding(others=2)},
    "our call": {"others": Finding(BUSY, is_own=True)},
    "no others": {"others": Finding()},
    "scheduled perhaps": {"others": Finding(may_be_scheduled=True)},
}
# What the ledger says, policy, facts, and what follows.
TABLE = """
placed                    |                  |                             | placed
placed                    |                  | closed                      | placed
placed                    | old run; cleared |                             | placed
placed                    | redial           |                             | look at LAST_CALL
placed                    | redial           | no last call                | placed
placed                    | redial           | was reached                 | placed
placed                    | redial           | was busy, others reached    | placed
placed                    | redial           | only others reached         | placed
placed                    | redial           | was busy                    | look at TIMING
placed                    | redial           | was busy; allowed           | send redial
placed                    | redial; first try | was busy; allowed         | placed
placed                    | redial           | was busy; at six            | send redial, in 6:00:00
placed                    | redial           | was busy; closed            | placed

in doubt 1 h              |                  | 409; allowed                | look at CALL
in doubt 1 h              |                  | 409; closed                 | look at CALL
in doubt 1 h              |                  | 409; allowed; 1 key used up | look at CALL
in doubt 1 h              |                  | 409; allowed; a record      | found
in doubt 1 h              |                  | 409; allowed; 2 records     | unconfirmed
in doubt 1 h              |                  | 409; allowed; no record     | unconfirmed
in doubt 1 h              |                  | 409; allowed; look failed   | unconfirmed
next key                  |                  | allowed; 1 key used up      | send next key
next key                  |                  | allowed; 4 keys used up     | refuse: RetryableError

in doubt 1 h              |                  |                             | look at TIMING
in doubt 1 h              |                  | allowed                     | send first key
in doubt 1 h              |                  | at six                      | send first key, in 6:00:00
in doubt 23 h             |                  | allowed                     | send first key
in doubt 24 h             |                  | allowed                     | look at CALL
in doubt 24 h             |                  | allowed; a record           | found
in doubt 24 h             |                  | allowed; 2 records          | unconfirmed
in doubt 24 h             |                  | allowed; no record          | refuse: CallOutcomeUnknown
in doubt 24 h             |                  | allowed; look failed        | refuse: ServerError
in doubt 1 h, used 24 h   |                  | allowed                     | look at CALL
in doubt 1 h, used 24 h   |                  | allowed; no record          | unconfirmed
in doubt 1 h, used 24 h   |                  | allowed; a record           | found
in doubt 1 h, used 24 h   |                  | closed; no record           | unconfirmed
in doubt 1 h, used 24 h   |                  | allowed; look failed        | refuse: ServerError
assumed 24 h, used        |                  | allowed; no record          | unconfirmed, for ever
in doubt 1 h              |                  | closed                      | look at CALL
in doubt 1 h              | cleared          | closed                      | look at CALL
in doubt 1 h              |                  | too late                    | look at CALL
in doubt 1 h              |                  | closed; a record            | found
in doubt 1 h              |                  | closed; no record           | refuse: CallOutcomeUnknown
assumed 1 h               |                  | allowed                     | look at CLOCK
assumed 1 h               |                  | allowed; clock              | send first key
assumed 1 h               |                  | allowed; clock 24 h ahead   | look at CALL
assumed 24 h              |                  | allowed; clock 24 h behind  | look at CALL
assumed 24 h              |                  | allowed; clock; a record    | unconfirmed, for ever
assumed 24 h              |                  | allowed; clock; our record  | found
assumed 1 h               |                  | closed; a record            | found
in doubt 1 h              | old run          | allowed                     | look at CALL
in doubt, looked 1 h ago  | old run          | allowed                     | send first key
in doubt, looked 12 h ago | old run          | allowed                     | look at CALL

never sent                |                  |                             | look at TIMING
never sent                |                  | allowed                     | send first key
never sent                |                  | at six                      | send first key, in 6:00:00
never sent                |                  | closed                      | refuse: CallNotAllowed
never sent                |                  | too late                    | refuse: InvalidInput
never sent                | cleared          | closed                      | refuse: CallNotAllowed
refused                   |                  | allowed                     | send first key
refused                   |                  | closed                      | refuse: CallNotAllowed
refused 2 days ago        |                  | allowed                     | send first key
shared key                |                  | allowed                     | send first key
shared key                |                  | closed                      | refuse: CallNotAllowed
shared key                | cleared          | closed                      | look at OTHERS
shared key                | cleared          | too late                    | look at OTHERS
shared key                | cleared          | closed; others' call        | unconfirmed, for ever
shared key                | cleared          | closed; our call            | found
shared key                | cleared          | closed; no others           | refuse: CallNotAllowed
shared, looked 1 h ago    | cleared          | closed                      | refuse: CallNotAllowed
shared key                | old run          |                             | look at OTHERS
shared, refused           | old run          |                             | look at OTHERS
shared, looked 1 h ago    | old run          |                             | look at OTHERS
shared key                | old run          | others' call                | unconfirmed, for ever
shared key                | old run          | others' 2 calls             | unconfirmed, for ever
shared key                | old run          | our call                    | found
shared key                | old run          | scheduled perhaps           | refuse: CallOutcomeUnknown
shared key                | old run          | no others                   | look at TIMING
shared key                | old run          | no others; allowed          | send first key
shared key                | old run; cleared | no others; closed           | refuse: CallNotAllowed
redial refused            | redial           |                             | look at LAST_CALL
redial refused            | redial           | was busy                    | look at TIMING
redial refused            | redial           | was busy; closed            | placed
redial refused            | redial; cleared  | was busy; closed            | placed
redial refused            | redial           | was busy; allowed           | send first key
redial refused            | redial; old run  | was busy; allowed           | send first key
redial refused            | redial           | was busy, others reached    | placed
redial refused            | redial           | was reached                 | placed
redial refused            | redial; old run  | was reached                 | placed
redial refused            | redial; first try |                            | placed
redial refused            |                  |                             | placed
redial refused            | old run; cleared |                             | placed
redial refused            | redial           | allowed; 1 key used up      | send first key
redial in doubt           | redial           |                             | look at TIMING
redial in doubt           | redial           | allowed                     | look at LAST_CALL
redial in doubt           | redial           | allowed; was busy           | send first key
redial in doubt           | redial           | allowed; was reached        | look at CALL
redial in doubt           | redial           | allowed; was busy, others reached | look at CALL
redial in doubt           | redial           | allowed; was reached; a record    | found
redial in doubt           | redial           | allowed; was reached; 2 records   | unconfirmed
redial in doubt           | redial           | closed                      | look at CALL
redial in doubt           | redial           | allowed; was busy; 409      | look at CALL
redial in doubt           | redial; first try | allowed                    | placed
redial in doubt           |                  | allowed                     | placed
"""
ROWS = [line for line in TABLE.splitlines() if line]


def decided(known: Intent, policy: str = "", facts: str = "") -> Decision:
    return decide(
        known,
        NOW,
        Policy(None, 30.0, **_all_of(POLICIES, policy)),
        Facts(KEY, is_durable=True, **_all_of(FACTS, facts)),
    )


def _all_of(named: dict[str, dict[str, Any]], names: str) -> dict[str, Any]:
    return {field: value for name in names.split("; ") if name for field, value in named[name].items()}


@pytest.mark.parametrize("row", ROWS)
def test_what_follows_from_what_is_known(row: str) -> None:
    """The table of the decision, row by row."""
    known, policy, facts, expected = map(str.strip, row.split("|"))
    assert in_words(decided(INTENTS[known], policy, facts)) == expected


def test_a_doubt_keeps_its_sends_and_a_call_that_was_not_placed_begins_now() -> None:
    """The time that a key protects is counted from the first send that may have been accepted."""
    again, anew = decided(unclear(), facts="allowed"), decided(REFUSED, facts="allowed")
    assert isinstance(again, Send)
    assert isinstance(anew, Send)
    assert again.intent == unclear()
    assert (anew.intent.written_at, anew.intent.sends, anew.intent.sent) == (NOW, (), Sent.REFUSED)


def test_a_redial_follows_and_excludes_what_was_there_before() -> None:
    """It joins the last conversation, counts on, and shares its key if the call did."""
    shared = replace(PLACED, shared_since=NOW - 2 * HOUR)
    redials = [decided(known, "redial", "was busy; allowed") for known in (PLACED, shared)]
    own, taken = (redial.intent for redial in redials if isinstance(redial, Send))
    assert (own.attempt, own.redials, own.earlier, own.shared_since) == (2, "c1", ("c1",), None)
    assert taken.shared_since == shared.written_at


def test_what_is_refused_or_may_be_placed_says_so() -> None:
    """An unknown outcome may have been placed; a refusal leaves the next try the intent, and why."""
    refused = decided(REFUSED, facts="closed")
    unknown = [
        decided(unclear(DAY), facts="allowed; no record"),
        decided(SHARED, "old run", "scheduled perhaps"),
    ]
    assert isinstance(refused, Refuse)
    assert (refused.intent, refused.error.maybe_placed) == (replace(REFUSED, refused="held_back"), False)
    assert [each.error.maybe_placed for each in unknown if isinstance(each, Refuse)] == [True, True]


@pytest.mark.parametrize(
    ("since", "shared"), [(None, None), (NOW, None), (NOW + HOUR, None), (NOW - HOUR, NOW - HOUR)]
)
def test_a_fresh_intent_shares_its_key_only_with_the_past(
    since: datetime | None, shared: datetime | None
) -> None:
    """Nobody else can have sent a key before a time that is still to come."""
    assert first_intent(KEY, NOW, Policy(since, 30.0)) == Intent(KEY, NOW, shared_since=shared)


@pytest.mark.parametrize(
    ("before", "shared", "is_durable", "is_next_key"),
    [
        (Sent.REFUSED, False, True, True),
        (Sent.REFUSED, True, True, False),
        (Sent.REFUSED, False, False, False),
        (Sent.NEVER, False, True, False),
        (Sent.UNCLEAR, False, True, False),
    ],
)
def test_the_next_key_is_only_for_one_that_nobody_else_can_have_sent(
    before: Sent, shared: bool, is_durable: bool, is_next_key: bool
) -> None:
    """409: either the key was used up by refusals of ours alone, or a call was placed with it."""
    known = unclear(shared_since=NOW - 2 * HOUR if shared else None)
    after, facts = after_duplicate(known, before, NOW, Facts(KEY, is_durable))
    if is_next_key:
        assert (KEYS[after.key], after.sent, after.sends) == ("next key", Sent.NEVER, ())
        assert (after.spent_keys, after.written_at, facts.keys_used_up) == (1, NOW, 1)
    else:
        assert (after.key, after.sent, facts.is_used) == (KEY, Sent.UNCLEAR, True)
        # Of a send that was not ours nobody knows when it was made, but that it was not before this.
        ours = before is Sent.UNCLEAR
        assert after.sends == (known.sends if ours else ())
        assert after.written_at == (known.written_at if ours or not shared else known.shared_since)
        assert after.used_since == known.shared_since


@pytest.mark.parametrize(
    ("moment", "timing", "ago", "may"),
    [
        (None, Timing(), HOUR, True),
        (None, Timing(), KEY_PROTECTS, False),
        (None, CLOSED, HOUR, False),
        (None, Timing(NOW + HOUR), HOUR, False),
        (NOW, None, HOUR, True),
        (NOW + HOUR, None, HOUR, True),
        (NOW + HOUR, None, KEY_PROTECTS, False),
        (NOW - HOUR, None, HOUR, False),
    ],
)
def test_what_was_decided_has_to_hold_at_each_send(
    moment: datetime | None, timing: Timing | None, ago: timedelta, may: bool
) -> None:
    """The hours may have ended, the moment passed, or the key been forgotten, while a try waited."""
    assert may_still_be_sent(Send(unclear(ago), moment), NOW, timing) is may


def test_the_table_leaves_nothing_out() -> None:
    """Each kind of look, and each situation that is named, is in a row of it."""
    cells = [[cell.strip() for cell in row.split("|")] for row in ROWS]
    assert {row[3] for row in cells} >= {f"look at {at.name}" for at in At}
    assert {row[0] for row in cells} == set(INTENTS)
    assert {name for row in cells for name in row[2].split("; ")} == {*FACTS, ""}
