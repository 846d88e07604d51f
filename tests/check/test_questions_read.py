"""Open questions that reading answers: the answers are other ones where the sandbox has another switch."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from formant_provider.check.questions.catalogue import QUESTIONS
from formant_provider.check.questions.reads import Reads
from formant_provider.check.report import as_markdown
from formant_provider.core.numbers.in_text import may_hold_number
from formant_provider.sandbox import Sandbox, Settings

from .conftest import KEY
from .worlds import AGENT, OTHER_AGENT, an_account, read

# By the switch of the sandbox: the question that it is about.
SWITCHES = {
    "receipt_conversation_id": 1,
    "trace_id_in_list": 2,
    "trace_id_in_detail": 2,
    "record_appears": 3,
    "platform_redials": 4,
    "redial_trace_id": 5,
    "webhook_timestamp_unit": 9,
    "uncounted_outcomes": 12,
    "rate_limit": 13,
    "echo_values_in_errors": 14,
    "recording_delay_seconds": 17,
    "inbound_in_list": 19,
    "list_order": 21,
    "list_numbers": 22,
    "times_in_detail": 23,
    "results_delay_seconds": 24,
    "failed_request_uses_key": 25,
    "batch_list_lag_reads": 26,
    "batch_status_moves": 27,
}
# What is no question here: how the sandbox runs, sizes, and transcription jobs, for which audio is uploaded.
NO_QUESTIONS = {
    "api_key", "other_keys", "agents", "start_at", "speed", "call_speed", "host", "port",
    "rate_window_seconds", "max_concurrent_calls", "recording_bytes", "platform_redial_after_seconds",
    "batch_calls_per_minute", "webhook_connections", "webhook_timeout_seconds", "seconds_per_request",
    "transcription_seconds", "transcription_ends_as",
}  # fmt: skip
NOT_ASKED = {8, 9, 10, 18, 26}


def test_there_is_a_question_for_each_switch() -> None:
    """Of 27, five are asked of nobody, and say what a person can do instead."""
    settings = {field.name for field in fields(Settings)}
    assert settings == {*SWITCHES, *NO_QUESTIONS}, "say above which question a new setting is about, if any"
    assert [question.number for question in QUESTIONS] == list(range(1, 28))
    asked = {question.number for question in QUESTIONS if question.of_reads or question.of_call}
    assert set(range(1, 28)) - asked == NOT_ASKED
    assert len({question.text for question in QUESTIONS}) == 27


ANSWERS: list[tuple[dict[str, Any], int, str]] = [
    ({}, 2, "in the list: no; in the detail: yes"),
    ({"trace_id_in_list": True}, 2, "in the list: yes; in the detail: yes"),
    ({"trace_id_in_detail": False}, 2, "in the list: no; in the detail: no"),
    ({}, 5, "a UUID and a number"),
    (
        {"platform_redials": 1},
        5,
        "a UUID and a number; attempts of one conversation share the UUID and the trace id",
    ),
    (
        {"platform_redials": 1, "redial_trace_id": "new"},
        5,
        "a UUID and a number; attempts of one conversation share the UUID, with a trace id each",
    ),
    ({}, 6, "beyond the documented ones: voicemail_reached"),
    ({}, 7, "a list of turns with message, role; roles: agent, human"),
    ({}, 11, "to the second"),
    ({"call_speed": 10}, 11, "not always"),
    ({}, 13, "no"),
    ({"rate_limit": 50}, 13, "yes"),
    ({}, 17, "audio/wav"),
    ({"recording_delay_seconds": 10_000}, 17, "404"),
    ({}, 20, "refused"),
    ({}, 21, "by start, newest first"),
    ({"list_order": "oldest_first"}, 21, "by start, oldest first"),
    ({"list_order": "newest_end_first"}, 21, "by end, newest first"),
    ({"list_order": "unordered"}, 21, "in none"),
    ({}, 22, "in full"),
    ({"list_numbers": "masked"}, 22, "in another form"),
    ({"list_numbers": "none"}, 22, "no numbers"),
    ({}, 23, "yes"),
    ({"times_in_detail": False}, 23, "no"),
]


@pytest.mark.parametrize(("settings", "number", "answer"), ANSWERS, ids=str)
def test_the_answer_is_what_the_switch_says(settings: dict[str, Any], number: int, answer: str) -> None:
    """Read like the vendor's API, by the same requests; none is anything but a GET, and nobody is called."""
    with an_account(**settings) as sandbox:
        before = sandbox.rings
        assert read(sandbox)[number].answer == answer
        assert {seen.method for seen in sandbox.requests} == {"GET"}
        assert len(sandbox.requests) < 40
        assert sandbox.rings == before


COUNTS = [
    ({}, "outcomes make up total_processed: yes; all recipients are processed in the end: no"),
    ({"uncounted_outcomes": "processed"}, "outcomes make up total_processed: no; all recipients"),
    (
        {"uncounted_outcomes": "failed"},
        "outcomes make up total_processed: yes; all recipients are processed in the end: yes",
    ),
]


@pytest.mark.parametrize(("settings", "answer"), COUNTS, ids=str)
def test_the_counts_of_a_batch_call_answer_as_the_switch_says(settings: dict[str, Any], answer: str) -> None:
    """One of three recipients has an outcome that has no count; the rate is told apart where it can be."""
    with an_account(**settings) as sandbox:
        found = read(sandbox, OTHER_AGENT)
    assert found[12].answer.startswith(answer)
    assert ("the rate is of total_recipients" in found[12].answer) is (not settings)


def test_the_status_of_a_batch_call_is_what_the_switch_says() -> None:
    """Of one that is over it stays pending, or is another word."""
    for moves, word in {False: "pending", True: "completed"}.items():
        with an_account(batch_status_moves=moves) as sandbox:
            assert read(sandbox, OTHER_AGENT)[27].answer == word


def test_an_inbound_call_is_looked_for_where_one_is_named() -> None:
    """By its id, which the dashboard has; its record can be read in any case."""
    for is_listed, answer in {True: "yes", False: "no"}.items():
        with an_account(inbound_in_list=is_listed) as sandbox:
            call = sandbox.receive("+14155550120", agent_id=AGENT)
            sandbox.advance(200)
            assert read(sandbox, inbound_id=call.conversation_id)[19].answer == answer
            assert not read(sandbox)[19].answers
            assert not read(sandbox, inbound_id="no-such-conversation")[19].answers


def test_an_empty_account_answers_hardly_anything() -> None:
    """What is not there is no answer: an empty list is in every order."""
    with Sandbox(api_key=KEY, rate_limit=None) as sandbox:
        found = read(sandbox)
    assert {number for number, outcome in found.items() if outcome.answers} == {13, 20}
    assert found[21].why_open.startswith("Not answered by what there was. By the times of")
    assert found[18].why_open.startswith("Not asked. Asking would ring")


def test_a_limit_that_is_taken_is_told_from_one_that_is_cut() -> None:
    """By how many items come, if there are more than 100."""
    (question,) = [one for one in QUESTIONS if one.number == 20]
    assert question.of_reads is not None
    cut, taken = (question.of_reads(Reads(total=150, over_limit=items)) for items in (100, 101))
    assert (cut and cut.says, taken and taken.says) == ("cut", "taken")
    assert question.of_reads(Reads(total=100, over_limit=100)) is None


def test_a_report_holds_nothing_private() -> None:
    """No number, id, value of anybody, or key: of what the API says, words alone are repeated."""
    with an_account() as sandbox:
        found = list(read(sandbox).values())
        calls = sandbox.calls
    report = as_markdown(found, base_url="https://api.example", now=sandbox.now(), has_rung=False)
    assert not may_hold_number(report)
    assert KEY not in report
    assert not any(name in report for call in calls for name in (call.trace_id, call.chain_id))
    assert "payment_confirmed" not in report
    assert report.count("\n## ") == 27
    assert report.count("\nOpen. ") == sum(not outcome.answers for outcome in found)


def test_a_word_of_the_vendor_that_may_be_private_is_not_repeated() -> None:
    """A status or a speaker that is a sentence or a number is told by its kind."""
    items = [
        {"conversation_id": "x", "status": status} for status in ("+14155550100", "call Asha back", 7, None)
    ]
    (question,) = [one for one in QUESTIONS if one.number == 6]
    answer = question.of_reads(Reads(items=items)) if question.of_reads else None
    assert answer is not None
    assert answer.says == "beyond the documented ones: (int), (null), (str)"
