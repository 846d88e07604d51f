"""The root of all our errors: what each of them knows, and how it survives pickling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from formant_provider.api.advice import Advice


class FormantError(Exception):
    """Root of all errors of this package.

    :param message: what happened, in a sentence.
    :param operation: what was asked, as ``"METHOD /path"``; ``None`` when nothing was.
    :param status: HTTP status of the answer; ``None`` without an answer.
    :param error_type: the vendor's ``error.type``; ``None`` without one.
    :param retry_after_s: seconds the server asked to wait; ``None`` when it did not say.
    :param maybe_placed: ``True`` when a call may have been placed, or a job submitted, all the same.
    :ivar earlier: what became of earlier sends of the same request, oldest first.
    :cvar is_final: whether a retry could not mend it, or might place a second call.
    :ivar advice: what to do next; a class has one for all its errors.
    """

    is_final: ClassVar[bool] = False
    advice: Advice = Advice(
        call="A retry of this task sends the same idempotency key, which cannot place a second call within"
        " 24 hours.",
        batch_call="A retry of this task looks for the batch call first, and uploads only what was not"
        " accepted before.",
        read="No file was left half written. A retry of this task reads again from the start.",
        call_list="A retry of this task goes on from there.",
        transcription="A retry of this task submits the audio only if no earlier try may have done so.",
    )

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        status: int | None = None,
        error_type: str | None = None,
        retry_after_s: float | None = None,
        maybe_placed: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.status = status
        self.error_type = error_type
        self.retry_after_s = retry_after_s
        self.maybe_placed = maybe_placed
        self.earlier: tuple[FormantError, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return (rebuild, (type(self), self.args, self.__dict__.copy()))


def rebuild(cls: type[FormantError], args: tuple[Any, ...], fields: dict[str, Any]) -> FormantError:
    """Return an error as it was, without its constructor, whose parameters differ by class."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


@contextmanager
def may_have_been_placed() -> Iterator[None]:
    """Let no error of a read deny a call that was placed before."""
    try:
        yield
    except FormantError as error:
        error.maybe_placed = True
        raise
