"""What the sandbox remembers: calls, used keys, requests, faults; the time decides what can be seen of it."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import datetime, timedelta

from formant_provider.sandbox.answers import Refusal, concurrency_limited, duplicate, not_found
from formant_provider.sandbox.calls import Call
from formant_provider.sandbox.clock import Clock
from formant_provider.sandbox.faults import FaultQueues
from formant_provider.sandbox.limits import RateLimits
from formant_provider.sandbox.numbers import COMPLETED, Ending, ending_of
from formant_provider.sandbox.records import Records
from formant_provider.sandbox.schema import CreateCall
from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.traffic import Traffic

KEY_LIFETIME = timedelta(hours=24)


class World:
    """The state behind one sandbox. Whoever reads or changes it, the clock apart, holds :attr:`lock`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.clock = Clock(settings.start_at, settings.speed)
        self.reset()

    def reset(self) -> None:
        """Forget everything but the settings. Time is not state: the clock goes on."""
        settings = self.settings
        self.calls: list[Call] = []
        self.redials: list[Call] = []
        self.records = Records(settings.list_order)
        self.rings: Counter[str] = Counter()
        self.traffic = Traffic()
        self.faults = FaultQueues()
        self.limits: RateLimits | None = None
        if settings.rate_limit is not None:
            self.limits = RateLimits(settings.rate_limit, settings.rate_window_seconds, self.clock)
        self._keys: dict[tuple[str, int, str], datetime] = {}
        self._chains: dict[tuple[str, str], str] = {}
        self._attempts: Counter[str] = Counter()

    def place(self, tenant: str, request: CreateCall, now: datetime) -> Call:
        """Accept a call: one ring.

        :raises Refusal: 404 unknown agent or conversation; 409 key used within 24 h; 429 too many calls.
        """
        chain_id = self._chain(tenant, request)
        if self._key_used(tenant, request, now):
            raise duplicate()
        if request.scheduled_for is None:
            self._check_capacity(tenant, now)
        return self.accept(tenant, request, now, chain_id)

    def accept(self, tenant: str, request: CreateCall, now: datetime, chain_id: str | None = None) -> Call:
        """Take a call, asking no questions, and settle its redials: one ring, whatever the platform does."""
        self.use_key(tenant, request, now)
        starts_at, ending = request.scheduled_for or now, ending_of(request.customer_phone)
        chain_id = chain_id or _new_id()
        call = self._attempt(tenant, request, chain_id, starts_at, ending, trace_id=_new_id())
        self.calls.append(call)
        self.rings[call.customer_phone] += 1
        if not call.ending.talked:
            self._plan_redials(call)
        return call

    def use_key(self, tenant: str, request: CreateCall, now: datetime) -> None:
        """Mark the idempotency key as used, unless it is already or there is none."""
        if request.idempotency_key is not None and not self._key_used(tenant, request, now):
            self._keys[tenant, request.agent_id, request.idempotency_key] = now

    def _chain(self, tenant: str, request: CreateCall) -> str:
        """Return the chain to join: a new one, or that of a chain id or record id given out before."""
        if request.agent_id not in self.settings.agents:
            raise not_found("agent")
        if request.conversation_id is None:
            return _new_id()
        chain_id = self._chains.get((tenant, request.conversation_id))
        if chain_id is None:
            raise not_found("conversation")
        return chain_id

    def _key_used(self, tenant: str, request: CreateCall, now: datetime) -> bool:
        if request.idempotency_key is None:
            return False
        used_at = self._keys.get((tenant, request.agent_id, request.idempotency_key))
        return used_at is not None and now - used_at < KEY_LIFETIME

    def _check_capacity(self, tenant: str, now: datetime) -> None:
        cap = self.settings.max_concurrent_calls
        if cap is None:
            return
        calls = [*self.calls, *self.redials]
        running = sum(call.tenant == tenant and call.running(now) for call in calls)
        if running >= cap:
            raise Refusal(concurrency_limited(running, cap))

    def _plan_redials(self, call: Call) -> None:
        """Let the platform call again until it is answered, which is the last time it tries."""
        settings, last = self.settings, call
        for redial in range(1, settings.platform_redials + 1):
            starts_at = last.ends_at + timedelta(seconds=settings.platform_redial_after_seconds)
            ending = COMPLETED if redial == settings.platform_redials else call.ending
            trace_id = call.trace_id if settings.redial_trace_id == "same" else _new_id()
            last = self._attempt(
                call.tenant, call.request, call.chain_id, starts_at, ending, trace_id=trace_id, redial=redial
            )
            self.redials.append(last)

    def _attempt(
        self,
        tenant: str,
        request: CreateCall,
        chain_id: str,
        starts_at: datetime,
        ending: Ending,
        *,
        trace_id: str,
        redial: int = 0,
    ) -> Call:
        """Return the next attempt of a chain, its record on the way."""
        self._attempts[chain_id] += 1
        ends_at = starts_at + timedelta(seconds=ending.lasts_seconds)
        call = Call(
            tenant=tenant,
            agent_id=request.agent_id,
            customer_phone=request.customer_phone,
            chain_id=chain_id,
            attempt=self._attempts[chain_id],
            trace_id=trace_id,
            starts_at=starts_at,
            ends_at=ends_at,
            recorded_at=self._recorded_at(ending, starts_at, ends_at),
            ending=ending,
            request=request,
            redial=redial,
        )
        self._chains[tenant, chain_id] = self._chains[tenant, call.conversation_id] = chain_id
        self.records.add(call)
        return call

    def _recorded_at(self, ending: Ending, starts_at: datetime, ends_at: datetime) -> datetime | None:
        if ending.record_delay_seconds is None:
            return None
        if ending.record_delay_seconds == 0 and self.settings.record_appears == "start":
            return starts_at
        return ends_at + timedelta(seconds=ending.record_delay_seconds)


def _new_id() -> str:
    return str(uuid.uuid4())
