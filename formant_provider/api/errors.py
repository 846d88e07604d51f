"""What can go wrong between a request and a call.

::

    FormantError
    ├── InvalidInput            refused here, before anything was sent; names the field
    │   ├── InvalidContacts         those of a batch call, with counts by reason and the first rows
    │   └── StoreMisconfigured      the call store cannot be used as its connection is
    ├── InputNotFound           a file is not there, and may be next time; names the field
    ├── RequestRefused          the server said no, and would again
    │   ├── InvalidRequest          400
    │   ├── AuthenticationFailed    401
    │   ├── NotFound                404
    │   └── DuplicateRequest        409, the idempotency key was used before
    ├── RetryableError          the server said not now; ``retry_after_s`` when it said how long
    │   ├── RateLimited             429
    │   ├── ConcurrencyLimited      429, too many calls at once
    │   └── ServerError             5xx, which for a call may come after it was accepted
    ├── Unreachable             no connection was made, so nothing was sent
    ├── ResponseLost            sent, but no answer was received
    ├── BadResponse             answered, but not in a form that can be read
    ├── SendAborted             not sent: the task was stopped, or could not write down its intent
    │   ├── StoreUnavailable        the call store cannot be used now, so nothing is sent
    │   └── Superseded              another process has the call in hand
    ├── CallNotAllowed          no call may be placed now: outside of the hours for it, or too late
    │   └── NotAdmitted             the call store says so: suppressed, or called often enough
    ├── CallOutcomeUnknown      a call may have been placed, and nothing more can be learnt safely
    ├── BatchOutcomeUnknown     a batch call may have been placed, and is not to be found, or not yet
    ├── CallUnsuccessful        the conversation is over, and its status is not an expected one
    ├── TranscriptionOutcomeUnknown  a transcription job may have been submitted, and cannot be looked up
    └── TranscriptionUnsuccessful    a transcription job has not been completed

No error holds a number, a parameter value or the API key: not in its text, a field, or what it is chained
to. Every error survives pickling.
"""

from __future__ import annotations

from datetime import datetime

from formant_provider.api.advice import KEY_USED, NOT_ALLOWED, NOT_THERE, REFUSED, Advice
from formant_provider.api.base_error import FormantError as FormantError  # noqa: PLC0414 - for all who import it here
from formant_provider.api.base_error import may_have_been_placed as may_have_been_placed  # noqa: PLC0414 - likewise
from formant_provider.api.base_error import rebuild


def named(kind: str, message: str) -> FormantError:
    """Return an error of ours by the name of its class, as it was told from another process."""
    cls = globals().get(kind)
    if not (isinstance(cls, type) and issubclass(cls, FormantError)):
        cls = FormantError
    return rebuild(cls, (message,), dict(vars(FormantError(message))))


class InvalidInput(FormantError, ValueError):
    """A value was refused before anything was sent.

    :param field: the parameter, connection field or call parameter at fault.
    :param reason: what is wrong with it, without the value itself.
    """

    is_final = True
    advice = Advice("Correct the field named above.")

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class InvalidContacts(InvalidInput):
    """Some contacts of a batch call cannot be called, so none is.

    :param reason: what is wrong with how many of them.
    :param by_reason: how many contacts each reason keeps from being called.
    :param examples: row number and reason of the first of them.
    """

    advice = Advice('Correct these rows, or set invalid_rows="reject": rejects or results list them.')

    def __init__(
        self,
        reason: str,
        *,
        by_reason: dict[str, int] | None = None,
        examples: tuple[tuple[int, str], ...] = (),
    ) -> None:
        super().__init__("contacts", reason)
        self.by_reason = by_reason or {}
        self.examples = examples


class StoreMisconfigured(InvalidInput):
    """The call store cannot be used as its connection is: no tables, no rights, no such database.

    :param reason: what is wrong, with which store, and what to do.
    :param problem: the same in a word, a key of ``formant_provider.store.failures.PROBLEMS``.
    """

    advice = Advice("Clear this task once the store is mended.")

    def __init__(self, reason: str, *, problem: str = "") -> None:
        super().__init__("store_conn_id", reason)
        self.problem = problem


class InputNotFound(FormantError):
    """A file that a field names is not there. It may be written yet, so a retry of the task looks again.

    :param field: the parameter that names the file.
    :param reason: which file, as far as its storage says.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class RequestRefused(FormantError):
    """The server refused the request, and would refuse it again."""

    is_final = True
    advice = Advice(REFUSED)


class InvalidRequest(RequestRefused):
    """400: a field is missing or has a value the server does not take."""

    advice = Advice("Correct it; the same request would be refused again.")


class AuthenticationFailed(RequestRefused):
    """401: the API key is missing, wrong or disabled."""

    advice = Advice("Check the API key and the region of the connection.")


class NotFound(RequestRefused):
    """404: there is no such thing, or it belongs to another tenant."""

    advice = NOT_THERE


class DuplicateRequest(RequestRefused):
    """409: this idempotency key was used within the last 24 hours."""

    advice = KEY_USED


class RetryableError(FormantError):
    """The server cannot take the request now."""

    advice = Advice(
        call="A task waits as long as max_inline_wait says, and with deferrable=True as long as it takes,"
        f" without holding a worker. {FormantError.advice.call}",
        batch_call=FormantError.advice.batch_call,
        read=FormantError.advice.read,
        transcription=FormantError.advice.transcription,
        call_list="A retry of this task calls those who were not called yet.",
    )


class RateLimited(RetryableError):
    """429: too many requests, or too many for one number."""


class ConcurrencyLimited(RetryableError):
    """429: the workspace has as many calls in progress as it may."""


class ServerError(RetryableError):
    """5xx: a fault at the server. What it did before the fault is not known."""


class Unreachable(FormantError):
    """No connection was made, so nothing was sent."""


class ResponseLost(FormantError):
    """The request was sent, but the answer was not received."""


class BadResponse(FormantError):
    """The server answered, but not in a form that can be read."""


class SendAborted(FormantError):
    """A call was kept back at the last moment, since sending it would not have been safe."""

    advice = Advice(
        call="A retry of this task continues from what is written down, and sends only what is safe to send.",
        batch_call=FormantError.advice.batch_call,
    )


class Superseded(SendAborted):
    """Another process has the same call in hand, or has placed it since it was looked for."""


class StoreUnavailable(SendAborted):
    """The call store cannot be used now. Without it nothing is sent.

    :param message: what is wrong, with which store, and what to do.
    :param problem: the same in a word, a key of ``formant_provider.store.failures.PROBLEMS``.
    """

    advice = Advice(
        call="A retry of this task continues from what the store holds, and sends only what is safe to send.",
        batch_call=FormantError.advice.batch_call,
    )

    def __init__(self, message: str, *, problem: str = "") -> None:
        super().__init__(message)
        self.problem = problem


class CallNotAllowed(FormantError):
    """No call may be placed now, as the user wished: it is not the time of the day, or too late.

    :param skips: whether the task is skipped then, or fails.
    :param reason: the same in a word, for results: ``"closed"`` (outside of the calling window),
        ``"suppressed"`` (on the do-not-call list), ``"nobody_left"``, or ``"late"``, ``"late_once"`` and
        ``"delayed"``, which ``formant_provider.tasks.lateness`` explains.
    """

    is_final = True
    advice = Advice(
        "To call nevertheless, clear this task later, or change the option that prevents it first."
    )

    def __init__(self, message: str, *, skips: bool = True, reason: str = "held_back") -> None:
        super().__init__(message)
        self.skips = skips
        self.reason = reason
        self.advice = NOT_ALLOWED.get(reason, self.advice)


class NotAdmitted(CallNotAllowed):
    """The call store admits no further call to this person now.

    :param free_at: when it would admit one, aware; ``None`` when at no time.
    """

    def __init__(self, message: str, *, reason: str, free_at: datetime | None = None) -> None:
        super().__init__(message, reason=reason)
        self.free_at = free_at


class CallOutcomeUnknown(FormantError):
    """A call may have been placed, and nothing more can be learnt without risking a second one."""

    is_final = True
    advice = Advice(
        "Look for the call in the FormantAI dashboard: this agent, this recipient, from that time on. To"
        " place a second call on purpose, give the task an idempotency_key of its own and clear it."
    )


class BatchOutcomeUnknown(FormantError):
    """A batch call may have been placed. It was not found, and a second one would call everybody again."""

    is_final = True
    advice = Advice(
        "Look in the FormantAI dashboard for a batch call with that marker in its name. If it is there, clear"
        " this task: it uploads nothing. If not, set resubmit_if_missing=True first: it looks, and uploads."
    )


class CallUnsuccessful(FormantError):
    """The conversation is over, and its status is not an expected one.

    :param outcome: the status of its record.
    """

    def __init__(self, outcome: str) -> None:
        super().__init__(f"The conversation ended as {outcome}", maybe_placed=True)
        self.outcome = outcome


class TranscriptionOutcomeUnknown(FormantError):
    """A transcription job may have been submitted. It cannot be looked up, and a second one costs again."""

    is_final = True
    advice = Advice("To submit it once more in any case, clear this task with resubmit_if_unconfirmed=True.")


class TranscriptionUnsuccessful(FormantError):
    """A transcription job has ended otherwise than ``completed``, or was not over in time.

    :param status: the vendor's word for where it stands.
    """

    def __init__(self, job_id: str, status: str | None) -> None:
        super().__init__(f"The transcription job {job_id} stands at {status!r}", maybe_placed=True)
        self.job_id, self.job_status = job_id, status
