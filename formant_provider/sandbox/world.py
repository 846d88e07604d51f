"""What the sandbox remembers: calls, used keys, requests, faults; the time decides what can be seen of it."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from formant_provider.sandbox.answers import Refusal, concurrency_limited, duplicate, not_found
from formant_provider.sandbox.clock import Clock
from formant_provider.sandbox.faults import FaultQueues
from formant_provider.sandbox.limits import RateLimits
from formant_provider.sandbox.numbers import Ending, ending_of
from formant_provider.sandbox.schema import CreateCall
from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.traffic import Traffic

KEY_LIFETIME = timedelta(hours=24)
IN_PROGRESS = "in_progress"
"""Status of a running call. The vendor's word is not known; clients must not depend on it."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One accepted call. Its course is settled when it is placed; what can be seen of it depends on the time.

    :param chain_id: the conversation chain; a call that joins a conversation shares it.
    :param attempt: place in the chain, from 1.
    :param starts_at: virtual time at which the phone rings.
    :param ends_at: virtual time at which the call is over.
    :param recorded_at: virtual time from which the record can be read; None is never.
    """

    tenant: str = field(repr=False)
    agent_id: int
    customer_phone: str
    chain_id: str
    attempt: int
    trace_id: str
    starts_at: datetime
    ends_at: datetime
    recorded_at: datetime | None
    ending: Ending
    request: CreateCall

    @property
    def conversation_id(self) -> str:
        """Id of the record of this attempt."""
        return f"{self.chain_id}_{self.attempt}"

    def over(self, now: datetime) -> bool:
        """Whether the call has ended."""
        return now >= self.ends_at

    def running(self, now: datetime) -> bool:
        """Whether the call occupies a line."""
        return self.starts_at <= now < self.ends_at

    def recorded(self, now: datetime) -> bool:
        """Whether the record can be read."""
        return self.recorded_at is not None and now >= self.recorded_at

    def status(self, now: datetime) -> str:
        """Status word of the record."""
        return self.ending.status if self.over(now) else IN_PROGRESS


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
        self.use_key(tenant, request, now)
        call = self._new_call(tenant, request, chain_id, now)
        self._chains |= {(tenant, chain_id): chain_id, (tenant, call.conversation_id): chain_id}
        self.calls.append(call)
        self.rings[call.customer_phone] += 1
        return call

    def use_key(self, tenant: str, request: CreateCall, now: datetime) -> None:
        """Mark the idempotency key as used, unless it is already or there is none."""
        if request.idempotency_key is not None and not self._key_used(tenant, request, now):
            self._keys[tenant, request.agent_id, request.idempotency_key] = now

    def recorded_calls(self, tenant: str, now: datetime) -> list[Call]:
        """Return the tenant's calls that have a record, in the order of the list."""
        calls = [call for call in self.calls if call.tenant == tenant and call.recorded(now)]
        calls.sort(key=lambda call: call.starts_at)
        return calls if self.settings.list_order == "oldest_first" else calls[::-1]

    def recorded_call(self, tenant: str, conversation_id: str, now: datetime) -> Call:
        """Return the call with that record.

        :raises Refusal: 404.
        """
        for call in self.calls:
            if call.conversation_id == conversation_id and call.tenant == tenant and call.recorded(now):
                return call
        raise not_found("conversation")

    def _chain(self, tenant: str, request: CreateCall) -> str:
        """Return the chain to join: a new one, or that of a chain id or record id given out before."""
        if request.agent_id not in self.settings.agents:
            raise not_found("agent")
        if request.conversation_id is None:
            return str(uuid.uuid4())
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
        running = sum(call.tenant == tenant and call.running(now) for call in self.calls)
        if cap is not None and running >= cap:
            raise Refusal(concurrency_limited(running, cap))

    def _new_call(self, tenant: str, request: CreateCall, chain_id: str, now: datetime) -> Call:
        self._attempts[chain_id] += 1
        ending = ending_of(request.customer_phone)
        starts_at = request.scheduled_for or now
        ends_at = starts_at + timedelta(seconds=ending.lasts_seconds)
        return Call(
            tenant=tenant,
            agent_id=request.agent_id,
            customer_phone=request.customer_phone,
            chain_id=chain_id,
            attempt=self._attempts[chain_id],
            trace_id=str(uuid.uuid4()),
            starts_at=starts_at,
            ends_at=ends_at,
            recorded_at=self._recorded_at(ending, starts_at, ends_at),
            ending=ending,
            request=request,
        )

    def _recorded_at(self, ending: Ending, starts_at: datetime, ends_at: datetime) -> datetime | None:
        if ending.record_delay_seconds is None:
            return None
        if ending.record_delay_seconds == 0 and self.settings.record_appears == "start":
            return starts_at
        return ends_at + timedelta(seconds=ending.record_delay_seconds)
