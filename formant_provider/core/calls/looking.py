"""Learns what a decision needs to know of a call. It sends no call, and decides nothing.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import (
    CallNotAllowed,
    FormantError,
    InvalidInput,
    NotAdmitted,
    may_have_been_placed,
)
from formant_provider.api.models import CallRequest, Conversation
from formant_provider.core.calls.decision import Look
from formant_provider.core.calls.facts import At, CallCallbacks, Facts, Policy, Timing
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import STARTS_LATE_BY, STARTS_WITHIN, Span
from formant_provider.core.conversations.lookup import Finding, Search
from formant_provider.core.keys import KEY_PROTECTS
from formant_provider.core.validation import refuse_past

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient


@dataclass
class Looking:
    """Looks for one call, for as long as the policy allows."""

    call: CallRequest
    client: FormantClient
    policy: Policy
    callbacks: CallCallbacks
    ids_of_others: Callable[[], Collection[str]] = tuple

    def learn(self, look: Look, facts: Facts) -> Facts:
        """Return the facts with what a look brought."""
        match look.at:
            case At.TIMING:
                return replace(facts, timing=self.timing(look.intent))
            case At.CLOCK:
                return replace(facts, vendor_now=self._vendor_now())
            case At.LAST_CALL:
                return self._last_call(look.intent, facts)
            case At.OTHERS:
                return self._others(look.intent, facts)
            case At.CALL:
                return self._call(look.intent, facts)

    def timing(self, intent: Intent) -> Timing:
        """Ask whether a call is allowed now, and for when."""
        return self._timing(asked_for(self.call, intent))

    def when_admitted(self, error: NotAdmitted) -> Timing:
        """Ask the same for when the ledger would admit it, if it ever would."""
        return Timing(error=error) if error.free_at is None else self._timing(error.free_at)

    def _timing(self, asked: datetime | None) -> Timing:
        now = self.callbacks.now()
        try:
            moment = self.callbacks.when(asked, now)
            refuse_past(moment, now=now)
        except (CallNotAllowed, InvalidInput) as error:
            return Timing(error=error)
        return Timing(moment)

    def _vendor_now(self) -> datetime:
        """Ask for the vendor's time; ours when it does not say."""
        client = self.client.without_retries()
        with suppress(FormantError):
            client.list_conversations(self.call.agent_id, limit=1)
        return client.server_date or self.callbacks.now()

    def _last_call(self, intent: Intent, facts: Facts) -> Facts:
        written = Span(intent.written_at, intent.written_at, is_exact=False)
        began = intent.sends[0].span if intent.sends else written
        with may_have_been_placed():
            return replace(facts, since_last_call=tuple(self._search().since(began)))

    def _others(self, intent: Intent, facts: Facts) -> Facts:
        text = "Another row of this mapped task may have placed this call: looking for it before sending."
        self.callbacks.log(logging.INFO, text)
        spans = [Span(intent.written_at, self.callbacks.now() + STARTS_WITHIN, is_exact=False)]
        with may_have_been_placed():
            finding = self._search().find(spans, **self._known_ids)
        is_scheduled = finding.is_empty and self._may_be_scheduled()
        return replace(facts, others=replace(finding, may_be_scheduled=is_scheduled))

    def _may_be_scheduled(self) -> bool:
        """Whether a send whose key is forgotten can have asked for a moment that is still to come."""
        now = self.callbacks.now()
        with suppress(CallNotAllowed, InvalidInput):
            moment = self.callbacks.when(self.call.scheduled_for, now - KEY_PROTECTS)
            return moment is not None and moment + STARTS_LATE_BY > now
        return False

    def _call(self, intent: Intent, facts: Facts) -> Facts:
        why = "An earlier try may have placed this call, and sending is not safe."
        if facts.is_used:
            why = "The key of this call was used before: the call was placed already."
        self.callbacks.log(logging.WARNING, "%s Looking for it.", why)
        spans = self._spans(intent, facts.timing.moment if facts.is_used and facts.timing else None)
        search, last = self._search(), Finding(spans=tuple(spans))

        def look() -> Conversation | None:
            nonlocal last
            last = search.find(spans, other_than=intent.earlier, **self._known_ids)
            return last.record

        _, error = self.callbacks.search(look, self.policy.lookup_timeout_s)
        if error is not None:
            error.maybe_placed = True
        return replace(facts, call=replace(last, error=error))

    def _spans(self, intent: Intent, moment: datetime | None) -> Sequence[Span]:
        """Return when the call can have begun; one of unknown time may have asked for ``moment``."""
        if intent.sends:
            return [send.span for send in intent.sends]
        asked = asked_for(self.call, intent)
        begin = max(intent.written_at, asked) if asked else intent.written_at
        spans = [Span(begin, max(begin, self.callbacks.now()) + STARTS_WITHIN, is_exact=False)]
        return [*spans, Span(moment, moment + STARTS_LATE_BY)] if moment else spans

    @property
    def _known_ids(self) -> dict[str, Any]:
        return {"own_traces": self.callbacks.own_traces, "ids_of_others": self.ids_of_others}

    def _search(self) -> Search:
        client, ask = self.client.without_retries(), self.callbacks
        return Search(client, self.call.agent_id, self.call.recipient, ask.now, ask.listing)


def asked_for(call: CallRequest, intent: Intent) -> datetime | None:
    """Return for when the user wants it. A redial is not bound to the time of the first call."""
    return None if intent.redials else call.scheduled_for
