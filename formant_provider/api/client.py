"""FormantClient: one method per endpoint of the vendor's API; no other module sends anything.

Vendor pages: https://docs.formantai.com/api-reference/overview and
https://docs.formantai.com/api-reference/errors-rate-limits
"""

from __future__ import annotations

import contextlib
import copy
import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import quote

import requests
import urllib3

from formant_provider.__about__ import __version__
from formant_provider.api.batch_client import BatchEndpoints
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import BadResponse, FormantError
from formant_provider.api.exchange import Exchange
from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import CallReceipt, CallRequest, Conversation, ConversationPage, Recording
from formant_provider.api.responses import read_answer, read_file, transport_error
from formant_provider.api.retry import Quota, RetryPolicy, Stop, http_date, is_unclear, read_quota
from formant_provider.api.transport import MarkingAdapter

log = logging.getLogger(__name__)

CREATE_CALL = "POST /v1/call"
LIST_CONVERSATIONS = "GET /v1/conversations"
GET_CONVERSATION = "GET /v1/conversations/{conversation_id}"
GET_RECORDING = "GET /v1/conversations/{conversation_id}/recording"
# So many times as long is waited for the answer to an upload: the server may check a million rows first.
UPLOAD_PATIENCE = 10


class _BearerAuth(requests.auth.AuthBase):
    """Sets the key per request; without an auth object ``requests`` would look into ``~/.netrc``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class FormantClient(BatchEndpoints):
    """Talks to the FormantAI Voice API over one pooled session.

    Requests that may be repeated are repeated in here, by ``retry_policy``, while the caller waits.
    Not for use by two threads at once.

    :param config: server, key and timeouts.
    :param retry_policy: how often and how long a request is repeated.
    :param user_agent_suffix: added to the ``User-Agent``, such as ``apache-airflow/3.3.2``.
    :param sleep: waits for so many seconds; ``None`` means :func:`time.sleep`.
    :ivar quota: what the last answer said of the rate limit; ``None`` when it said nothing.
    :ivar server_date: what the last answer said of the server's clock, to the second, aware; ``None`` when no
        answer has come yet that said so.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        retry_policy: RetryPolicy | None = None,
        user_agent_suffix: str = "",
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._config = config
        self._retry_policy = retry_policy or RetryPolicy()
        self._sleep = sleep or time.sleep
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, MarkingAdapter())
        self._session.auth = _BearerAuth(config.api_key)
        self._session.headers["Accept"] = "application/json"
        self._session.headers["User-Agent"] = " ".join(
            filter(None, [f"airflow-provider-formant/{__version__}", user_agent_suffix])
        )
        # A proxy named in the environment must not see the key of a plain http request to loopback.
        self._session.trust_env = not config.plain_http
        self.quota: Quota | None = None
        self.server_date: datetime | None = None

    def __enter__(self) -> FormantClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """Where requests go, without the path."""
        return self._config.base_url

    def recipients(self, agent_id: int | None) -> Fingerprints:
        """Return what recognises this agent's recipients by marks made with our API key."""
        return Fingerprints(self._config.api_key, agent_id)

    def close(self) -> None:
        """Give the pooled connections back."""
        self._session.close()

    def without_repeats(self) -> FormantClient:
        """Return a client that sends every request once; it shares this one's connections."""
        other = copy.copy(self)
        other._retry_policy = RetryPolicy(max_attempts=1)
        return other

    def with_timeouts(self, seconds: float) -> FormantClient:
        """Return a client that waits no longer than so for a connection and for the next byte of an answer.

        It shares this one's connections.
        """
        other, config = copy.copy(self), self._config
        other._config = replace(
            config,
            connect_timeout_s=min(config.connect_timeout_s, seconds),
            read_timeout_s=min(config.read_timeout_s, seconds),
        )
        return other

    def create_call(
        self,
        request: CallRequest,
        *,
        before_send: Callable[[], FormantError | None] | None = None,
        after_send: Callable[[], None] | None = None,
    ) -> CallReceipt:
        """Ask for one call. Every send carries ``request.idempotency_key``, so at most one is accepted.

        :param before_send: asked right before every send; the error it returns is raised instead.
        :param after_send: called right after every send, whatever came of it.
        :raises RequestRefused: the server said no; with :class:`DuplicateRequest` an earlier send was used.
        :raises RetryableError: the server took no call within the retry policy; see ``retry_after_s``.
        :raises FormantError: of any kind; ``maybe_placed`` says whether one of these sends may have rung.
        """
        answer = self._exchange(
            Exchange(
                CREATE_CALL,
                "/v1/call",
                body=request.body(),
                private=tuple(request.private_texts()),
                before_send=before_send,
                after_send=after_send,
                rings=True,
            )
        )
        return CallReceipt.from_json(answer["data"])

    def list_conversations(
        self, agent_id: int | None = None, *, limit: int = 20, offset: int = 0
    ) -> ConversationPage:
        """Read one page of conversations. The vendor documents no order and no other filter.

        :param agent_id: only this agent's; ``None`` means every agent's.
        :param limit: records a page, 1 to 100.
        :param offset: records to pass over.
        """
        query = {"agent_id": agent_id, "limit": limit, "offset": offset}
        answer = self._exchange(Exchange(LIST_CONVERSATIONS, "/v1/conversations", query=query, shape=list))
        return ConversationPage.from_json(answer, limit=limit, offset=offset)

    def get_conversation(self, conversation_id: str) -> Conversation:
        """Read one conversation in detail.

        :raises NotFound: there is none by this id, or not yet.
        """
        path = f"/v1/conversations/{quote(conversation_id, safe='')}"
        answer = self._exchange(Exchange(GET_CONVERSATION, path))
        record = Conversation.from_json(answer["data"])
        if not record.conversation_id:
            raise BadResponse(f"{GET_CONVERSATION}: the record has no id", operation=GET_CONVERSATION)
        return record

    def download_recording(self, conversation_id: str, sink: IO[bytes]) -> Recording:
        """Write the recording of a conversation to a file, piece by piece and never as a whole in memory.

        A download that breaks off is begun again, by the retry policy.

        :param sink: open for writing bytes, and seekable; it is emptied before every send. After an error
            it may hold a part of the recording.
        :raises NotFound: there is none, or not yet; the vendor does not tell the two apart.
        """
        path = f"/v1/conversations/{quote(conversation_id, safe='')}/recording"
        return Recording(**self._exchange(Exchange(GET_RECORDING, path, sink=sink)))

    def _exchange(self, exchange: Exchange) -> dict[str, Any]:
        """Send until the server answers or the retry policy says stop; return the answer's JSON."""
        failed: list[FormantError] = []
        waited_s = 0.0
        while True:
            outcome = self._send(exchange)
            if exchange.after_send:
                exchange.after_send()
            if not isinstance(outcome, FormantError):
                return outcome
            decision = self._retry_policy.decide(
                attempt=len(failed) + 1,
                waited_s=waited_s,
                error=outcome,
                guarded=exchange.guarded,
                jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
            )
            if isinstance(decision, Stop):
                outcome.earlier = tuple(failed)
                outcome.maybe_placed = exchange.rings and any(map(is_unclear, [*failed, outcome]))
                raise outcome
            failed.append(outcome)
            log.warning("%s; sending again in %.1f s (%s).", outcome, decision.seconds, decision.reason)
            self._sleep(decision.seconds)
            waited_s += decision.seconds

    def _send(self, exchange: Exchange) -> dict[str, Any] | FormantError:
        """Send once, and return errors rather than raise them.

        So no exception of ``requests``, which holds the request with its key and number, is ever chained
        to one of ours.
        """
        if exchange.before_send and (kept_back := exchange.before_send()):
            return kept_back
        try:
            response = self._request(exchange)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return transport_error(exchange.operation, error)
        now = datetime.now(UTC)
        self.quota = read_quota(response.headers, now=now)
        self.server_date = http_date(response.headers.get("Date", "")) or self.server_date
        with response:
            if exchange.sink is not None and _is_good(response):
                return read_file(exchange.operation, response, exchange.sink)
            return read_answer(
                exchange.operation,
                response,
                private=[self._config.api_key, *exchange.private, *_quoted_from_file(exchange, response)],
                shape=exchange.shape,
                now=now,
            )

    def _request(self, exchange: Exchange) -> requests.Response:
        """Send, and read the answer; of a file, only its head."""
        wants_file = exchange.sink is not None
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"} if wants_file else {}
        if exchange.form is not None:
            headers["Content-Type"] = exchange.form.content_type
        response = self._session.request(
            exchange.operation.partition(" ")[0],
            self._config.base_url + exchange.path,
            params=exchange.query,
            json=exchange.body,
            data=exchange.form,
            headers=headers,
            timeout=self._timeout(exchange),
            # A redirected request would send the key, and a call's number, wherever the answer points.
            allow_redirects=False,
            stream=wants_file,
        )
        if wants_file and not _is_good(response):
            _ = response.content  # kept with the response, and a refusal that breaks off is noticed here
        return response

    def _timeout(self, exchange: Exchange) -> tuple[float, float]:
        """Return for how long to wait for a connection and for the next byte, in seconds."""
        connect_s, read_s = self._config.connect_timeout_s, self._config.read_timeout_s
        if exchange.form is None:
            return connect_s, read_s
        # The first of them also bounds how long each piece of an upload may take to be sent.
        return max(connect_s, read_s), read_s * UPLOAD_PATIENCE


def _quoted_from_file(exchange: Exchange, response: requests.Response) -> list[str]:
    """Return what a refusal repeats from the file that was sent."""
    if exchange.form is not None and not _is_good(response):
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            return exchange.form.words_in(" ".join(map(str, response.json()["error"].values())))
    return []


def _is_good(response: requests.Response) -> bool:
    return 200 <= response.status_code < 300
