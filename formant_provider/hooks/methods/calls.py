"""Calls, conversations and batch calls: a method for each request."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, TypeVar

# Not for type checkers alone: whoever makes tools of these methods reads their types.
from formant_provider.api.batch_models import BatchCall, BatchMetrics
from formant_provider.api.models import CallReceipt, Conversation, Recording
from formant_provider.api.pages import Page

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.store.store import Store

PAGE_SIZE = 100

T = TypeVar("T")


class RequestMethods:
    """One method for each request of FormantAI's API, for ``@task`` functions and as tools of an LLM agent.

    Each opens a client, sends one request, repeats it within a minute as the client's retry policy allows,
    and closes the client. All arguments are given by name. The types of arguments and results can be written
    as JSON, and the first paragraph of each docstring says what a model has to know.
    """

    @abstractmethod
    def get_conn(self) -> FormantClient:
        """Return a client."""

    @abstractmethod
    def get_store(self) -> Store | None:
        """Return the call store that the connection names, if it names one."""

    def create_call(
        self,
        *,
        agent_id: int,
        parameters: dict[str, Any],
        idempotency_key: str,
        scheduled_for: datetime | None = None,
        conversation_id: str | None = None,
        metadata: str | None = None,
        retry_context: dict[str, Any] | None = None,
    ) -> CallReceipt:
        """Place one phone call: an agent calls the number in the parameter customer_phone.

        The key is all that keeps this call from being placed twice, so it has no default: FormantAI refuses a
        second call of the same agent with the same key for 24 hours. Make it of what the call is about, such
        as a loan and a date, and never of a random value or the number of the try: a retry of the task has to
        send the same one.

        Where the connection names a call store, its do-not-call list is asked. Nothing else protects this
        call: there is no ledger, so nothing is looked up after a lost response, and after 24 hours the same
        key calls again; caps, calling hours and the pace of a call store are not asked, and the store does
        not know of the call. Where any of these matters, use
        :class:`~formant_provider.operators.call.FormantCreateCallOperator`.

        Vendor page: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call

        :param agent_id: the id of the agent that talks.
        :param parameters: what the agent has to know, by name; customer_phone, the number to call in E.164
            such as +14155552671, is required.
        :param idempotency_key: the name of this call. The same key never places a second call within 24
            hours.
        :param scheduled_for: when to call, with an offset, at most 30 days ahead; None calls now.
        :param conversation_id: the conversation that this call continues; None begins a new one.
        :param metadata: any text for systems downstream.
        :param retry_context: what an earlier attempt left, as the vendor's RetryContext.
        :return: the receipt. It has a ``trace_id``, and most often no ``conversation_id`` yet.
        :raises InvalidInput: a field is wrong; nothing was sent.
        :raises CallNotAllowed: the number is on the do-not-call list; nothing was sent.
        :raises SendAborted: the call store does not answer; nothing was sent.
        :raises DuplicateRequest: the key was used before. If ``earlier`` is not empty, an earlier send of
            this very call, whose response was lost, has most likely placed it.
        :raises FormantError: of any kind; ``maybe_placed`` says whether the call may have been placed.
        """
        from formant_provider.core.calls.request import keyed_request

        request = keyed_request(
            agent_id=agent_id,
            parameters=parameters,
            idempotency_key=idempotency_key,
            scheduled_for=scheduled_for,
            conversation_id=conversation_id,
            metadata=metadata,
            retry_context=retry_context,
            now=datetime.now(UTC),
        )
        if (store := self.get_store()) is not None:
            from formant_provider.store.admission import refuse_suppressed

            refuse_suppressed(store, request.recipient)
        with self.get_conn() as client:
            return client.create_call(request)

    def get_conversation(self, *, conversation_id: str) -> Conversation:
        """Read one conversation: its status, and once it is over its results and transcript.

        The record is private: it has the number, and what was said.

        Vendor page: https://docs.formantai.com/platform/conversations

        :param conversation_id: the id of the conversation, from a list, a webhook or a receipt.
        :raises NotFound: there is none by this id, or not yet.
        """
        name = id_of("conversation_id", conversation_id)
        with self.get_conn() as client:
            return client.get_conversation(name)

    def list_conversations(
        self, *, agent_id: int | None = None, limit: int = 20, offset: int = 0
    ) -> Page[Conversation]:
        """Read one page of the list of conversations. It has no other filter than the agent.

        :param agent_id: the agent whose conversations are listed; None lists those of all agents.
        :param limit: how many, from 1 to 100.
        :param offset: how many to pass over.
        :return: ``items``, and ``has_more``. An item has fewer fields than :meth:`get_conversation` reads.
        :raises InvalidInput: a field is wrong; nothing was sent.
        """
        from formant_provider.core.validation import to_whole_number

        agent_id = _agent_or_all(agent_id)
        limit = to_whole_number("limit", limit, most=PAGE_SIZE)
        offset = to_whole_number("offset", offset, least=0)
        with self.get_conn() as client:
            return client.list_conversations(agent_id, limit=limit, offset=offset)

    def iter_conversations(self, *, agent_id: int | None = None) -> Iterator[Conversation]:
        """Iterate over the list of conversations; a page of 100 is read when it is needed.

        Each conversation comes once. The vendor documents no order; records that come in meanwhile may be
        missing. For all conversations of a day use
        :class:`~formant_provider.operators.export.FormantExportConversationsOperator`.

        :param agent_id: the agent whose conversations are listed; None lists those of all agents.
        :raises InvalidInput: it is no id of an agent; nothing was sent.
        """
        agent_id = _agent_or_all(agent_id)
        return _each(
            lambda offset: self.list_conversations(agent_id=agent_id, limit=PAGE_SIZE, offset=offset),
            lambda record: record.conversation_id,
        )

    def get_recording(self, *, conversation_id: str, path: str) -> Recording:
        """Write the recording of a conversation to a file.

        It is received on this machine's disk first, and never in memory as a whole; what breaks off leaves
        ``path`` as it was.

        :param conversation_id: the id of the conversation.
        :param path: the file: an absolute path, or a URI of any storage that Airflow knows, such as
            s3://connection@bucket/calls/7.wav. An existing one is replaced.
        :return: ``size`` in bytes, and ``content_type``.
        :raises InvalidInput: it names no file that can be written, or Airflow knows no such storage;
            nothing was sent.
        :raises NotFound: there is none, or not yet: the vendor does not tell the two apart.
        """
        from formant_provider.hooks.storage.paths import file_at
        from formant_provider.hooks.storage.writing import write_file

        target, name = file_at("path", path), id_of("conversation_id", conversation_id)
        received: list[Recording] = []

        def fill(file: IO[bytes]) -> str:
            with self.get_conn() as client:
                received.append(client.download_recording(name, file))
            return str(target.name)

        write_file(target.parent, fill)
        return received[0]

    def create_batch_call(self, *, agent_id: int, name: str, file: str) -> BatchCall:
        """Upload a CSV file and have everybody in it called. It cannot be cancelled.

        The vendor takes no idempotency key for a batch call: **a second upload calls everybody again.** So
        the upload is repeated only where it was certainly not accepted, a retry of the task uploads again,
        and after a lost response nobody knows whether people are called. The file is sent as it is, without a
        check of its numbers. Use
        :class:`~formant_provider.operators.batch.FormantCreateBatchCallOperator`, which checks the contacts
        and finds a batch call again; this method is for a task with ``retries=0`` that somebody watches.

        Vendor page: https://docs.formantai.com/platform/batch-calls

        :param agent_id: the id of the agent that talks.
        :param name: the name that people see in the dashboard.
        :param file: the path on this machine of a CSV file with a column customer_phone, in E.164; each
            other column becomes a parameter of the call.
        :raises InvalidInput: a field is wrong; nothing was sent.
        :raises FormantError: of any kind; ``maybe_placed`` says whether people may be called.
        :raises OSError: the file cannot be opened; nothing was sent.
        """
        from formant_provider.api.errors import InvalidInput
        from formant_provider.core.batches.request import to_batch_name
        from formant_provider.core.validation import to_agent_id

        agent_id, name = to_agent_id(agent_id), to_batch_name(name)
        if not isinstance(file, str | os.PathLike) or not os.path.isfile(file):
            raise InvalidInput("file", "must be the path of a file on this machine")
        with self.get_conn() as client:
            return client.create_batch_call(agent_id, name, file)

    def get_batch_call(self, *, batch_id: int) -> BatchCall:
        """Read one batch call: its name, its agent, and how many people it calls.

        :param batch_id: the id of the batch call.
        :raises NotFound: there is none by this id.
        """
        from formant_provider.core.validation import to_whole_number

        number = to_whole_number("batch_id", batch_id)
        with self.get_conn() as client:
            return client.get_batch_call(number)

    def get_batch_metrics(self, *, batch_id: int) -> BatchMetrics:
        """Read how far a batch call has come: how many people were reached, and how many were not.

        :param batch_id: the id of the batch call.
        :raises NotFound: there is none by this id.
        """
        from formant_provider.core.validation import to_whole_number

        number = to_whole_number("batch_id", batch_id)
        with self.get_conn() as client:
            return client.get_batch_metrics(number)

    def iter_batch_calls(self, *, agent_id: int | None = None) -> Iterator[BatchCall]:
        """Iterate over the list of batch calls; a page of 100 is read when it is needed.

        :param agent_id: the agent whose batch calls are listed; None lists those of all agents.
        :raises InvalidInput: it is no id of an agent; nothing was sent.
        """
        agent_id = _agent_or_all(agent_id)

        def page_at(offset: int) -> Page[BatchCall]:
            with self.get_conn() as client:
                return client.list_batch_calls(agent_id, limit=PAGE_SIZE, offset=offset)

        return _each(page_at, lambda batch: batch.batch_id)


def _agent_or_all(agent_id: object) -> int | None:
    from formant_provider.core.validation import to_agent_id

    return None if agent_id is None else to_agent_id(agent_id)


def id_of(field: str, value: object) -> str:
    """Return an id as text.

    :raises InvalidInput: it is missing or blank, which would mean a list, or is no text.
    """
    from formant_provider.api.errors import InvalidInput
    from formant_provider.core.validation import to_optional_text

    text = to_optional_text(field, value)
    if text is None:
        raise InvalidInput(field, "is missing")
    return text


def _each(page_at: Callable[[int], Page[T]], key: Callable[[T], object]) -> Iterator[T]:
    """Yield each record of a list once: what comes in at its front moves the others to the next page."""
    seen: set[object] = set()
    offset, has_more = 0, True
    while has_more:
        page = page_at(offset)
        for record in page.items:
            if key(record) not in seen:
                seen.add(key(record))
                yield record
        offset += PAGE_SIZE
        has_more = page.has_more and bool(page.items)
