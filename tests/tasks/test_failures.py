"""How an error of ours ends a task, and what the person who reads its log learns."""

from __future__ import annotations

import traceback

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from formant_provider.api import errors
from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.failures import (
    PLACING_A_BATCH_CALL,
    PLACING_A_CALL,
    READING,
    WAITING_FOR_A_CALL,
    ending_the_task,
)

INVALID = errors.InvalidInput("agent_id", "must be above 0")


def test_a_refused_value_prints_one_short_traceback_with_the_sentence_once() -> None:
    """What was raised inside says nothing more, so it is not printed before it."""
    with pytest.raises(AirflowFailException) as caught, ending_the_task(PLACING_A_CALL):
        raise INVALID
    printed = "".join(traceback.format_exception(caught.value))
    assert printed.count("agent_id: must be above 0") == 1
    assert printed.count("Traceback") == 1
    assert printed.splitlines()[-1].endswith("Correct the field named above.")


def test_what_is_not_allowed_now_skips_or_fails() -> None:
    """As its user chose."""
    for skips, kind in ((True, AirflowSkipException), (False, AirflowFailException)):
        with pytest.raises(kind, match=r"No call was placed by this try\."), ending_the_task(PLACING_A_CALL):
            raise errors.CallNotAllowed("calling_window is closed now", skips=skips)


def test_an_error_that_may_pass_is_left_to_airflow(caplog: pytest.LogCaptureFixture) -> None:
    """It is raised as it is, and the log says first how long the API asks to wait and what to set."""
    error = errors.RateLimited("POST /v1/call: 429", operation="POST /v1/call", retry_after_s=90)
    with pytest.raises(errors.RateLimited), ending_the_task(PLACING_A_CALL, FormantHook("dialler")):
        raise error
    (line,) = caplog.messages
    assert "POST /v1/call: 429 (connection 'dialler'). The API asks to wait 90 s. No call was placed" in line
    assert "max_inline_wait" in line
    assert "deferrable=True" in line


@pytest.mark.parametrize(
    ("activity", "told"),
    [
        (PLACING_A_CALL, "No call was placed by this try. Check that agent_id and conversation_id exist"),
        (PLACING_A_BATCH_CALL, "No batch call was placed by this try. Check that the agent or batch call"),
        (WAITING_FOR_A_CALL, "The call was placed before. Check that"),
        (WAITING_FOR_A_CALL, "Then clear this task: it continues to wait, and places no further call."),
        (READING, "404. Check that it exists in this region"),
    ],
)
def test_the_advice_is_that_of_the_error_for_what_was_done(activity: object, told: str) -> None:
    """One sentence for a call, a batch call, a wait and a read, where they differ."""
    with pytest.raises(AirflowFailException) as caught, ending_the_task(activity):  # type: ignore[arg-type]
        raise errors.NotFound("GET /v1/x: 404")
    assert told in str(caught.value)


@pytest.mark.parametrize(("end", "told"), [("", "wrong. No"), (".", "wrong. No"), ("?", "wrong? No")])
def test_what_happened_is_a_sentence_of_its_own(end: str, told: str) -> None:
    """With one mark at its end, whatever the text of the error ends with."""
    with pytest.raises(AirflowFailException) as caught, ending_the_task(PLACING_A_CALL):
        raise errors.InvalidInput("extra", f"is wrong{end}")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("reason", "told"),
    [("suppressed", "nothing to do"), ("capped", "Clear this task then"), ("late", "later")],
)
def test_the_advice_on_a_call_that_is_not_allowed_fits_its_reason(reason: str, told: str) -> None:
    """Nobody is told how to call somebody who is on a do-not-call list."""
    with pytest.raises(AirflowSkipException) as caught, ending_the_task(PLACING_A_CALL):
        raise errors.CallNotAllowed("Not now", reason=reason)
    assert told in str(caught.value)
    assert ("To call nevertheless" in str(caught.value)) == (reason == "late")
