"""What the sandbox remembers: calls, used keys, requests, faults; the time decides what can be seen of it."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import datetime, timedelta

from formant_provider.sandbox.answers import Refusal, concurrency_limited, duplicate, not_found
from formant_provider.sandbox.batches import Batch, Batches
from formant_provider.sandbox.calls import Attempt, Call
from formant_provider.sandbox.clock import Clock
from formant_provider.sandbox.course import Leg, course_of, leg_of
from formant_provider.sandbox.faults import FaultQueues
from formant_provider.sandbox.form import CreateBatch
from formant_provider.sandbox.limits import RateLimits
from formant_provider.sandbox.numbers import answered, ending_of
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
        self.batches = Batches(settings.list_order)
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
        ids = {"chain_id": chain_id or _new_id(), "trace_id": _new_id()}
        starts_at = request.scheduled_for or now
        course = course_of(ending_of(request.customer_phone), self.settings)
        call, *redials = [self._attempt(tenant, request, starts_at, leg, **ids) for leg in course]
        self.calls.append(call)
        self.redials += redials
        self.rings[call.customer_phone] += 1
        return call

    def receive(
        self, tenant: str, agent_id: int, customer_phone: str, lasts_seconds: int, now: datetime
    ) -> Attempt:
        """Let somebody call an agent: a record and no ring."""
        leg = leg_of(0, timedelta(), answered(lasts_seconds), self.settings)
        call = Attempt(
            tenant=tenant,
            agent_id=agent_id,
            customer_phone=customer_phone,
            chain_id=_new_id(),
            attempt=1,
            trace_id=_new_id(),
            starts_at=now,
            ends_at=now + leg.ends,
            recorded_at=None if leg.recorded is None else now + leg.recorded,
            ending=leg.ending,
        )
        self._attempts[call.chain_id] = 1
        self._keep(call, listed=self.settings.inbound_in_list)
        return call

    def place_batch(self, tenant: str, request: CreateBatch, now: datetime) -> Batch:
        """Accept a batch call: one ring a row. No cap ever refuses it.

        :raises Refusal: 404 unknown agent.
        """
        if request.agent_id not in self.settings.agents:
            raise not_found("agent")
        batch = Batch(
            tenant=tenant,
            batch_id=self.batches.next_id(),
            name=request.name,
            agent_id=request.agent_id,
            created_at=now,
            rows=request.rows,
            settings=self.settings,
        )
        self.batches.add(batch)
        self.records.add_batch(batch)
        return batch

    def count_rings(self) -> Counter[str]:
        """Return how often each recipient is rung, by calls and by batch calls."""
        rings = self.rings.copy()
        for batch in self.batches:
            rings.update(batch.phones())
        return rings

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
        return chain_id or self._chain_of_a_batch(tenant, request.conversation_id)

    def _chain_of_a_batch(self, tenant: str, conversation_id: str) -> str:
        attempt = self.records.of_a_batch(conversation_id)
        if attempt is None or attempt.tenant != tenant:
            raise not_found("conversation")
        course = course_of(ending_of(attempt.customer_phone), self.settings)
        self._attempts.setdefault(attempt.chain_id, len(course))
        return attempt.chain_id

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
        running += sum(batch.tally(now).in_progress for batch in self.batches if batch.tenant == tenant)
        if running >= cap:
            raise Refusal(concurrency_limited(running, cap))

    def _attempt(
        self, tenant: str, request: CreateCall, starts_at: datetime, leg: Leg, *, chain_id: str, trace_id: str
    ) -> Call:
        """Return the next attempt of a chain, its record on the way."""
        self._attempts[chain_id] += 1
        traced_apart = leg.redial and self.settings.redial_trace_id == "new"
        call = Call(
            tenant=tenant,
            agent_id=request.agent_id,
            customer_phone=request.customer_phone,
            chain_id=chain_id,
            attempt=self._attempts[chain_id],
            trace_id=_new_id() if traced_apart else trace_id,
            starts_at=starts_at + leg.starts,
            ends_at=starts_at + leg.ends,
            recorded_at=None if leg.recorded is None else starts_at + leg.recorded,
            ending=leg.ending,
            request=request,
            redial=leg.redial,
        )
        self._keep(call)
        return call

    def _keep(self, call: Attempt, *, listed: bool = True) -> None:
        """Keep the record of an attempt, and let calls join its chain."""
        for known_as in (call.chain_id, call.conversation_id):
            self._chains[call.tenant, known_as] = call.chain_id
        self.records.add(call, listed=listed)


def _new_id() -> str:
    return str(uuid.uuid4())
