"""How our errors end an Airflow task: at once, or with a retry, and with what advice.

What would fail again the same way, and what might ring a second time, is not retried. The rest is: a retry
sends the same idempotency key, so it cannot ring twice within the vendor's 24 hours; that of a batch call,
which has no key, looks for it before it sends anything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from formant_provider.api.errors import (
    AuthenticationFailed,
    BatchOutcomeUnknown,
    CallNotAllowed,
    CallOutcomeUnknown,
    DuplicateRequest,
    FormantError,
    InvalidContacts,
    InvalidInput,
    InvalidRequest,
    NotFound,
    RequestRefused,
    SendAborted,
    may_have_been_placed,
)

log = logging.getLogger(__name__)

_FINAL = (InvalidInput, RequestRefused, CallNotAllowed, CallOutcomeUnknown, BatchOutcomeUnknown)
Advice: TypeAlias = "tuple[tuple[type[FormantError], str], ...]"
_OF_ALL: Advice = (
    (
        InvalidContacts,
        'Correct these rows, or leave them out with invalid_rows="reject"; rejects_uri lists them.',
    ),
    (InvalidInput, "Correct the field named above."),
    (
        CallNotAllowed,
        "To call all the same, clear this task later, or change what kept it back first.",
    ),
    (AuthenticationFailed, "Check the API key and the region of the connection."),
)
_REFUSED = "A retry would be refused again; what the API said tells what to correct."
_ADVICE: Advice = (
    *_OF_ALL,
    (InvalidRequest, "Correct the call; the same request would be refused again."),
    (
        NotFound,
        "Check that agent_id and conversation_id exist in this region and belong to this API key's account.",
    ),
    (
        DuplicateRequest,
        "This key was used within the last 24 hours: by an earlier try of this task, by another task with the"
        " same idempotency_key, or by a second mapped task with the same agent and recipient. Look for the"
        " call in the FormantAI dashboard. To ring on purpose, give this call an idempotency_key of its own.",
    ),
    (RequestRefused, _REFUSED),
    (
        CallOutcomeUnknown,
        "Look for the call in the FormantAI dashboard: this agent, this recipient, from that time on. To ring"
        " again on purpose, give the task an idempotency_key of its own and clear it.",
    ),
    (
        SendAborted,
        "A retry of this task starts from what is written down, and sends only what is safe to send.",
    ),
    (
        FormantError,
        "A retry of this task sends the same idempotency key and cannot ring twice within 24 hours.",
    ),
)
_BATCH_ADVICE: Advice = (
    *_OF_ALL,
    (InvalidRequest, "Correct the batch call; the same request would be refused again."),
    (
        NotFound,
        "Check that the agent or batch call exists in this region and belongs to this API key's account.",
    ),
    (RequestRefused, _REFUSED),
    (
        BatchOutcomeUnknown,
        "Look in the FormantAI dashboard for a batch call with that marker in its name. If it is there, clear"
        " this task: it finds it, and uploads nothing. If it is surely not there, set"
        " resubmit_if_missing=True and clear this task: it looks once more, and uploads.",
    ),
    (
        FormantError,
        "A retry of this task starts from what is written down, looks for the batch call, and uploads only"
        " what was not accepted before.",
    ),
)


def is_final(error: FormantError) -> bool:
    """Whether a retry of the task could not mend it, or must not try."""
    return isinstance(error, _FINAL)


@contextmanager
def placing_a_call() -> Iterator[None]:
    """Let errors of placing a call end the task as they should, and say what became of the phone.

    :raises AirflowFailException: for what a retry cannot mend, or must not.
    """
    with ending_the_task(explain):
        yield


@contextmanager
def placing_a_batch() -> Iterator[None]:
    """Let errors of placing a batch call end the task as they should, and say what became of the phones.

    :raises AirflowFailException: for what a retry cannot mend, or must not.
    """
    with ending_the_task(explain_batch):
        yield


@contextmanager
def waiting_for_a_call() -> Iterator[None]:
    """Let errors of waiting for a call that was placed end the task, and say that nobody is rung again.

    :raises AirflowFailException: for what a retry cannot mend.
    """
    with ending_the_task(explain_wait), may_have_been_placed():
        yield


@contextmanager
def waiting_for_a_batch() -> Iterator[None]:
    """Let errors of waiting for a batch call end the task, as those of waiting for a call do.

    :raises AirflowFailException: for what a retry cannot mend.
    """
    with ending_the_task(explain_batch_wait), may_have_been_placed():
        yield


@contextmanager
def ending_the_task(explain: Callable[[FormantError], str]) -> Iterator[None]:
    """Let our errors end a task: for good, or so that Airflow may retry.

    :param explain: says in a sentence or two what happened and what to do.
    :raises AirflowFailException: for what a retry cannot mend, or must not.
    :raises AirflowSkipException: for what was held back, if the user wants to skip it.
    """
    try:
        yield
    except FormantError as error:
        text = explain(error)
        if isinstance(error, CallNotAllowed) and error.skips:
            raise AirflowSkipException(text) from error
        if is_final(error):
            raise AirflowFailException(text) from error
        log.error("%s", text)
        raise


def explain(error: FormantError) -> str:
    """Say what happened, whether a phone may have rung, and what to do next."""
    rung = "A phone may have rung." if error.maybe_placed else "No phone was rung by this try."
    return f"{error}. {rung} {_advice(error, _ADVICE)}"


def explain_batch(error: FormantError) -> str:
    """Say what happened, whether phones may have rung, and what to do next."""
    rung = "Phones may have rung." if error.maybe_placed else "No phone was rung by this try."
    return f"{error}. {rung} {_advice(error, _BATCH_ADVICE)}"


def explain_wait(error: FormantError) -> str:
    """Say what hindered a wait, and what to do next."""
    return _explain_wait(error, "call", _ADVICE)


def explain_batch_wait(error: FormantError) -> str:
    """Say what hindered the wait for a batch call, and what to do next."""
    return _explain_wait(error, "batch call", _BATCH_ADVICE)


def _explain_wait(error: FormantError, what: str, advices: Advice) -> str:
    final = is_final(error)
    advice = f"{_advice(error, advices)} Then clear this task" if final else "A retry of this task"
    return f"{error}. The {what} was placed before. {advice}: it goes on waiting, and rings nobody again."


def _advice(error: FormantError, advices: Advice) -> str:
    return next(text for kind, text in advices if isinstance(error, kind))


UNCONFIRMED = (
    "Unconfirmed: the idempotency key of this call was used, so a phone has most likely rung or will, but no"
    " conversation is on record yet. Nobody is rung again. Look for the call in the FormantAI dashboard, or"
    " clear this task later: it will look again, and not ring."
)


def end_unconfirmed(choice: str) -> None:
    """End a task whose call stays unconfirmed as its user chose.

    :param choice: ``"succeed"`` warns and returns, ``"fail"`` and ``"skip"`` raise.
    """
    if choice == "fail":
        raise AirflowFailException(UNCONFIRMED)
    if choice == "skip":
        raise AirflowSkipException(UNCONFIRMED)
    log.warning(UNCONFIRMED)
