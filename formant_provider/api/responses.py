"""Reads what came back, an answer or the lack of one, as JSON or as one of our errors.

Vendor page: https://docs.formantai.com/api-reference/errors-rate-limits
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from formant_provider.api.errors import (
    AuthenticationFailed,
    BadResponse,
    ConcurrencyLimited,
    DuplicateRequest,
    FormantError,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestRefused,
    ResponseLost,
    ServerError,
    Unreachable,
)
from formant_provider.api.models import without_numbers
from formant_provider.api.retry import retry_after_s

if TYPE_CHECKING:
    import requests

CONCURRENCY_ERROR_TYPE = "concurrent_call_limit_exceeded"
_ERROR_BY_STATUS: Mapping[int, type[FormantError]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    404: NotFound,
    409: DuplicateRequest,
    429: RateLimited,
}
_MAX_MESSAGE_LENGTH = 300
_CHUNK_BYTES = 256 * 1024
# A file that says it is one of these is an answer of another kind, such as a proxy's page.
_NO_FILES = ("application/json", "text/html")
# A part of a file has a status of its own, and nobody asked for one.
_WHOLE = 200


def read_answer(
    operation: str,
    response: requests.Response,
    *,
    private: list[str],
    shape: type,
    now: datetime,
    is_bare: bool = False,
) -> dict[str, Any] | FormantError:
    """Return the JSON of a good answer, or the error a bad one stands for.

    :param private: texts the server may quote and we may not.
    :param shape: what ``data`` must be, ``dict`` or ``list``.
    :param is_bare: whether the answer is what is in ``data`` elsewhere; it is returned as that.
    """
    content = _json(response)
    if not 200 <= response.status_code < 300:
        return _refusal(operation, response, content, private, now)
    content = {"data": content} if is_bare else content
    if not isinstance(content, dict) or not isinstance(content.get("data"), shape):
        return BadResponse(
            f"{operation}: answered {response.status_code}, but the body cannot be read",
            operation=operation,
            status=response.status_code,
        )
    return content


def read_file(operation: str, response: requests.Response, sink: IO[bytes]) -> dict[str, Any] | FormantError:
    """Write the body of a good answer to a file, emptied first, or return why it cannot be used.

    What goes wrong with the file itself is raised: it is no answer of the server's.

    :return: ``size`` in bytes and ``content_type``, in lower case and without parameters.
    """
    sink.seek(0)
    sink.truncate()
    pieces, size = response.iter_content(_CHUNK_BYTES), 0
    while piece := _next_piece(pieces):
        if isinstance(piece, Exception):
            what = type(piece).__name__
            return ResponseLost(
                f"{operation}: the download broke off after {size} bytes ({what})", operation=operation
            )
        sink.write(piece)
        size += len(piece)
    # Compared is what came over the wire, before it was unpacked.
    announced, received = response.headers.get("Content-Length", ""), response.raw.tell()
    if announced.isdigit() and int(announced) != received:
        text = f"{operation}: {received} of {announced} bytes were received"
        return ResponseLost(text, operation=operation)
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not size or content_type in _NO_FILES or response.status_code != _WHOLE:
        text = f"{operation}: answered {response.status_code}, but not with a file"
        return BadResponse(text, operation=operation, status=response.status_code)
    return {"size": size, "content_type": content_type}


def _next_piece(pieces: Iterator[bytes]) -> bytes | Exception:
    """Return the next piece of a body, nothing at its end, or what broke it off."""
    import urllib3.exceptions

    try:
        return next(pieces, b"")
    except (OSError, urllib3.exceptions.HTTPError) as error:  # the errors of requests are OSErrors
        return error


def _json(response: requests.Response) -> Any:
    try:
        content = response.json()
    except ValueError:
        return None
    return _mended(content) if b"\\u" in response.content else content


def _mended(value: Any) -> Any:
    """Replace halves of characters, which JSON can hold and nothing after it can: neither XCom nor a file."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(item) for name, item in value.items()}
    return value


def _refusal(
    operation: str, response: requests.Response, content: Any, private: list[str], now: datetime
) -> FormantError:
    details = content.get("error") if isinstance(content, dict) else None
    details = details if isinstance(details, dict) else {}
    error_type = _quote(details.get("type"), private)
    said = ": ".join(text for text in (error_type, _quote(details.get("message"), private)) if text)
    status = response.status_code
    if not said and 300 <= status < 400:
        said = "(a redirect, which is not followed; check the base URL)"
    return _error_class(status, error_type)(
        f"{operation}: answered {status} {said}".rstrip(),
        operation=operation,
        status=status,
        error_type=error_type,
        retry_after_s=retry_after_s(response.headers, now=now) if status in {429, 503} else None,
    )


def _error_class(status: int, error_type: str | None) -> type[FormantError]:
    if status >= 500:
        return ServerError
    if error_type == CONCURRENCY_ERROR_TYPE:
        return ConcurrencyLimited
    return _ERROR_BY_STATUS.get(status, RequestRefused)


def _quote(text: object, private: list[str]) -> str | None:
    """Quote the server, less anything private it may have repeated from the request."""
    if not isinstance(text, str):
        return None
    for secret in sorted(_as_written(private), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return without_numbers(text)[:_MAX_MESSAGE_LENGTH].rstrip(". ")


def _as_written(private: list[str]) -> set[str]:
    """Return private texts as they are, and as they stand inside of JSON, escaped once or twice."""
    escaped = {json.dumps(text)[1:-1] for text in private}
    twice = {json.dumps(text)[1:-1] for text in escaped}
    plain = {json.dumps(text, ensure_ascii=False)[1:-1] for text in private}
    return {text for text in {*private, *escaped, *twice, *plain} if text.strip()}


def transport_error(operation: str, error: Exception) -> FormantError:
    """Tell a request that never left from one whose answer was lost.

    Only what is sure not to have been sent is :class:`Unreachable`; all else may have reached the server.
    """
    from formant_provider.api.connections import never_sent

    if where := never_sent(error):
        text = f"{operation}: no connection was made to {where}, nothing was sent"
        return Unreachable(text, operation=operation)
    what = type(error).__name__
    return ResponseLost(f"{operation}: sent, but no answer was received ({what})", operation=operation)
