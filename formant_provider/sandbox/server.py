"""The sandbox as Python sees it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from urllib.parse import quote

from formant_provider.sandbox.app import build_app
from formant_provider.sandbox.batches import Batch
from formant_provider.sandbox.calls import Attempt, Call
from formant_provider.sandbox.form import CreateBatch
from formant_provider.sandbox.loopback import LoopbackServer
from formant_provider.sandbox.recording import Recording
from formant_provider.sandbox.rows import rows_of
from formant_provider.sandbox.schema import new_call
from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.traffic import SeenRequest
from formant_provider.sandbox.world import World


@dataclass(kw_only=True, eq=False)
class Sandbox(Settings):
    """A local FormantAI Voice API, to be used in a ``with`` block.

    Takes the settings of :class:`~formant_provider.sandbox.settings.Settings`, all by name and all optional.
    State and clock live from construction on and outlast the server: it can be stopped and started again on
    the same port, and what it saw can be read afterwards. All methods may be called from any thread.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._world = World(self)
        self._server: LoopbackServer | None = None

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
        :raises RuntimeError: it is running already.
        """
        if self._server is not None:
            raise RuntimeError("the sandbox is running already")
        server = LoopbackServer(build_app(self._world), self.host, self.port)
        server.start()
        self._server, self.port = server, server.port

    def stop(self) -> None:
        """Stop serving at once and close what still waits for an answer. Harmless when not running."""
        if self._server is not None:
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
        """Return the sandbox's time, in UTC."""
        return self._world.clock.now()

    def advance(self, seconds: float) -> datetime:
        """Let virtual time pass at once and return the new time.

        :param seconds: virtual seconds, 0 or more.
        :raises ValueError: anything else.
        """
        return self._world.clock.advance(seconds)

    def place(
        self,
        customer_phone: str,
        *,
        agent_id: int = 456,
        parameters: Mapping[str, str] | None = None,
        scheduled_for: datetime | None = None,
    ) -> Call:
        """Place a call as somebody else with the same key: a ring and a record, but no request.

        It is always accepted, whatever the cap on running calls.

        :param parameters: what the agent is told besides the number.
        :param scheduled_for: virtual time, aware.
        :raises ValueError: what POST /v1/call would answer 400 or 404 to.
        """
        if agent_id not in self.agents:
            raise ValueError(f"agent {agent_id} does not exist here")
        with self._world.lock:
            now = self.now()
            request = new_call(
                agent_id, {"customer_phone": customer_phone, **(parameters or {})}, scheduled_for, now
            )
            return self._world.accept(self.api_key, request, now)

    def receive(self, customer_phone: str, *, agent_id: int = 456, lasts_seconds: int = 142) -> Attempt:
        """Let somebody call an agent, who talks at once: a record with a trace id of its own, and no ring.

        Whether it is in the conversation list says ``inbound_in_list``.

        :param customer_phone: who calls, E.164; the last digits decide nothing here.
        :param lasts_seconds: virtual seconds until it is over, above 0.
        :raises ValueError: an agent that does not exist, a number that is not E.164, or another length.
        """
        if agent_id not in self.agents:
            raise ValueError(f"agent {agent_id} does not exist here")
        if not lasts_seconds > 0:
            raise ValueError(f"lasts_seconds must be above 0, not {lasts_seconds!r}")
        with self._world.lock:
            now = self.now()
            caller = new_call(agent_id, {"customer_phone": customer_phone}, None, now).customer_phone
            return self._world.receive(self.api_key, agent_id, caller, lasts_seconds, now)

    def place_batch(
        self, customer_phones: Iterable[str], *, agent_id: int = 456, name: str = "Somebody else's"
    ) -> Batch:
        """Place a batch call as somebody else with the same key: its rings and records, but no request.

        :raises ValueError: what POST /v1/batch-call would answer 400 or 404 to.
        """
        if agent_id not in self.agents:
            raise ValueError(f"agent {agent_id} does not exist here")
        asked = CreateBatch(agent_id=agent_id, name=name, rows=rows_of(customer_phones))
        with self._world.lock:
            return self._world.place_batch(self.api_key, asked, self.now())

    def recording(self, conversation_id: str) -> Recording:
        """Return the bytes that are served as this conversation's recording, once and if there is one."""
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
        """Queue a fault behind those already waiting at the endpoint.

        :param endpoint: one of ``faults.ENDPOINTS``, such as ``POST /v1/call``.
        :param fault: a :class:`~formant_provider.sandbox.faults.Fault` or its name.
        :param times: how many requests it takes.
        :param seconds: for the hangs: real seconds to hold the answer. None is 30.
        :param retry_after: for the timed rate limits: real seconds the client is told to wait. None is 1.
        :raises ValueError: unknown endpoint or fault, or a value the fault has no use for.
        """
        with self._world.lock:
            self._world.faults.add(endpoint, fault, times=times, seconds=seconds, retry_after=retry_after)

    def reset(self) -> None:
        """Forget calls, batch calls, used keys, spent limits, counts and faults. The clock goes on."""
        with self._world.lock:
            self._world.reset()

    @property
    def rings(self) -> Counter[str]:
        """How many calls and rows were accepted per recipient: scheduled ones too, redials not. A copy."""
        with self._world.lock:
            return self._world.count_rings()

    @property
    def calls(self) -> list[Call]:
        """The accepted calls, in order, batch calls apart. A copy."""
        with self._world.lock:
            return list(self._world.calls)

    @property
    def batches(self) -> list[Batch]:
        """The accepted batch calls, in order. A copy."""
        with self._world.lock:
            return list(self._world.batches)

    @property
    def redials(self) -> list[Call]:
        """The platform's own redials of calls that have begun by now, in order of their start. A copy."""
        with self._world.lock:
            now = self.now()
            begun = [call for call in self._world.redials if call.starts_at <= now]
        return sorted(begun, key=lambda call: call.starts_at)

    @property
    def requests(self) -> list[SeenRequest]:
        """Every request to anything but ``/sandbox/``, answered or not, in order of arrival. A copy."""
        with self._world.lock:
            return self._world.traffic.copy()
