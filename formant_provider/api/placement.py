"""Places a call at most once: write the intent, send, write the receipt; and when in doubt, look.

::

    ledger has a receipt ──────────────────────────────► PLACED, nothing is sent
    intent in doubt, not to be sent any more ─► look ──► FOUND, or CallOutcomeUnknown
    nobody is to be rung now ──────────────────────────► HeldBack
    write intent ─► send ─┬─ 200 ─► write receipt ─────► PLACED
                          ├─ 409 ─┬─ only we had this key, and every send was refused ─► next key
                          │       └─ anything else ────► look ─► FOUND or UNCONFIRMED
                          └─ other error ──────────────► raised; the next try starts from the ledger

Whether a phone may ring is decided here and nowhere else. The ledger is written before every send, and a
ledger that cannot be written keeps the call back: a process that is no longer the task's own is told so by
the write alone.

Vendor page on idempotency: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.api import errors
from formant_provider.api.errors import (
    DuplicateRequest,
    FormantError,
    HeldBack,
    InvalidInput,
    NotSent,
    not_denied,
)
from formant_provider.api.inputs import refuse_past
from formant_provider.api.intent import (
    Intent,
    Ledger,
    Sent,
    became_of,
    key_after_refusals,
    key_for_redial,
)
from formant_provider.api.lookup import Search, find_call, find_detail
from formant_provider.api.models import CallReceipt, CallRequest, Conversation, ReceiptStatus, utc_text
from formant_provider.api.placement_rules import Placement, Result, Rules

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

__all__ = ["MAX_KEYS_PER_TRY", "Placement", "Result", "Rules", "place"]

log = logging.getLogger(__name__)

MAX_KEYS_PER_TRY = 4


def place(call: CallRequest, client: FormantClient, ledger: Ledger[Intent], rules: Rules) -> Placement:
    """Place the call, or find out that it was placed already. Never places it twice.

    :param call: with the idempotency key of its first attempt.
    :raises InvalidInput: it is scheduled for a time that has passed, and was not placed before.
    :raises HeldBack: nobody is to be rung now, and it was not placed before.
    :raises RequestRefused: the API said no.
    :raises CallOutcomeUnknown: an earlier send may have been accepted, its key protects no more, and no
        record was found.
    :raises NotSent: it was kept back.
    :raises FormantError: it may be tried again; ``maybe_placed`` says whether a phone may have rung.
    """
    return _Flow(call, client, ledger, rules).run()


@dataclass
class _Flow:
    """One placement: the drawing above, step by step."""

    call: CallRequest
    client: FormantClient
    ledger: Ledger[Intent]
    rules: Rules

    def run(self) -> Placement:
        now = self.rules.now()
        known = self.ledger.read()
        if known is not None and known.receipt is not None:
            return self._after_receipt(known, known.receipt)
        intent = known or self._fresh(now)
        in_doubt = intent.sent is Sent.UNCLEAR
        try:
            moment = self._moment(intent, now)
        except (HeldBack, InvalidInput):
            if in_doubt:
                return self._recover(intent)
            self._note(intent)  # a further try is to know that this one sent nothing
            raise
        if in_doubt and not intent.key_protects(now):
            return self._recover(intent)
        # As long as nobody was rung, the call begins now.
        return self._send(intent if in_doubt else replace(intent, written_at=now), moment)

    def _fresh(self, now: datetime) -> Intent:
        since = self.rules.taken_since
        return Intent(self.call.idempotency_key, now, shared_since=since if since and since < now else None)

    def _asked(self, intent: Intent) -> datetime | None:
        """Return when the user wants it to ring. A redial is not bound to the time of the first call."""
        return None if intent.redials else self.call.scheduled_for

    def _moment(self, intent: Intent, now: datetime) -> datetime | None:
        """Return when it rings if it is sent now, ``None`` for at once; raise if it is not to be sent."""
        moment = self.rules.when(self._asked(intent), now)
        refuse_past(moment, now=now)
        return moment

    def _after_receipt(self, known: Intent, receipt: CallReceipt) -> Placement:
        last = self._last_conversation(known, receipt) if self.rules.redial_on else None
        if last is None or last.status not in self.rules.redial_on:
            return self._placement(Result.PLACED, known, receipt)
        attempt, now = known.attempt + 1, self.rules.now()
        log.info("The last conversation ended as %s: placing call number %s.", last.status, attempt)
        again = Intent(self._first_key(attempt), now, attempt=attempt, redials=last.conversation_id)
        if known.shared_since is not None:
            again = replace(again, shared_since=known.written_at)
        try:
            moment = self._moment(again, now)
        except (HeldBack, InvalidInput) as error:
            log.warning("%s. Nobody is called again.", error)
            return self._placement(Result.PLACED, known, receipt)
        return self._send(again, moment)

    def _send(self, intent: Intent, moment: datetime | None) -> Placement:
        intent = intent.asking_for(moment)
        if moment and moment != self.call.scheduled_for:
            log.info("Now is not the time to ring: the call is asked for %s.", utc_text(moment))
        for _ in range(MAX_KEYS_PER_TRY):
            try:
                receipt = self._send_key(intent, moment)
            except DuplicateRequest as error:
                before = became_of(intent.sent, error.earlier)
                shared = intent.shared_since is not None
                if before is not Sent.REFUSED or (shared and not self.rules.is_ours_alone()):
                    return self._look(intent, before)
            else:
                self._note(replace(intent, sent=Sent.UNCLEAR, receipt=receipt))
                return self._placement(Result.PLACED, intent, receipt)
            intent = self._next_key(intent)
        raise errors.TryLater(
            f"The API refused {MAX_KEYS_PER_TRY} keys of this call and counted them as used"
        )

    def _send_key(self, intent: Intent, moment: datetime | None) -> CallReceipt:
        """Write the intent, then send.

        From the write on this process may die at any moment, so the doubt is written down first.
        """
        call = self._redial(intent.redials) if intent.redials else self.call
        try:
            self.ledger.write(replace(intent, sent=Sent.UNCLEAR))
        except NotSent as error:
            error.maybe_placed = intent.sent is Sent.UNCLEAR
            raise
        try:
            return self.client.create_call(
                replace(call, idempotency_key=intent.key, scheduled_for=moment),
                before_send=lambda: self._keep_back(intent, moment),
            )
        except DuplicateRequest:
            raise
        except FormantError as error:
            became = became_of(intent.sent, [*error.earlier, error])
            error.maybe_placed = became is Sent.UNCLEAR
            if became is not Sent.UNCLEAR:
                self._note(replace(intent, sent=became))
            raise

    def _keep_back(self, intent: Intent, moment: datetime | None) -> FormantError | None:
        """Ask once more right before a send: the process may have slept since it was decided."""
        now = self.rules.now()
        if not intent.key_protects(now) or not self._still(intent, moment, now):
            return NotSent("The time in which it was safe to send this call has passed")
        return self.rules.keep_back() if self.rules.keep_back else None

    def _still(self, intent: Intent, moment: datetime | None, now: datetime) -> bool:
        """Whether a send of now may still ask for this moment."""
        with suppress(HeldBack, InvalidInput):
            return moment >= now if moment else self._moment(intent, now) is None
        return False

    def _next_key(self, intent: Intent) -> Intent:
        """Go on with a new key after one that was only ever refused: nobody was rung with it."""
        log.warning("The API refused this call and counted its key as used: going on with another key.")
        spent = intent.spent_keys + 1
        key = key_after_refusals(key=self._first_key(intent.attempt), spent=spent)
        following = replace(intent, key=key, written_at=self.rules.now(), sent=Sent.NEVER, spent_keys=spent)
        self.ledger.write(following)
        return following

    def _first_key(self, attempt: int) -> str:
        first = self.call.idempotency_key
        return first if attempt == 1 else key_for_redial(key=first, attempt=attempt)

    def _look(self, intent: Intent, before: Sent) -> Placement:
        """Find the call that used the key. Nobody is rung again, whether it is found or not.

        When it was not our own doubtful send, somebody else sent the key, and may have done so before we did.
        """
        log.warning("The key of this call was used before, so the call was placed already. Looking for it.")
        if before is not Sent.UNCLEAR:  # we do not know for when
            intent = replace(intent, scheduled_for=None)
        if intent.shared_since is not None:
            begun = intent.written_at if before is Sent.UNCLEAR else intent.shared_since
            intent = replace(intent, written_at=begun, used_since=intent.shared_since, sent=Sent.UNCLEAR)
            self._note(intent)
        record, _ = self._search(intent)
        if record is not None:
            return self._adopt(intent, record)
        with not_denied():  # only a write tells a process that its task was given to another one
            self.ledger.write(replace(intent, sent=Sent.UNCLEAR))
        return self._placement(Result.UNCONFIRMED, intent, None)

    def _recover(self, known: Intent) -> Placement:
        """Find a call that may have been placed, and that it would not be safe to send again."""
        log.warning("An earlier try may have placed this call, and sending is not safe. Looking for it.")
        record, trouble = self._search(known)
        if record is not None:
            return self._adopt(known, record)
        if trouble is not None:
            trouble.maybe_placed = True
            raise trouble
        raise errors.CallOutcomeUnknown(
            f"An earlier try, at {utc_text(known.written_at)} or later, did not learn what came of this call;"
            f" no conversation is on record, and its idempotency key {known.key} is not to be sent again",
            maybe_placed=True,
        )

    def _search(self, intent: Intent) -> tuple[Conversation | None, FormantError | None]:
        """Look for the call of this intent; return its record, or what hindered the last look."""
        rules = self.rules
        search = Search(
            self.client, self.call.agent_id, self.call.recipient, rules.lookup_timeout_s, rules.sleep
        )
        return search.run(self._since(intent), other_than=intent.redials)

    def _since(self, intent: Intent, receipt: CallReceipt | None = None) -> datetime:
        scheduled_for = receipt.scheduled_at if receipt else self._scheduled_for(intent)
        return max(intent.written_at, scheduled_for) if scheduled_for else intent.written_at

    def _scheduled_for(self, intent: Intent) -> datetime | None:
        return intent.scheduled_for or self._asked(intent)

    def _placement(self, result: Result, intent: Intent, receipt: CallReceipt | None) -> Placement:
        return Placement(result, receipt, self._since(intent, receipt))

    def _adopt(self, intent: Intent, record: Conversation) -> Placement:
        scheduled_for = self._scheduled_for(intent)
        receipt = CallReceipt(
            agent_id=self.call.agent_id,
            trace_id=record.trace_id,
            status=ReceiptStatus.SCHEDULED.value if scheduled_for else ReceiptStatus.INITIATED.value,
            conversation_id=record.conversation_id,
            scheduled_for=utc_text(scheduled_for) if scheduled_for else None,
        )
        self._note(replace(intent, sent=Sent.UNCLEAR, receipt=receipt))
        return self._placement(Result.FOUND, intent, receipt)

    def _last_conversation(self, known: Intent, receipt: CallReceipt) -> Conversation | None:
        with not_denied():
            return find_call(
                self.client,
                agent_id=self.call.agent_id,
                recipient=self.call.recipient,
                since=known.written_at,
                trace_id=receipt.trace_id,
            )

    def _redial(self, conversation_id: str) -> CallRequest:
        """Return the call again: joined to its last conversation and told what that one brought."""
        context = self.call.retry_context
        if context is None:
            with not_denied():
                last = find_detail(self.client, conversation_id)
            context = {"collected_data": last.results} if last and last.results else None
        return replace(self.call, conversation_id=conversation_id, retry_context=context)

    def _note(self, intent: Intent) -> None:
        """Write what is good to know but no condition for sending."""
        try:
            self.ledger.write(intent)
        except NotSent as error:
            log.warning("%s. The next try will ask the API instead.", error)
