"""Sends a call with one key, and writes down before each send that it may have been accepted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, SendAborted, may_have_been_placed
from formant_provider.api.models import CallReceipt, CallRequest
from formant_provider.api.retry import is_unclear
from formant_provider.api.telemetry import PACE_WAITS
from formant_provider.core.calls.decision import Send, may_still_be_sent
from formant_provider.core.calls.facts import CallCallbacks, Timing
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord, latest
from formant_provider.core.conversations.lookup import find_detail
from formant_provider.core.ledger import Ledger, Sent, write_doubt
from formant_provider.core.pace import PaceExceeded
from formant_provider.core.vendor_clock import skew_of

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient


@dataclass
class Sending:
    """The sends of one key, in this try; the last of its records is under way, or has just ended."""

    client: FormantClient
    ledger: Ledger[Intent]
    callbacks: CallCallbacks
    decided: Send
    timing: Callable[[Intent], Timing]
    records: list[SendRecord] = field(default_factory=list, init=False)
    _date: datetime | None = field(default=None, init=False)
    _has_waited: bool = field(default=False, init=False)

    def send(self, call: CallRequest) -> CallReceipt:
        """Send what was decided, as often as the client's retry policy says."""
        key, moment = self.decided.intent.key, self.decided.moment
        call = replace(call, idempotency_key=key, scheduled_for=moment)
        before_send = partial(self._before_send, call.agent_id)
        return self.client.create_call(call, before_send=before_send, after_send=self._after_send)

    def in_doubt(self, error: FormantError) -> tuple[SendRecord, ...]:
        """Return the sends that may have been accepted, those of this try and those before."""
        outcomes = zip(self.records, [*error.earlier, error], strict=False)
        unclear = [record for record, outcome in outcomes if is_unclear(outcome) and outcome.status != 409]
        return latest([*self.decided.intent.sends, *unclear])

    def _before_send(self, agent_id: int) -> FormantError | None:
        """Write down that it is sent now, in its turn; all that depends on the time is asked then."""
        while isinstance(aborted := self._claim(), PaceExceeded):
            if not self._has_waited:  # it may ask again and again
                self._has_waited = True
                self.client.telemetry.count(PACE_WAITS, agent_id=agent_id)
                if aborted.waits_here:
                    self.callbacks.log(logging.INFO, "%s. This try waits for it.", aborted)
            if not aborted.waits_here:
                break
            self.callbacks.sleep(aborted.retry_after_s or 0)
        return aborted

    def _claim(self) -> FormantError | None:
        intent, moment, now = self.decided.intent, self.decided.moment, self.callbacks.now()
        timing = self.timing(intent) if moment is None else None
        if not may_still_be_sent(self.decided, now, timing):
            return SendAborted("The time in which it was safe to send this call has passed")
        records = [*self.records, SendRecord(now, scheduled_for=moment)]
        doubt = replace(intent, sent=Sent.UNCLEAR, sends=latest([*intent.sends, *records]))
        aborted = write_doubt(self.ledger, doubt, self.callbacks.check_before_send)
        if aborted is None:
            self.records = records
        return aborted

    def _after_send(self) -> None:
        """Note when the last send ended, and what the vendor has said of its clock meanwhile."""
        if not self.records or self.records[-1].ended_at is not None:
            return
        now = self.callbacks.now()
        self.records[-1] = replace(self.records[-1], ended_at=now)
        skew = skew_of(self.client.server_date, now)
        if skew is not None and self.client.server_date != self._date:
            self._date, ahead_s = self.client.server_date, skew.total_seconds()
            self.records = [
                record if record.ahead_s is not None else replace(record, ahead_s=ahead_s)
                for record in self.records
            ]


def joined(call: CallRequest, client: FormantClient, conversation_id: str) -> CallRequest:
    """Return a call again: joined to its last conversation and told what that one brought."""
    context = call.retry_context
    if context is None:
        with may_have_been_placed():
            last = find_detail(client, conversation_id)
        context = {"collected_data": last.results} if last and last.results else None
    return replace(call, conversation_id=conversation_id, retry_context=context)
