"""Why the API did not answer a read as it should, and what to do about it."""

from __future__ import annotations

from http import HTTPStatus

from formant_provider.api.errors import (
    AuthenticationFailed,
    BadResponse,
    FormantError,
    NotFound,
    RateLimited,
    ResponseLost,
    ServerError,
    Unreachable,
)
from formant_provider.check.findings import Finding, State

_AGAIN = "Run the check again; if it stays so, ask FormantAI."
_ELSEWHERE = "Check the base URL of the connection: something else than the API may answer there."
_REFUSED = (
    "A proxy or firewall in between may refuse the request, or the API what this key asks for: compare"
    " account and key with the FormantAI dashboard, and ask who runs the proxy."
)
# By class of error; the first that fits.
_TO_DO: tuple[tuple[type[FormantError], str], ...] = (
    (
        Unreachable,
        "Check the base URL of the connection, and what is in between: DNS, firewall, proxy (HTTPS_PROXY,"
        " NO_PROXY) and certificates (REQUESTS_CA_BUNDLE).",
    ),
    (
        ResponseLost,
        "Run the check again. If it stays so, check proxy and firewall in between, and the time-outs of the"
        " connection.",
    ),
    (
        RateLimited,
        "Run the check again in a minute. If it stays so, more is asked with this account than its rate limit"
        " allows: set calls_per_minute in its connections, or a longer poll_interval in tasks that wait.",
    ),
    (NotFound, _ELSEWHERE),
    (BadResponse, _ELSEWHERE),
    (
        ServerError,
        "Run the check again in some minutes; if it stays so, ask FormantAI, or who runs the proxy.",
    ),
)


def about_refusal(base_url: str, error: FormantError) -> Finding:
    """Return what is to be said of a read that failed."""
    if isinstance(error, AuthenticationFailed):
        text = f"{base_url} refused it (401)."
        to_do = (
            "Compare the password of the connection with the key in the FormantAI dashboard, which may be"
            " disabled, or belong to the other region."
        )
        return Finding("API key", State.PROBLEM, text, to_do)
    text = (
        f"{base_url} cannot be reached from here: {error}." if isinstance(error, Unreachable) else f"{error}."
    )
    return Finding("API", State.PROBLEM, text, _to_do(error))


def _to_do(error: FormantError) -> str:
    status = error.status or 0
    if status == HTTPStatus.FORBIDDEN:
        return _REFUSED
    if 300 <= status < 400:
        return _ELSEWHERE
    return next((to_do for kind, to_do in _TO_DO if isinstance(error, kind)), _AGAIN)
