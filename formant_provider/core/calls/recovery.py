"""What became of a call that may have been placed before? Finds it, or says that nobody knows. Sends nothing.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.api.errors import (
    CallNotAllowed,
    CallOutcomeUnknown,
    FormantError,
    InvalidInput,
    SendAborted,
    may_have_been_placed,
)
from formant_provider.api.models import CallReceipt, CallRequest, Conversation, ReceiptStatus, utc_text
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.rules import Placement, Result, Rules
from formant_provider.core.conversations.evidence import (
    STARTS_LATE_BY,
    STARTS_WITHIN,
    Span,
    first_of,
    last_of,
)
from formant_provider.core.conversations.lookup import Finding, Search, look_for
from formant_provider.core.keys import KEY_PROTECTS
from formant_provider.core.ledger import Ledger, Sent

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)


@dataclass
class Recovery:
    """Looks for one call, for as long as the rules allow."""

    call: CallRequest
    client: FormantClient
    ledger: Ledger[Intent]
    rules: Rules

    def after_used_key(self, intent: Intent, before: Sent, moment: datetime | None) -> Placement:
        """Find the call that used the key. Nobody is rung again, whether it is found or not.

        When it was not our own doubtful send, somebody else sent the key, and may have done so before we did.

        :param before: what became of all sends of ours, the one that was refused apart.
        :param moment: for which that one asked; ``None``: at once.
        """
        log.warning("The key of this call was used before, so the call was placed already. Looking for it.")
        if before is not Sent.UNCLEAR:  # it is not known when the other one was sent, nor for when
            intent = replace(intent, sends=(), written_at=intent.shared_since or intent.written_at)
        intent = replace(intent, used_since=intent.shared_since or intent.used_since, sent=Sent.UNCLEAR)
        self.note(intent)
        spans = self._spans(intent, moment)
        finding, _ = self._look(intent, spans)
        if finding.record is not None:
            return self.adopt(intent, finding.record, spans)
        with may_have_been_placed():  # only a write tells a process that its task was given to another one
            self.ledger.write(intent)
        return self._unconfirmed(spans, finding)

    def instead_of_sending(self, intent: Intent) -> Placement:
        """Find a call that may have been placed, and that it would not be safe to send again.

        :raises CallOutcomeUnknown: nobody was talked to since.
        :raises FormantError: what hindered the look; ``maybe_placed``.
        """
        log.warning("An earlier try may have placed this call, and sending is not safe. Looking for it.")
        spans = self._spans(intent, None)
        finding, trouble = self._look(intent, spans)
        # Of a send that nobody wrote down, and whose key is forgotten, nothing tells that it was made.
        is_known = intent.sends or intent.key_protects(self.rules.now())
        if finding.record is not None and (is_known or self._is_own(finding.record)):
            return self.adopt(intent, finding.record, spans)
        if trouble is not None:
            trouble.maybe_placed = True
            raise trouble
        if finding.record is not None or finding.others:
            unconfirmed = self._unconfirmed(spans, finding)
            return unconfirmed if is_known else replace(unconfirmed, until=None)
        raise CallOutcomeUnknown(
            f"An earlier try, at {utc_text(intent.written_at)} or later, did not learn what came of this"
            f" call; no conversation is on record, and its idempotency key {intent.key} is not to be sent"
            " again",
            maybe_placed=True,
        )

    def before_sending(self, since: datetime) -> Placement | None:
        """Look for a call that another row of a mapped task may have placed, and whose key is forgotten.

        :return: ``None`` when none was placed: it may be sent.
        :raises CallOutcomeUnknown: one may have been scheduled, and will be on record only later.
        """
        log.info("This run is older than the vendor remembers a key: looking for the call before sending it.")
        intent = Intent(self.call.idempotency_key, since, shared_since=since)
        spans = [Span(since, self.rules.now() + STARTS_WITHIN, is_exact=False)]
        with may_have_been_placed():
            finding = self.search().find(spans, own_traces=self.rules.own_traces)
        if finding.record is not None and self._is_own(finding.record):
            return self.adopt(intent, finding.record, spans)
        if finding.record is not None or finding.others:
            return replace(self._unconfirmed(spans, finding), until=None)
        if self._may_be_scheduled():
            raise CallOutcomeUnknown(
                "Another row of this mapped task may have scheduled this call more than 24 hours ago, and"
                " what is scheduled is not on record",
                maybe_placed=True,
            )
        return None

    def _is_own(self, record: Conversation) -> bool:
        return record.trace_id is not None and record.trace_id in self.rules.own_traces()

    def _may_be_scheduled(self) -> bool:
        """Whether a send whose key is forgotten can have asked for a moment that is still to come."""
        now = self.rules.now()
        with suppress(CallNotAllowed, InvalidInput):
            moment = self.rules.when(self.call.scheduled_for, now - KEY_PROTECTS)
            return moment is not None and moment + STARTS_LATE_BY > now
        return False

    def adopt(self, intent: Intent, record: Conversation, spans: Sequence[Span]) -> Placement:
        """Take a conversation as that of the call, and write that down."""
        scheduled_for = self._scheduled_for(intent)
        receipt = CallReceipt(
            agent_id=self.call.agent_id,
            trace_id=record.trace_id,
            status=ReceiptStatus.SCHEDULED.value if scheduled_for else ReceiptStatus.INITIATED.value,
            conversation_id=record.conversation_id,
            scheduled_for=utc_text(scheduled_for) if scheduled_for else None,
        )
        self.note(replace(intent, sent=Sent.UNCLEAR, receipt=receipt))
        return Placement(Result.FOUND, receipt, first_of(spans))

    def asked(self, intent: Intent) -> datetime | None:
        """Return when the user wants it to ring. A redial is not bound to the time of the first call."""
        return None if intent.redials else self.call.scheduled_for

    def note(self, intent: Intent) -> None:
        """Write what is good to know but no condition for sending."""
        try:
            self.ledger.write(intent)
        except SendAborted as error:
            log.warning("%s. The next try will ask the API instead.", error)

    def _scheduled_for(self, intent: Intent) -> datetime | None:
        moments = [send.scheduled_for for send in intent.sends]
        if not moments:
            return self.asked(intent)
        return None if None in moments else min(filter(None, moments))

    def _spans(self, intent: Intent, moment: datetime | None) -> list[Span]:
        """Return when the call can have begun.

        :param moment: for when a send of now asks, which may be what one asked whose time nobody knows.
        """
        if intent.sends:
            return [send.span for send in intent.sends]
        asked = self.asked(intent)
        begin = max(intent.written_at, asked) if asked else intent.written_at
        spans = [Span(begin, max(begin, self.rules.now()) + STARTS_WITHIN, is_exact=False)]
        return [*spans, Span(moment, moment + STARTS_LATE_BY)] if moment else spans

    def _look(self, intent: Intent, spans: Sequence[Span]) -> tuple[Finding, FormantError | None]:
        """Look for the call of this intent; return what was found, and what hindered the last look."""
        search, last = self.search(), Finding()

        def look() -> Conversation | None:
            nonlocal last
            last = search.find(spans, other_than=intent.earlier, own_traces=self.rules.own_traces)
            return last.record

        _, trouble = look_for(look, self.rules.lookup_timeout_s, self.rules.sleep)
        return last, trouble

    def server_now(self) -> datetime:
        """Ask for the vendor's time; ours when it does not say."""
        client = self.client.without_retries()
        with suppress(FormantError):
            client.list_conversations(self.call.agent_id, limit=1)
        return client.server_date or self.rules.now()

    def search(self) -> Search:
        """Return what looks for conversations with the recipient."""
        client = self.client.without_retries()
        return Search(client, self.call.agent_id, self.call.recipient, self.rules.now)

    def _unconfirmed(self, spans: Sequence[Span], finding: Finding) -> Placement:
        if finding.record is not None or finding.others:
            log.warning(
                "%s conversations with this recipient are on record since %s, and none is proven to be this"
                " call's: it has to be the only one that one of its sends can have led to.",
                finding.others or 1,
                utc_text(first_of(spans)),
            )
        return Placement(Result.UNCONFIRMED, None, first_of(spans), last_of(spans))
