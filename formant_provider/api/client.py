"""FormantClient: a method for each endpoint of the vendor's API.

Vendor pages: https://docs.formantai.com/api-reference/overview,
https://docs.formantai.com/api-reference/batch-calls and https://docs.formantai.com/api-reference/transcription
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import IO, Any
from urllib.parse import quote

from formant_provider.api import transcription
from formant_provider.api.batch_models import BatchCall, BatchMetrics
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import BadResponse, FormantError
from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import CallReceipt, CallRequest, Conversation, Recording
from formant_provider.api.multipart import Form
from formant_provider.api.pages import Page
from formant_provider.api.retry import Quota, RetryPolicy
from formant_provider.api.telemetry import (
    BATCHES_PLACED,
    BATCHES_REFUSED,
    CALLS_PLACED,
    CALLS_REFUSED,
    SILENT,
    Telemetry,
    counting,
)
from formant_provider.api.transcription_models import TranscriptFormat, TranscriptionJob
from formant_provider.api.transport import Request, Transport

CREATE_CALL = "POST /v1/call"
LIST_CONVERSATIONS = "GET /v1/conversations"
GET_CONVERSATION = "GET /v1/conversations/{conversation_id}"
GET_RECORDING = "GET /v1/conversations/{conversation_id}/recording"
CREATE_BATCH_CALL = "POST /v1/batch-call"
LIST_BATCH_CALLS = "GET /v1/batch-calls"
GET_BATCH_CALL = "GET /v1/batch-calls/{batch_id}"
GET_BATCH_METRICS = "GET /v1/batch-calls/{batch_id}/metrics"


class FormantClient:
    """The FormantAI Voice API over one pooled session.

    A request that may be repeated is repeated in here, as the retry policy says, while the caller waits.
    Not for use by two threads at once.

    :param config: server, key and timeouts.
    :param retry_policy: how often and how long a request is repeated; ``None`` means four sends within a
        minute.
    :param user_agent_suffix: added to the ``User-Agent``, such as ``apache-airflow/3.3.2``.
    :param sleep: waits for so many seconds; ``None`` means :func:`time.sleep`.
    :param telemetry: counts and traces what this client does; by default nobody does.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        retry_policy: RetryPolicy | None = None,
        user_agent_suffix: str = "",
        sleep: Callable[[float], None] | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.telemetry = telemetry
        self._transport = Transport(
            config, retry_policy or RetryPolicy(), user_agent_suffix, sleep, telemetry
        )

    def __enter__(self) -> FormantClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """Where requests go, without the path."""
        return self._transport.config.base_url

    @property
    def quota(self) -> Quota | None:
        """What the last answer said of the rate limit; ``None`` when it said nothing."""
        return self._transport.quota

    @property
    def server_date(self) -> datetime | None:
        """The server's clock in the last answer that told it, to the second, aware; ``None`` before that."""
        return self._transport.server_date

    def fingerprints(self, agent_id: int | None) -> Fingerprints:
        """Return what recognizes this agent's recipients by fingerprints made with the API key."""
        return Fingerprints(self._transport.config.api_key, agent_id)

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    def without_retries(self) -> FormantClient:
        """Return a client that sends every request once; it shares this one's connections."""
        return self._with(self._transport.without_retries())

    def with_timeouts(self, seconds: float) -> FormantClient:
        """Return a client that waits at most so long for a connection and for the next byte of an answer.

        It shares this one's connections.
        """
        return self._with(self._transport.with_timeouts(seconds))

    def _with(self, transport: Transport) -> FormantClient:
        other = copy.copy(self)
        other._transport = transport
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
        :raises FormantError: of any kind; ``maybe_placed`` says whether one of these may have placed it.
        """
        wanted = Request(
            CREATE_CALL,
            "/v1/call",
            body=request.body(),
            private=tuple(request.private_texts()),
            before_send=before_send,
            after_send=after_send,
            places_call=True,
        )
        with counting(self.telemetry, CALLS_PLACED, CALLS_REFUSED, request.agent_id):
            return CallReceipt.from_json(self._transport.send(wanted)["data"])

    def list_conversations(
        self, agent_id: int | None = None, *, limit: int = 20, offset: int = 0
    ) -> Page[Conversation]:
        """Read one page of conversations. The vendor documents no order and no other filter.

        :param agent_id: only this agent's; ``None`` means every agent's.
        :param limit: records a page, 1 to 100.
        :param offset: records to pass over.
        """
        query = {"agent_id": agent_id, "limit": limit, "offset": offset}
        answer = self._transport.send(
            Request(LIST_CONVERSATIONS, "/v1/conversations", query=query, shape=list)
        )
        return Page.from_json(answer, _conversation, limit=limit, offset=offset)

    def get_conversation(self, conversation_id: str) -> Conversation:
        """Read one conversation in detail.

        :raises NotFound: there is none by this id, or not yet.
        """
        path = f"/v1/conversations/{quote(conversation_id, safe='')}"
        answer = self._transport.send(Request(GET_CONVERSATION, path))
        record = _conversation(answer["data"])
        if record is None:
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
        return Recording(**self._transport.send(Request(GET_RECORDING, path, sink=sink)))

    def create_batch_call(
        self,
        agent_id: int,
        name: str,
        file: str | os.PathLike[str],
        *,
        before_send: Callable[[], FormantError | None] | None = None,
    ) -> BatchCall:
        """Upload a CSV file, and have every row of it called. There is no way to take that back.

        The vendor knows no key for this, so a second upload would call everybody again. It is repeated only
        after it surely was not accepted: without a connection, or after a 429.

        :param name: of the batch call, for people and for finding it again.
        :param file: local path of a file with a ``customer_phone`` column. It is read while it is sent.
        :param before_send: asked right before every send; the error it returns is raised instead.
        :raises RequestRefused: the server said no.
        :raises FormantError: of any kind; ``maybe_placed`` says whether it may have been accepted.
        :raises OSError: the file cannot be opened; nothing was sent.
        """
        counted = counting(self.telemetry, BATCHES_PLACED, BATCHES_REFUSED, agent_id)
        with open(file, "rb") as source, counted:
            wanted = Request(
                CREATE_BATCH_CALL,
                "/v1/batch-call",
                form=Form({"agent_id": str(agent_id), "name": name}, source),
                before_send=before_send,
                places_call=True,
                idempotent=False,
            )
            return _record(self._transport.send(wanted), CREATE_BATCH_CALL, maybe_placed=True)

    def list_batch_calls(
        self, agent_id: int | None = None, *, limit: int = 20, offset: int = 0
    ) -> Page[BatchCall]:
        """Read one page of batch calls. The vendor documents no order and no other filter.

        :param agent_id: only this agent's; ``None`` means every agent's.
        :param limit: records a page, 1 to 100.
        :param offset: records to pass over.
        """
        query = {"agent_id": agent_id, "limit": limit, "offset": offset}
        answer = self._transport.send(Request(LIST_BATCH_CALLS, "/v1/batch-calls", query=query, shape=list))
        return Page.from_json(answer, BatchCall.from_json, limit=limit, offset=offset)

    def get_batch_call(self, batch_id: int) -> BatchCall:
        """Read one batch call.

        :raises NotFound: there is none by this id.
        """
        return _record(self._transport.send(Request(GET_BATCH_CALL, _path(batch_id))), GET_BATCH_CALL)

    def get_batch_metrics(self, batch_id: int) -> BatchMetrics:
        """Read what became of the recipients of a batch call so far.

        :raises NotFound: there is none by this id.
        """
        answer = self._transport.send(Request(GET_BATCH_METRICS, f"{_path(batch_id)}/metrics"))
        return BatchMetrics.from_json(answer["data"])

    def create_transcription_job(
        self,
        audio: str | os.PathLike[str],
        *,
        languages: str | None = None,
        diarize: bool | None = None,
        format: TranscriptFormat | None = None,  # noqa: A002 - the vendor's name
        before_send: Callable[[], FormantError | None] | None = None,
    ) -> TranscriptionJob:
        """Upload an audio file, and have it transcribed.

        The vendor knows no key for this, and no list of jobs. So it is repeated only after it surely was not
        accepted, as with a batch call.

        :param audio: local path of a file. It is read while it is sent; of its name only the ending is sent.
        :param languages: codes such as ``hi-IN`` with commas between them, or ``unknown``, which finds out.
        :param diarize: whether speakers are told apart.
        :param format: ``standard`` or ``code_mixed``.
        :param before_send: asked right before every send; the error it returns is raised instead.
        :raises FormantError: of any kind; ``maybe_placed`` says whether it may have been accepted.
        :raises OSError: the file cannot be opened; nothing was sent.
        """
        chosen: dict[str, Any] = {"languages": languages, "diarize": diarize}
        chosen |= {"transcript_format": format, "before_send": before_send}
        with open(audio, "rb") as source:
            request = transcription.create_request(source, os.fspath(audio), **chosen)
            return transcription.job_of(self._transport.send(request), request.operation)

    def get_transcription_job(self, job_id: str) -> TranscriptionJob:
        """Read a transcription job, with its text once it is completed.

        :raises NotFound: there is none by this id.
        """
        request = transcription.get_request(job_id)
        return transcription.job_of(self._transport.send(request), request.operation)


def _path(batch_id: int) -> str:
    return f"/v1/batch-calls/{int(batch_id)}"


def _record(answer: dict[str, Any], operation: str, *, maybe_placed: bool = False) -> BatchCall:
    batch = BatchCall.from_json(answer["data"])
    if batch is None:
        text = f"{operation}: the record has no id"
        raise BadResponse(text, operation=operation, maybe_placed=maybe_placed)
    return batch


def _conversation(data: Mapping[str, Any]) -> Conversation | None:
    record = Conversation.from_json(data)
    return record if record.conversation_id else None
