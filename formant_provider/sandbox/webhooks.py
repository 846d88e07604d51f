"""The webhooks of agents: which event is due at which target, and what was delivered."""

from __future__ import annotations

import heapq
import itertools
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from formant_provider.sandbox import webhook_bodies
from formant_provider.sandbox.call_ends import CallEnd, CallEnds
from formant_provider.sandbox.response_bodies import epoch_ms
from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.webhook_faults import WebhookFault, WebhookFaultQueue
from formant_provider.sandbox.webhook_targets import Target

MAX_TARGETS = 5
"""Most targets of one agent."""
ATTEMPTS_AT = (0, 30, 300)
"""Virtual seconds from the event to each attempt to deliver it."""


@dataclass(frozen=True)
class SentWebhook:
    """One attempt to deliver an event.

    :param attempt: which of the three attempts it was, from 1.
    :param at: virtual time at which it was due.
    :param status: of the receiver's response; None when there was none within the time.
    :param fault: name of the fault that the event met, if any.
    """

    url: str
    event_id: str
    event_type: str
    agent_id: int
    conversation_id: str
    attempt: int
    at: datetime
    status: int | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An event on its way to one target.

    :param created_at: virtual time from which the attempts are counted.
    :param sent: the next attempt, which has no response yet.
    """

    content: bytes = field(repr=False)
    secret: str | None = field(repr=False)
    created_at: datetime
    sent: SentWebhook

    def headers(self, settings: Settings) -> dict[str, str]:
        """Return the headers of this attempt, without a signature where there is no secret."""
        divisor = 1 if settings.webhook_timestamp_unit == "milliseconds" else 1000
        headers = {
            "Content-Type": "application/json",
            "X-FormantAI-Event-Id": self.sent.event_id,
            "X-FormantAI-Event-Type": self.sent.event_type,
            "X-FormantAI-Timestamp": str(epoch_ms(self.sent.at) // divisor),
        }
        if self.secret is not None:
            headers["X-FormantAI-Signature"] = webhook_bodies.sign(self.content, self.secret)
        return headers

    def at(self, moment: datetime) -> Delivery:
        """Return it with its attempts counted from another time."""
        return replace(self, created_at=moment, sent=replace(self.sent, at=moment))

    def after(self, status: int | None) -> Delivery | None:
        """Return the next attempt, if there is one after such a response."""
        number = self.sent.attempt
        lost = self.sent.fault == WebhookFault.SUCCESS_LOST and number == 1
        repeated = status is None or status == 429 or status >= 500 or (lost and 200 <= status < 300)
        if not repeated or number == len(ATTEMPTS_AT):
            return None
        at = self.created_at + timedelta(seconds=ATTEMPTS_AT[number])
        return replace(self, sent=replace(self.sent, attempt=number + 1, at=at))


class Outbox:
    """What is still to be delivered to one target, in the order of time."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.forget()

    def forget(self) -> None:
        """Deliver nothing of what there is."""
        self.sending: list[Delivery] = []
        self._waiting: list[tuple[datetime, int, Delivery]] = []
        self._held: list[tuple[datetime, int, Delivery]] = []
        self._numbers = itertools.count()

    def put(self, delivery: Delivery) -> None:
        """Add an attempt, to be made at its time."""
        heapq.heappush(self._waiting, self._entry(delivery))

    def hold(self, delivery: Delivery) -> None:
        """Add an attempt that :meth:`release` may move forward."""
        self._held.append(self._entry(delivery))
        heapq.heappush(self._waiting, self._held[-1])

    def release(self, at: datetime) -> None:
        """Let everything that is held follow now, behind what is due at this time."""
        for entry in self._held:
            if entry in self._waiting and entry[0] > at:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
                self.put(entry[2].at(at))
        self._held.clear()

    def next_at(self) -> datetime | None:
        """Return when the next attempt is due."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, now: datetime) -> Delivery | None:
        """Return the next attempt that is due, which is being made from now on."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        delivery = heapq.heappop(self._waiting)[2]
        self.sending.append(delivery)
        return delivery

    def idle(self, now: datetime) -> bool:
        """Whether no attempt is due or being made."""
        return not self.sending and not (self._waiting and self._waiting[0][0] <= now)

    def count_due(self, now: datetime) -> int:
        """Return how many attempts are due or being made."""
        return sum(at <= now for at, _, _ in self._waiting) + len(self.sending)

    def _entry(self, delivery: Delivery) -> tuple[datetime, int, Delivery]:
        return delivery.sent.at, next(self._numbers), delivery


class Webhooks:
    """All targets and what goes to them. Calls are remembered only while there is a target."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.outboxes: list[Outbox] = []
        self.forget()

    def forget(self) -> None:
        """Forget everything but the targets."""
        self.ends = CallEnds()
        self.faults = WebhookFaultQueue()
        self.sent: list[SentWebhook] = []
        for outbox in self.outboxes:
            outbox.forget()

    def add(self, target: Target) -> Outbox:
        """Add a target, which gets what ends from now on.

        :raises ValueError: the agent does not exist, or has five targets already.
        """
        agents = self._settings.agents if target.agent_id is None else [target.agent_id]
        for agent_id in agents:
            if agent_id not in self._settings.agents:
                raise ValueError(f"agent {agent_id} does not exist")
            if sum(each.target.agent_id in (None, agent_id) for each in self.outboxes) >= MAX_TARGETS:
                raise ValueError(f"agent {agent_id} has {MAX_TARGETS} targets already")
        self.outboxes.append(Outbox(target))
        return self.outboxes[-1]

    def clear(self) -> None:
        """Remove all targets, and what was still to be delivered to them."""
        self.outboxes.clear()
        self.ends = CallEnds()

    def take(self, outbox: Outbox, now: datetime) -> Delivery | None:
        """Return the next attempt that is due at a target."""
        self.collect(now)
        return outbox.take(now)

    def next_at(self, outbox: Outbox) -> datetime | None:
        """Return when there may be something to do for a target."""
        return min((at for at in (self.ends.next_at(), outbox.next_at()) if at), default=None)

    def done(self, outbox: Outbox, delivery: Delivery, status: int | None) -> None:
        """Note the response to an attempt, unless it was forgotten in the meantime."""
        if delivery not in outbox.sending:
            return
        outbox.sending.remove(delivery)
        self.sent.append(replace(delivery.sent, status=status))
        again = delivery.after(status)
        if again:
            outbox.put(again)

    def count_due(self, now: datetime) -> int:
        """Return how many attempts are due or being made."""
        self.collect(now)
        return sum(outbox.count_due(now) for outbox in self.outboxes)

    def idle(self, now: datetime) -> bool:
        """Whether no attempt is due or being made, which is known at once, however many there are."""
        self.collect(now)
        return all(outbox.idle(now) for outbox in self.outboxes)

    def collect(self, now: datetime) -> None:
        """Make the events of all calls that have ended."""
        for end in self.ends.until(now):
            for outbox in self.outboxes:
                if outbox.target.takes(end.attempt):
                    self._post(outbox, end)

    def _post(self, outbox: Outbox, end: CallEnd) -> None:
        queued = self.faults.take()
        fault = queued.kind if queued else None
        seconds = queued.seconds if queued and queued.seconds else 0.0
        delivery = self._delivery(outbox.target, end, fault, timedelta(seconds=seconds))
        if fault is WebhookFault.OUT_OF_ORDER:
            outbox.hold(delivery)
        elif fault is not WebhookFault.NEVER:
            for _ in range(2 if fault is WebhookFault.DUPLICATE else 1):
                outbox.put(delivery)
            outbox.release(delivery.created_at)

    def _delivery(
        self, target: Target, end: CallEnd, fault: WebhookFault | None, delay: timedelta
    ) -> Delivery:
        ended_at = end.attempt.ends_at
        event_id = f"evt_{secrets.token_hex(6)}"
        stale = fault is WebhookFault.STALE_TIMESTAMP
        at = ended_at if stale else ended_at + delay
        content = webhook_bodies.body(
            end,
            event_id,
            ended_at - delay if stale else ended_at,
            self._settings,
            include_transcript=target.include_transcript and fault is not WebhookFault.WITHOUT_TRANSCRIPT,
        )
        sent = SentWebhook(
            url=target.url,
            event_id=event_id,
            event_type=webhook_bodies.event_type(end.attempt),
            agent_id=end.attempt.agent_id,
            conversation_id=end.attempt.conversation_id,
            attempt=1,
            at=at,
            fault=fault,
        )
        return Delivery(content=content, secret=target.secret_with(fault), created_at=at, sent=sent)
