"""What one sandbox remembers: calls, batch calls, transcription jobs, used keys, requests, queued faults."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import datetime

from formant_provider.sandbox.batch_form import CreateBatch
from formant_provider.sandbox.batches import Batch, Batches
from formant_provider.sandbox.calls import Attempt, Call
from formant_provider.sandbox.clock import Clock
from formant_provider.sandbox.conversations import Conversations
from formant_provider.sandbox.faults import FaultQueues
from formant_provider.sandbox.idempotency import IdempotencyKeys
from formant_provider.sandbox.limits import RateLimits, too_many_calls
from formant_provider.sandbox.numbers import answered, ending_of
from formant_provider.sandbox.redials import PlannedAttempt, plan_attempt, plan_attempts
from formant_provider.sandbox.request_log import RequestLog
from formant_provider.sandbox.request_schemas import CreateCall
from formant_provider.sandbox.responses import not_found
from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.transcriptions import Transcriptions
from formant_provider.sandbox.webhook_delivery import Senders
from formant_provider.sandbox.webhook_targets import Target
from formant_provider.sandbox.webhooks import Webhooks


class State:
    """The state behind one sandbox. Whoever reads or changes it, except for the clock, holds :attr:`lock`.

    :ivar changed: on that lock; notified when there may be webhooks to send.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.clock = Clock(settings.start_at, settings.speed)
        self.webhooks = Webhooks(settings)
        self.changed = threading.Condition(self.lock)
        self.senders = Senders(self.webhooks, self.clock, self.changed, settings)
        self.reset()

    def reset(self) -> None:
        """Forget everything but the settings, the targets of webhooks and the time."""
        settings = self.settings
        self.webhooks.forget()
        self.calls: list[Call] = []
        self.redials: list[Call] = []
        self.batches = Batches(settings.list_order)
        self.conversations = Conversations(settings.list_order)
        self.transcriptions = Transcriptions()
        self.call_rings: Counter[str] = Counter()
        self.requests = RequestLog()
        self.faults = FaultQueues()
        self.keys = IdempotencyKeys(failures_use_keys=settings.failed_request_uses_key)
        self.rate_limits: RateLimits | None = None
        if settings.rate_limit is not None:
            self.rate_limits = RateLimits(settings.rate_limit, settings.rate_window_seconds, self.clock)
        # The chain of each id that a call may join, and the number of attempts of each chain.
        self._chains: dict[tuple[str, str], str] = {}
        self._attempts: Counter[str] = Counter()

    def advance(self, seconds: float) -> datetime:
        """Move the clock ahead and return the new time.

        :raises ValueError: as :meth:`Clock.advance`.
        """
        now = self.clock.advance(seconds)
        with self.changed:
            self.changed.notify_all()
        return now

    def add_target(self, target: Target) -> None:
        """Send webhooks of the calls that end from now on.

        :raises ValueError: the agent does not exist, or has too many targets.
        """
        now = self.clock.now()
        # What has ended by now is for the targets there were. Without one, no call was remembered.
        self.webhooks.collect(now)
        first = not self.webhooks.outboxes
        self.senders.serve(self.webhooks.add(target))
        if first:
            for attempt in self.conversations.attempts:
                self._announce(attempt, now)
            for batch in self.batches:
                self._announce_batch(batch, now)

    def clear_targets(self) -> None:
        """Send no webhooks any more."""
        self.webhooks.clear()
        self.changed.notify_all()

    def place(self, tenant: str, request: CreateCall, now: datetime) -> Call:
        """Check a request and accept the call.

        :raises ApiError: 404 unknown agent or conversation; 409 used key; 429 too many calls.
        """
        chain_id = self._chain(tenant, request)
        self.keys.refuse_used(tenant, request, now)
        if request.scheduled_for is None:
            self._check_running_calls(tenant, now)
        return self.accept(tenant, request, now, chain_id)

    def accept(self, tenant: str, request: CreateCall, now: datetime, chain_id: str | None = None) -> Call:
        """Accept a call without any check: one ring, whatever redials the platform adds."""
        self.keys.use(tenant, request, now)
        chain_id, trace_id = chain_id or _new_id(), _new_id()
        start = request.scheduled_for or now
        call, *redials = [
            self._add_attempt(tenant, request, plan, start, ids=(chain_id, trace_id))
            for plan in plan_attempts(ending_of(request.customer_phone), self.settings)
        ]
        self.calls.append(call)
        self.redials += redials
        self.call_rings[call.customer_phone] += 1
        return call

    def receive(
        self, tenant: str, agent_id: int, customer_phone: str, lasts_seconds: int, now: datetime
    ) -> Attempt:
        """Let somebody call an agent: a record and no ring."""
        call = Attempt(
            tenant=tenant,
            agent_id=agent_id,
            customer_phone=customer_phone,
            chain_id=_new_id(),
            attempt=1,
            trace_id=_new_id(),
            inbound=True,
            **plan_attempt(answered(lasts_seconds), self.settings).fields_at(now),
        )
        self._attempts[call.chain_id] = 1
        self._add_record(call, listed=self.settings.inbound_in_list)
        return call

    def place_batch(self, tenant: str, request: CreateBatch, now: datetime) -> Batch:
        """Accept a batch call: one ring a row. The cap on running calls does not hold for it.

        :raises ApiError: 404 unknown agent.
        """
        self._check_agent(request.agent_id)
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
        self.conversations.add_batch(batch)
        self._announce_batch(batch, now)
        return batch

    def count_rings(self) -> Counter[str]:
        """Return how often each recipient rings, by calls and by rows of batch calls."""
        rings = self.call_rings.copy()
        for batch in self.batches:
            rings.update(batch.phones())
        return rings

    def _check_agent(self, agent_id: int) -> None:
        if agent_id not in self.settings.agents:
            raise not_found("agent")

    def _chain(self, tenant: str, request: CreateCall) -> str:
        """Return the chain of a call: a new one, or that of the ``conversation_id`` it joins."""
        self._check_agent(request.agent_id)
        if request.conversation_id is None:
            return _new_id()
        chain_id = self._chains.get((tenant, request.conversation_id))
        return chain_id or self._chain_of_batch_row(tenant, request.conversation_id)

    def _chain_of_batch_row(self, tenant: str, conversation_id: str) -> str:
        attempt = self.conversations.find_in_batches(conversation_id)
        if attempt is None or attempt.tenant != tenant:
            raise not_found("conversation")
        # Attempts of rows are not stored one by one, so they are counted when the first call joins them.
        attempts = plan_attempts(ending_of(attempt.customer_phone), self.settings)
        self._attempts.setdefault(attempt.chain_id, len(attempts))
        return attempt.chain_id

    def _check_running_calls(self, tenant: str, now: datetime) -> None:
        cap = self.settings.max_concurrent_calls
        if cap is None:
            return
        calls = [*self.calls, *self.redials]
        running = sum(call.tenant == tenant and call.running(now) for call in calls)
        running += sum(batch.tally(now).in_progress for batch in self.batches if batch.tenant == tenant)
        if running >= cap:
            raise too_many_calls(running, cap)

    def _add_attempt(
        self, tenant: str, request: CreateCall, plan: PlannedAttempt, start: datetime, *, ids: tuple[str, str]
    ) -> Call:
        """Add the next attempt of a chain, with its record.

        :param ids: of the chain, and of the trace that its first attempt has.
        """
        chain_id, trace_id = ids
        self._attempts[chain_id] += 1
        own_trace = plan.redial and self.settings.redial_trace_id == "new"
        call = Call(
            tenant=tenant,
            agent_id=request.agent_id,
            customer_phone=request.customer_phone,
            chain_id=chain_id,
            attempt=self._attempts[chain_id],
            trace_id=_new_id() if own_trace else trace_id,
            request=request,
            **plan.fields_at(start),
        )
        self._add_record(call)
        return call

    def _add_record(self, call: Attempt, *, listed: bool = True) -> None:
        """Add the record of an attempt. Calls can join it by the id of its chain or of its record."""
        for joined_by in (call.chain_id, call.conversation_id):
            self._chains[call.tenant, joined_by] = call.chain_id
        self.conversations.add(call, listed=listed)
        self._announce(call, call.starts_at)

    def _announce(self, attempt: Attempt, after: datetime) -> None:
        """Have webhooks sent of an attempt that ends after a time. The targets are those of the main key."""
        if self.webhooks.outboxes and attempt.tenant == self.settings.api_key and attempt.ends_at > after:
            self.webhooks.ends.add(attempt)
            self.changed.notify_all()

    def _announce_batch(self, batch: Batch, after: datetime) -> None:
        if self.webhooks.outboxes and batch.tenant == self.settings.api_key:
            self.webhooks.ends.add_batch(batch, after)
            self.changed.notify_all()


def _new_id() -> str:
    return str(uuid.uuid4())
