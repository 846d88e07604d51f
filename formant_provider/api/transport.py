"""Sends one request, repeats it as the retry policy allows, and returns the answer or raises our error.

Vendor page: https://docs.formantai.com/api-reference/errors-rate-limits
"""

from __future__ import annotations

import contextlib
import copy
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Any

import requests
import urllib3

from formant_provider.__about__ import __version__
from formant_provider.api.config import ClientConfig
from formant_provider.api.connections import MarkingAdapter
from formant_provider.api.errors import FormantError, RateLimited
from formant_provider.api.log_throttle import LogThrottle
from formant_provider.api.multipart import Form
from formant_provider.api.responses import read_answer, read_file, transport_error
from formant_provider.api.retry import Quota, RetryPolicy, Stop, http_date, is_unclear, read_quota
from formant_provider.api.telemetry import RATE_LIMITED, REQUESTS, SILENT, Telemetry

log = logging.getLogger(__name__)

# The answer to an upload may take so many times as long: the server may check a million rows first.
UPLOAD_TIMEOUT_FACTOR = 10


@dataclass(frozen=True)
class Request:
    """One request, and what its answer is: a file for ``sink``, or ``data`` of type ``shape``.

    :param operation: ``"METHOD /path"``, as logs and errors call it.
    :param form: sent in place of a JSON ``body``.
    :param private: texts of the request that the server may quote and no error of ours may.
    :param is_bare: whether the answer has no ``data`` around it.
    :param before_send: called right before every send; the error it returns is raised instead.
    :param after_send: called right after every send, whatever its outcome.
    :param places_call: whether the server does what cannot be taken back when it accepts it: people are
        called, or audio is transcribed.
    :param idempotent: whether the server refuses the second of two that it could accept, or neither changes
        anything.
    """

    operation: str
    path: str
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    form: Form | None = None
    private: tuple[str, ...] = ()
    shape: type = dict
    is_bare: bool = False
    sink: IO[bytes] | None = None
    before_send: Callable[[], FormantError | None] | None = None
    after_send: Callable[[], None] | None = None
    places_call: bool = False
    idempotent: bool = True


class _BearerAuth(requests.auth.AuthBase):
    """Sets the key per request; without an auth object ``requests`` would look into ``~/.netrc``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class Transport:
    """One pooled session with one server. Not for use by two threads at once."""

    def __init__(
        self,
        config: ClientConfig,
        retry_policy: RetryPolicy,
        user_agent_suffix: str,
        sleep: Callable[[float], None] | None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.config = config
        self._retry_policy = retry_policy
        self._sleep = sleep or time.sleep
        self._telemetry = telemetry
        self._session = _session(config, user_agent_suffix)
        self._rate_limit_lines = LogThrottle(first_after_s=0)
        self.quota: Quota | None = None  # of the last answer
        self.server_date: datetime | None = None  # the last Date of an answer, aware

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def without_retries(self) -> Transport:
        """Return one that sends every request once; it shares this one's connections."""
        other = copy.copy(self)
        other._retry_policy = RetryPolicy(max_attempts=1)
        return other

    def with_timeouts(self, seconds: float) -> Transport:
        """Return one whose timeouts are this long at most; it shares this one's connections."""
        other, config = copy.copy(self), self.config
        other.config = replace(
            config,
            connect_timeout_s=min(config.connect_timeout_s, seconds),
            read_timeout_s=min(config.read_timeout_s, seconds),
        )
        return other

    def send(self, request: Request) -> dict[str, Any]:
        """Send until the server answers or the retry policy says stop; return the answer's JSON."""
        failed: list[FormantError] = []
        waited_s = 0.0
        while True:
            outcome = self._send(request)
            if request.after_send:
                request.after_send()
            if not isinstance(outcome, FormantError):
                return outcome
            decision = self._retry_policy.decide(
                attempt=len(failed) + 1,
                waited_s=waited_s,
                error=outcome,
                idempotent=request.idempotent,
                jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
            )
            if isinstance(decision, Stop):
                outcome.earlier = tuple(failed)
                outcome.maybe_placed = request.places_call and any(map(is_unclear, [*failed, outcome]))
                raise outcome
            failed.append(outcome)
            level = self._level_of(outcome, sends=len(failed))
            log.log(level, "%s; sending again in %.1f s (%s).", outcome, decision.seconds, decision.reason)
            self._sleep(decision.seconds)
            waited_s += decision.seconds

    def _level_of(self, error: FormantError, *, sends: int) -> int:
        """Return at which level a repeat is logged: a long read meets the rate limit once a minute."""
        is_usual = isinstance(error, RateLimited) and sends == 1
        return logging.DEBUG if is_usual and not self._rate_limit_lines.is_due() else logging.WARNING

    def _send(self, request: Request) -> dict[str, Any] | FormantError:
        """Send once, and return errors rather than raise them.

        So no exception of ``requests``, which holds the request with its key and number, is ever chained
        to one of ours.
        """
        if request.before_send and (aborted := request.before_send()):
            return aborted
        try:
            response = self._request(request)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            self._telemetry.count(REQUESTS, operation=request.operation, status="none")
            return transport_error(request.operation, error)
        self._count(request, response.status_code)
        now = datetime.now(UTC)
        self.quota = read_quota(response.headers, now=now)
        self.server_date = http_date(response.headers.get("Date", "")) or self.server_date
        with response:
            if request.sink is not None and _is_good(response):
                return read_file(request.operation, response, request.sink)
            return read_answer(
                request.operation,
                response,
                private=[self.config.api_key, *request.private, *_quoted_from_file(request, response)],
                shape=request.shape,
                now=now,
                is_bare=request.is_bare,
            )

    def _count(self, request: Request, status: int) -> None:
        self._telemetry.count(REQUESTS, operation=request.operation, status=status)
        if status == requests.codes.too_many_requests:
            self._telemetry.count(RATE_LIMITED, operation=request.operation)

    def _request(self, request: Request) -> requests.Response:
        """Send, and read the answer; of a file, only its head."""
        wants_file = request.sink is not None
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"} if wants_file else {}
        if request.form is not None:
            headers["Content-Type"] = request.form.content_type
        response = self._session.request(
            request.operation.partition(" ")[0],
            self.config.base_url + request.path,
            params=request.query,
            json=request.body,
            data=request.form,
            headers=headers,
            timeout=self._timeout(request),
            # A redirected request would send the key, and a call's number, wherever the answer points.
            allow_redirects=False,
            stream=wants_file,
        )
        if wants_file and not _is_good(response):
            _ = response.content  # kept with the response, and a refusal that breaks off is noticed here
        return response

    def _timeout(self, request: Request) -> tuple[float, float]:
        """Return for how long to wait for a connection and for the next byte, in seconds."""
        connect_s, read_s = self.config.connect_timeout_s, self.config.read_timeout_s
        if request.form is None:
            return connect_s, read_s
        # The first of them also bounds how long each piece of an upload may take to be sent.
        return max(connect_s, read_s), read_s * UPLOAD_TIMEOUT_FACTOR


def _session(config: ClientConfig, user_agent_suffix: str) -> requests.Session:
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, MarkingAdapter())
    session.auth = _BearerAuth(config.api_key)
    session.headers["Accept"] = "application/json"
    agents = [f"airflow-provider-formant/{__version__}", user_agent_suffix]
    session.headers["User-Agent"] = " ".join(filter(None, agents))
    # A proxy named in the environment must not see the key of a plain http request to loopback.
    session.trust_env = config.base_url.startswith("https://")
    return session


def _quoted_from_file(request: Request, response: requests.Response) -> list[str]:
    """Return what a refusal repeats from the file that was sent."""
    if request.form is not None and not _is_good(response):
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            return request.form.words_in(" ".join(map(str, response.json()["error"].values())))
    return []


def _is_good(response: requests.Response) -> bool:
    return 200 <= response.status_code < 300
