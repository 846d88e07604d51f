"""How our errors end an Airflow task: at once, or with a retry, and with which advice.

What would fail again the same way, and what might place a second call, is not retried. The rest is: a retry
sends the same idempotency key, so it places no second call within the vendor's 24 hours; that of a batch
call, which has no key, looks for it before it sends anything.

What to do about each error is said where the error is: ``advice`` in ``formant_provider.api.errors``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from formant_provider.api.errors import CallNotAllowed, FormantError

if TYPE_CHECKING:
    from formant_provider.hooks.formant import FormantHook

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Activity:
    """What a task was doing when an error came up."""

    subject: Literal["call", "batch_call", "call_list", "read", "transcription"]
    waits: bool = False  # for a call that was placed before
    noun: str = "call"
    verbs: tuple[str, str] = ("placed", "places")

    def explain(self, error: FormantError, hook: FormantHook | None = None) -> str:
        """Say what happened, where, whether a call may have been placed, and what to do next."""
        what, (done, does), advice = self.noun, self.verbs, error.advice.on(self.subject)
        where = f" ({hook.address})" if hook is not None and error.operation else ""
        if error.retry_after_s is not None:
            where += f". The API asks to wait {error.retry_after_s:.0f} s"
        text = f"{error}{where}".rstrip(".")
        said = text if text.endswith("?") else f"{text}."
        if self.subject == "read":
            return f"{said} {advice}"
        if self.subject == "call_list":  # of which calls may be placed, and others not
            return f"{said} What was placed is written down, and is not placed again. {advice}"
        if self.waits:
            then = f"{advice} Then clear this task" if error.is_final else "A retry of this task"
            return (
                f"{said} The {what} was {done} before. {then}: it continues to wait, and {does} no"
                f" further {what}."
            )
        placed = f"may have been {done}" if error.maybe_placed else f"was {done} by this try"
        return f"{said} {'A' if error.maybe_placed else 'No'} {what} {placed}. {advice}"


PLACING_A_CALL = Activity("call")
WAITING_FOR_A_CALL = Activity("call", waits=True)
PLACING_A_BATCH_CALL = Activity("batch_call", noun="batch call")
WAITING_FOR_A_BATCH_CALL = Activity("batch_call", waits=True, noun="batch call")
_JOB: dict[str, Any] = {"noun": "transcription job", "verbs": ("submitted", "submits")}
TRANSCRIBING = Activity("transcription", **_JOB)
WAITING_FOR_A_TRANSCRIPTION = Activity("transcription", waits=True, **_JOB)
WORKING_OFF_A_LIST = Activity("call_list")
READING = Activity("read")


@contextmanager
def ending_the_task(activity: Activity, hook: FormantHook | None = None) -> Iterator[None]:
    """Let our errors end a task: for good, or so that Airflow may retry.

    :raises AirflowFailException: for what a retry cannot mend, or must not. Nothing is chained to it: a
        traceback of ours says nothing that the sentence does not.
    :raises AirflowSkipException: for a call that is not allowed now, if the user wants to skip it.
    """
    try:
        yield
    except FormantError as error:
        if activity.waits:  # no error of a read denies a call that was placed before
            error.maybe_placed = True
        text = activity.explain(error, hook)
        if isinstance(error, CallNotAllowed) and error.skips:
            raise AirflowSkipException(text) from None
        if error.is_final:
            raise AirflowFailException(text) from None
        log.error("%s", text)
        raise


UNCONFIRMED = (
    "Unconfirmed: the idempotency key of this call was used, so a call has most likely been placed or will"
    " be, but no conversation is on record yet. No second call is placed. Look for the call in the FormantAI"
    " dashboard, or clear this task later: it will look again, and place no call."
)


def end_unconfirmed(choice: str) -> None:
    """End a task whose call stays unconfirmed: ``"succeed"`` only warns."""
    if choice == "fail":
        raise AirflowFailException(UNCONFIRMED)
    if choice == "skip":
        raise AirflowSkipException(UNCONFIRMED)
    log.warning(UNCONFIRMED)
