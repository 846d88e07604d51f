"""Responses of the API before they are sent, and the errors that more than one endpoint gives.

The errors of one subject are with that subject: 409 in ``idempotency``, 429 in ``limits``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from formant_provider.sandbox.recording import Recording


@dataclass(frozen=True)
class ApiResponse:
    """One HTTP response, not yet sent.

    :param content: a JSON object, or a recording, or raw bytes for anything else.
    :param rate_headers: whether the rate-limit headers of the API key are added to it.
    """

    status: int
    content: Mapping[str, Any] | Recording | bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_headers: bool = True


class ApiError(Exception):
    """The request is refused with an error in the vendor's shape.

    :param kind: the ``type`` of the error.
    :param extras: further fields of the error.
    """

    def __init__(
        self, status: int, kind: str, message: str, *, rate_headers: bool = True, **extras: Any
    ) -> None:
        super().__init__(message)
        content = {"error": {"message": message, "type": kind, **extras}}
        self.response = ApiResponse(status, content, rate_headers=rate_headers)


def invalid(message: str) -> ApiError:
    """400: the request breaks a rule. The message names fields, never their values."""
    return ApiError(400, "invalid_request", message)


def unauthenticated() -> ApiError:
    """401: the API key is missing, unknown or not sent as a Bearer token."""
    return ApiError(401, "authentication_error", "invalid or missing api key")


def not_found(what: str) -> ApiError:
    """404: it does not exist, or belongs to another tenant, which must look the same."""
    return ApiError(404, "not_found", f"{what} not found")


def internal_error() -> ApiError:
    """500: in the vendor's shape."""
    return ApiError(500, "internal_error", "internal error")


def unavailable() -> ApiResponse:
    """503: a gateway's HTML page, since the vendor documents neither this status nor a shape for it."""
    return ApiResponse(503, b"<html><body><h1>503 Service Unavailable</h1></body></html>", "text/html")
