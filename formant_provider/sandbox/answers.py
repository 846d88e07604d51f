"""What the API answers, and the errors it is documented to give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from formant_provider.sandbox.recording import Recording


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, not yet sent.

    :param content: a JSON object, or a recording, or raw bytes for anything else.
    :param rate_headers: whether the rate-limit headers of the key belong on it.
    """

    status: int
    content: Mapping[str, Any] | Recording | bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_headers: bool = True


class Refusal(Exception):
    """The request is answered with an error.

    :param answer: the answer to give.
    """

    def __init__(self, answer: Answer) -> None:
        content = answer.content
        super().__init__(content["error"]["message"] if isinstance(content, Mapping) else answer.status)
        self.answer = answer


def error(status: int, kind: str, message: str) -> Answer:
    """Return an error in the vendor's shape."""
    return Answer(status, {"error": {"message": message, "type": kind}})


def invalid(message: str) -> Refusal:
    """400: the request breaks a rule. The message names fields, never their values."""
    return Refusal(error(400, "invalid_request", message))


def unauthenticated() -> Refusal:
    """401: no key, an unknown one, or not sent as a Bearer token."""
    return Refusal(error(401, "authentication_error", "invalid or missing api key"))


def not_found(what: str) -> Refusal:
    """404: absent, or another tenant's, which must look the same."""
    return Refusal(error(404, "not_found", f"{what} not found"))


def duplicate() -> Refusal:
    """409: refused without a hint at the call that used the key first."""
    return Refusal(error(409, "duplicate_request", "idempotency key already used"))


def rate_limited() -> Answer:
    """429: too many requests; headers are the caller's business."""
    return error(429, "rate_limit_exceeded", "rate limit exceeded")


def concurrency_limited(current_calls: int, max_calls: int) -> Answer:
    """429: too many calls running. The vendor's sample shows no rate-limit headers with this one."""
    message = f"concurrent call limit reached. {max_calls} simultaneous calls allowed."
    kind = "concurrent_call_limit_exceeded"
    body = {
        "error": {"message": message, "type": kind, "current_calls": current_calls, "max_calls": max_calls}
    }
    return Answer(429, body, rate_headers=False)


def internal_error() -> Answer:
    """500: in the vendor's shape."""
    return error(500, "internal_error", "internal error")


def unavailable() -> Answer:
    """503: in a gateway's words. The vendor documents no such status, so nothing promises its error shape."""
    return Answer(503, b"<html><body><h1>503 Service Unavailable</h1></body></html>", "text/html")
