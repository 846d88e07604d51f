"""One attempt to reach somebody by phone, as the sandbox remembers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from formant_provider.sandbox.numbers import Ending
from formant_provider.sandbox.request_schemas import CreateCall

IN_PROGRESS = "in_progress"
"""Status of a running call. The vendor's word is not known; clients must not depend on it."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to reach a recipient. It is decided at once; the time decides what can be seen of it.

    :param chain_id: the conversation chain. A call that joins a conversation shares it, and so does a redial.
    :param attempt: position in the chain, from 1.
    :param starts_at: virtual time at which the phone rings.
    :param ends_at: virtual time at which the call ends.
    :param recorded_at: virtual time from which the record can be read; None is never.
    :param redial: 0 for what a client placed, n for the n-th redial that the platform made of it.
    :param inbound: whether the person called the agent.
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
    redial: int = 0
    inbound: bool = False

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

    def talked_before(self, now: datetime, seconds: float) -> bool:
        """Whether there was a conversation that ended this many virtual seconds ago, or more."""
        return self.ending.talked and now >= self.ends_at + timedelta(seconds=seconds)

    def status(self, now: datetime) -> str:
        """Status of the record."""
        return self.ending.status if self.over(now) else IN_PROGRESS


@dataclass(frozen=True, kw_only=True)
class Call(Attempt):
    """One accepted call, or a redial of one.

    :param request: the body of the request.
    """

    request: CreateCall
