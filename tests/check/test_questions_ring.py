"""Open questions that one real call answers, and that it stays one call."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from formant_provider.api.errors import FormantError, NotAdmitted
from formant_provider.check.questions.watching import Pace
from formant_provider.sandbox import Fault, Sandbox
from support.databases import Database
from support.stores import connections_with

from .conftest import KEY
from .worlds import answers_of, rung_in

TALKS, IS_BUSY = "+14155550100", "+14155550102"


def a_sandbox(**settings: Any) -> Sandbox:
    return Sandbox(**{"api_key": KEY, "speed": 0, "rate_limit": None, **settings})


ANSWERS: list[tuple[dict[str, Any], str, int, str | None]] = [
    ({}, TALKS, 1, "no"),
    ({"receipt_conversation_id": "never"}, TALKS, 1, "no"),
    ({"receipt_conversation_id": "always"}, TALKS, 1, "yes, what the id of the record begins with"),
    ({}, TALKS, 2, "that of the receipt is that of the record"),
    ({"trace_id_in_detail": False}, TALKS, 2, None),
    ({}, TALKS, 3, "at its end"),
    ({"record_appears": "start"}, TALKS, 3, "during the call"),
    ({}, "+14155550108", 3, "not while it was watched"),
    ({}, TALKS, 4, None),
    ({}, IS_BUSY, 4, "no"),
    ({"platform_redials": 1, "platform_redial_after_seconds": 20}, IS_BUSY, 4, "yes"),
    ({"platform_redials": 1, "platform_redial_after_seconds": 20}, IS_BUSY, 5, "attempts share the trace id"),
    (
        {"platform_redials": 1, "platform_redial_after_seconds": 20, "redial_trace_id": "new"},
        IS_BUSY,
        5,
        "attempts have a trace id each",
    ),
    ({}, TALKS, 14, "no"),
    ({"echo_values_in_errors": True}, TALKS, 14, "yes"),
    ({}, TALKS, 15, "in neither list nor detail"),
    ({}, TALKS, 16, "409 duplicate_request, and does not name the call"),
    ({}, TALKS, 17, "at the end"),
    ({"recording_delay_seconds": 30}, TALKS, 17, "later"),
    ({"recording_delay_seconds": 9000}, TALKS, 17, "not while it was watched"),
    ({}, TALKS, 24, "at the end"),
    ({"results_delay_seconds": 30}, TALKS, 24, "later"),
    ({}, TALKS, 25, None),
]


@pytest.mark.parametrize(("settings", "number", "question", "answer"), ANSWERS, ids=str)
def test_one_call_answers_what_the_switch_says(
    settings: dict[str, Any], number: str, question: int, answer: str | None
) -> None:
    """And it is one: the same key once more is refused, and the request that names no number cannot ring."""
    with a_sandbox(**settings) as sandbox:
        pace = Pace(poll_s=5, longest_s=300, after_s=200)
        assert answers_of(rung_in(sandbox, number, pace=pace)).get(question) == answer
        assert sandbox.rings == {number: 1}
        posts = [seen for seen in sandbox.requests if seen.method == "POST"]
        assert [seen.status for seen in posts] == [200, 409, 400]
        assert len({seen.body["idempotency_key"] for seen in posts[:2]}) == 1


def test_a_failed_send_answers_whether_it_used_up_the_key() -> None:
    """Only if one fails by chance. Where it did, no second key is tried: it is told that nobody can tell."""
    for is_used, answer in {False: "no", True: "yes"}.items():
        with a_sandbox(failed_request_uses_key=is_used) as sandbox:
            sandbox.inject("POST /v1/call", Fault.RATE_LIMIT)
            assert answers_of(rung := rung_in(sandbox, TALKS))[25] == answer
            assert sandbox.rings == ({} if is_used else {TALKS: 1})
            assert (rung.placed.receipt is None) is is_used


LOST = [Fault.ERROR_500_AFTER, Fault.DROP_AFTER, Fault.GARBAGE]


@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_places_no_second_call(fault: Fault) -> None:
    """The send is repeated with the same key, and the call is found by its record; no key is asked about."""
    with a_sandbox(record_appears="start") as sandbox:
        sandbox.inject("POST /v1/call", fault)
        rung = rung_in(sandbox, TALKS)
        assert sandbox.rings == {TALKS: 1}
        assert rung.placed.receipt is not None
        assert not rung.placed.is_new
        assert rung.repeat is None
        assert 25 not in answers_of(rung)


def test_asking_again_on_the_same_day_places_no_second_call(sqlite: Database) -> None:
    """With a call store or without, after a crash or on purpose: one call a day by one agent to a number."""
    with a_sandbox(record_appears="start") as sandbox:
        for connections in (None, connections_with(sqlite, sandbox, is_set_up=False)):
            for _ in range(2):
                rung = rung_in(sandbox, TALKS, extra=connections)
                assert rung.seen.first["status"] == "completed"
        assert sandbox.rings == {TALKS: 1}
        sandbox.advance(24 * 3600)
        rung_in(sandbox, TALKS)
        assert sandbox.rings == {TALKS: 2}
        rung_in(sandbox, IS_BUSY)
        assert sandbox.rings == {TALKS: 2, IS_BUSY: 1}


def test_the_call_store_is_asked_before_anybody_is_called(sqlite: Database) -> None:
    """Who must not be called is not, and a cap counts this call as any other."""
    with a_sandbox() as sandbox:
        connections = connections_with(sqlite, sandbox, is_set_up=False, call_cap="1/7d")
        rung_in(sandbox, TALKS, extra=connections)
        sandbox.advance(24 * 3600)
        with pytest.raises(NotAdmitted):
            rung_in(sandbox, TALKS, extra=connections)
        assert sandbox.rings == {TALKS: 1}


def test_the_call_store_has_the_call_and_how_it_ended(sqlite: Database) -> None:
    """As of every other call, so that its history and its limits are right."""
    with a_sandbox() as sandbox:
        rung_in(sandbox, IS_BUSY, extra=connections_with(sqlite, sandbox, is_set_up=False))
    with sqlite.engine().connect() as conn:
        (row,) = conn.execute(text("SELECT dag_id, asked_by, state, outcome FROM formant_intents")).all()
    assert tuple(row) == ("formant_provider.check", "check", "placed", "busy")


def test_a_call_of_somebody_else_is_not_taken_for_ours() -> None:
    """Others call meanwhile with the same agent, and a call of before is known."""
    with a_sandbox() as sandbox:
        sandbox.place(TALKS)
        sandbox.advance(1000)
        sandbox.place("+14155550103")
        rung = rung_in(sandbox, IS_BUSY)
        assert [item["contact_number"] for item in rung.seen.listed.values()] == [IS_BUSY]
        assert sandbox.rings == {TALKS: 1, "+14155550103": 1, IS_BUSY: 1}


@pytest.mark.parametrize("order", ["newest_first", "oldest_first", "newest_end_first"])
def test_the_call_is_seen_in_a_long_list_too(order: str) -> None:
    """At whichever end of the list the newest are."""
    with a_sandbox(list_order=order) as sandbox:
        for _ in range(120):
            sandbox.place("+14155550103")
            sandbox.advance(10)
        assert rung_in(sandbox, IS_BUSY).seen.first["status"] == "busy"
        assert sandbox.rings[IS_BUSY] == 1


def test_a_refused_call_is_an_error_and_nothing_more_is_asked() -> None:
    """An agent that does not exist: one request, and nobody is called."""
    with Sandbox(api_key=KEY, speed=0, agents=[1]) as sandbox:
        with pytest.raises(FormantError) as refused:
            rung_in(sandbox, TALKS)
        assert not refused.value.maybe_placed
        assert [seen.method for seen in sandbox.requests].count("POST") == 1
        assert not sandbox.rings
