"""The Python interface of the sandbox."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from urllib.parse import quote

from formant_provider.sandbox.app import build_app
from formant_provider.sandbox.batch_file import rows_of
from formant_provider.sandbox.batch_form import CreateBatch
from formant_provider.sandbox.batches import Batch
from formant_provider.sandbox.calls import Attempt, Call
from formant_provider.sandbox.faults import QueuedFault
from formant_provider.sandbox.recording import Recording
from formant_provider.sandbox.request_log import SeenRequest
from formant_provider.sandbox.request_schemas import new_call
from formant_provider.sandbox.server_thread import ServerThread
from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.state import State
from formant_provider.sandbox.transcriptions import Transcription
from formant_provider.sandbox.webhook_faults import QueuedWebhookFault
from formant_provider.sandbox.webhook_targets import Target
from formant_provider.sandbox.webhooks import SentWebhook


@dataclass(kw_only=True, eq=False)
class Sandbox(Settings):
    """A local FormantAI Voice API, to be used in a ``with`` block.

    Takes the settings of :class:`~formant_provider.sandbox.Settings`, all by name and all optional.
    Its state and its clock exist from construction on, whether the server runs or not. The server can be
    stopped and started again on the same port. All methods may be called from any thread.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._state = State(self)
        self._server: ServerThread | None = None

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start serving; requests are answered when this returns.

        :raises OSError: the port is taken or may not be used.
        :raises RuntimeError: the sandbox runs already.
        """
        if self._server is not None:
            raise RuntimeError("the sandbox is running already")
        server = ServerThread(build_app(self._state), self.host, self.port)
        server.start()
        self._server, self.port = server, server.port
        self._state.senders.start()

    def stop(self) -> None:
        """Stop serving at once and close all connections. Does nothing when the sandbox does not run."""
        if self._server is not None:
            self._state.senders.stop()
            self._server.stop()
            self._server = None

    @property
    def base_url(self) -> str:
        """Address of the API, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def connection_uri(self) -> str:
        """Return an Airflow connection as a URI, for ``AIRFLOW_CONN_FORMANT_DEFAULT``."""
        return f"formant://http://:{quote(self.api_key, safe='')}@{self.host}:{self.port}"

    def connection_json(self) -> str:
        """Return the same Airflow connection as JSON text."""
        return json.dumps({"conn_type": "formant", "host": self.base_url, "password": self.api_key})

    def now(self) -> datetime:
        """Return the virtual time, in UTC."""
        return self._state.clock.now()

    def advance(self, seconds: float) -> datetime:
        """Move the clock ahead and return the new virtual time.

        :param seconds: virtual seconds, 0 or more.
        :raises ValueError: ``seconds`` is invalid.
        """
        return self._state.advance(seconds)

    def place(
        self,
        customer_phone: str,
        *,
        agent_id: int = 456,
        parameters: Mapping[str, str] | None = None,
        scheduled_for: datetime | None = None,
    ) -> Call:
        """Place a call as somebody else with the same key: a ring and a record, but no request.

        The cap on running calls does not hold for it.

        :param customer_phone: the recipient, E.164. The last two digits decide how the call ends.
        :param agent_id: an agent that exists.
        :param parameters: further parameters of the agent, by name.
        :param scheduled_for: virtual time, aware; None is now.
        :raises ValueError: POST /v1/call would answer 400 or 404.
        """
        self._check_agent(agent_id)
        with self._state.lock:
            now = self.now()
            request = new_call(
                agent_id, {"customer_phone": customer_phone, **(parameters or {})}, scheduled_for, now
            )
            return self._state.accept(self.api_key, request, now)

    def receive(self, customer_phone: str, *, agent_id: int = 456, lasts_seconds: int = 142) -> Attempt:
        """Let somebody call an agent: a completed call with a record and a trace id of its own, and no ring.

        ``inbound_in_list`` decides whether it is in the conversation list.

        :param customer_phone: the caller, E.164. Its digits do not decide how the call ends.
        :param agent_id: an agent that exists.
        :param lasts_seconds: virtual seconds until the call ends, above 0.
        :raises ValueError: an argument is invalid.
        """
        self._check_agent(agent_id)
        if not lasts_seconds > 0:
            raise ValueError(f"lasts_seconds must be above 0, not {lasts_seconds!r}")
        with self._state.lock:
            now = self.now()
            caller = new_call(agent_id, {"customer_phone": customer_phone}, None, now).customer_phone
            return self._state.receive(self.api_key, agent_id, caller, lasts_seconds, now)

    def place_batch(
        self, customer_phones: Iterable[str], *, agent_id: int = 456, name: str = "Somebody else's"
    ) -> Batch:
        """Place a batch call as somebody else with the same key: rings and records, but no request.

        :param customer_phones: the recipients, one row each, E.164.
        :param agent_id: an agent that exists.
        :param name: name of the batch call.
        :raises ValueError: POST /v1/batch-call would answer 400 or 404.
        """
        self._check_agent(agent_id)
        content = CreateBatch(agent_id=agent_id, name=name, rows=rows_of(customer_phones))
        with self._state.lock:
            return self._state.place_batch(self.api_key, content, self.now())

    def recording(self, conversation_id: str) -> Recording:
        """Return what is served as the recording of this conversation, if it has one."""
        return Recording(conversation_id, self.recording_bytes)

    def inject(
        self,
        endpoint: str,
        fault: str,
        *,
        times: int = 1,
        seconds: float | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Queue a fault behind those already queued at the endpoint.

        :param endpoint: one of ``faults.ENDPOINTS``, such as ``POST /v1/call``.
        :param fault: a :class:`~formant_provider.sandbox.faults.Fault` or its name.
        :param times: how many requests it applies to.
        :param seconds: for the hangs: real seconds to hold the response. None is 30.
        :param retry_after: for the timed rate limits: real seconds the client is told to wait. None is 1.
        :raises ValueError: the endpoint or the fault is unknown, or a value does not apply to the fault.
        """
        queued = QueuedFault(endpoint, fault, times, seconds, retry_after)
        with self._state.lock:
            self._state.faults.add(queued)

    def add_webhook(
        self,
        url: str,
        *,
        secret: str | None = None,
        old_secret: str | None = None,
        agent_id: int | None = None,
        events: Collection[str] | None = None,
        include_transcript: bool = True,
    ) -> None:
        """Send webhooks of the calls that end from now on, while the sandbox runs.

        :param url: http or https address; the certificate of an https one is checked.
        :param secret: what events are signed with; None sends them unsigned.
        :param old_secret: what the fault ``old_key`` signs with; None is the secret with ``-old`` behind it.
        :param agent_id: the agent whose calls are meant; None is all of them.
        :param events: event types, such as ``call.completed``; None is all of them.
        :param include_transcript: events of completed calls have the transcript.
        :raises ValueError: an argument is invalid, or the agent has five targets already.
        """
        target = Target(
            url=url,
            secret=secret,
            old_secret=old_secret,
            agent_id=agent_id,
            events=None if events is None else frozenset(events),
            include_transcript=include_transcript,
        )
        with self._state.lock:
            self._state.add_target(target)

    def clear_webhooks(self) -> None:
        """Remove all targets of webhooks. What was not delivered yet will not be."""
        with self._state.lock:
            self._state.clear_targets()

    def inject_webhook(self, fault: str, *, times: int = 1, seconds: float | None = None) -> None:
        """Queue a fault of webhooks behind those already queued. It meets events as they come.

        :param fault: a :class:`~formant_provider.sandbox.webhook_faults.WebhookFault` or its name.
        :param times: how many events it meets; one for two targets is two.
        :param seconds: virtual seconds, for the faults that have them; None is their default.
        :raises ValueError: the fault is unknown, or a value does not apply to it.
        """
        queued = QueuedWebhookFault(fault, times, seconds)
        with self._state.lock:
            self._state.webhooks.faults.add(queued)

    def deliver_webhooks(self, timeout: float = 30.0) -> None:
        """Wait until all webhooks that are due by now were delivered, or failed for now.

        :param timeout: real seconds.
        :raises RuntimeError: the sandbox does not run.
        :raises TimeoutError: some are not delivered within the time.
        """
        if self._server is None:
            raise RuntimeError("webhooks are delivered while the sandbox runs")
        if not self._state.senders.wait_until_delivered(timeout):
            raise TimeoutError(f"webhooks are still due after {timeout:g} s")

    @property
    def deliveries(self) -> list[SentWebhook]:
        """Every attempt to deliver a webhook that has ended, in that order. A copy."""
        with self._state.lock:
            return list(self._state.webhooks.sent)

    def reset(self) -> None:
        """Forget calls, batch calls, used keys, spent limits, counts, faults and deliveries.

        The clock keeps its time, and the targets of webhooks stay.
        """
        with self._state.lock:
            self._state.reset()

    @property
    def rings(self) -> Counter[str]:
        """How many calls and rows were accepted per recipient, also scheduled ones; no redials. A copy."""
        with self._state.lock:
            return self._state.count_rings()

    @property
    def calls(self) -> list[Call]:
        """The accepted calls, in order, without batch calls. A copy."""
        with self._state.lock:
            return list(self._state.calls)

    @property
    def batches(self) -> list[Batch]:
        """The accepted batch calls, in order. A copy."""
        with self._state.lock:
            return list(self._state.batches)

    @property
    def transcriptions(self) -> list[Transcription]:
        """The accepted transcription jobs, in order. A copy."""
        with self._state.lock:
            return list(self._state.transcriptions)

    @property
    def redials(self) -> list[Call]:
        """The platform's redials of calls that have started by now, in order of their start. A copy."""
        with self._state.lock:
            now = self.now()
            started = [call for call in self._state.redials if call.starts_at <= now]
        return sorted(started, key=lambda call: call.starts_at)

    @property
    def requests(self) -> list[SeenRequest]:
        """Every request to anything but ``/sandbox/``, answered or not, in order of arrival. A copy."""
        with self._state.lock:
            return self._state.requests.copy()

    def _check_agent(self, agent_id: int) -> None:
        if agent_id not in self.agents:
            raise ValueError(f"agent {agent_id} does not exist")
