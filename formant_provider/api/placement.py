"""Places a call at most once: write the intent, send, write the receipt; and when in doubt, look.

::

    ledger has a receipt ──────────────────────────────► PLACED, nothing is sent
    intent whose key may no longer protect ─► look ────► FOUND, or CallOutcomeUnknown
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
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from formant_provider.api import errors
from formant_provider.api.errors import DuplicateRequest, FormantError, NotSent, not_denied
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

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

MAX_KEYS_PER_TRY = 4


class Result(StrEnum):
    """How a placement ended, when it did not end in an error."""

    PLACED = "placed"
    FOUND = "found"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class Placement:
    """Where a call stands.

    :param result: ``placed``: the receipt is the API's own; ``found``: an earlier send had placed it, and its
        ids were found; ``unconfirmed``: the key was used, and no record was found yet.
    :param receipt: ``None`` when unconfirmed.
    :param since: when its conversation can begin at the earliest, aware.
    """

    result: Result
    receipt: CallReceipt | None
    since: datetime


@dataclass(frozen=True)
class Rules:
    """What the user chose, and what the caller knows.

    :param taken_since: when somebody else can have used the key of a fresh intent at the earliest, aware;
        ``None`` or not in the past: nobody else can have.
    :param lookup_timeout_s: seconds to look for the record of a call that was placed already.
    :param now: tells the current time, aware.
    :param sleep: waits for so many seconds.
    :param redial_on: statuses of a conversation after which a further try places a further call.
    :param is_ours_alone: asked when the vendor refused a send and then called its key used, and somebody else
        may have sent it: whether nobody else did, for sure.
    :param keep_back: asked right before every send; the error it returns is raised instead.
    """

    taken_since: datetime | None
    lookup_timeout_s: float
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    redial_on: frozenset[str] = frozenset()
    is_ours_alone: Callable[[], bool] = lambda: False
    keep_back: Callable[[], FormantError | None] | None = None


def place(call: CallRequest, client: FormantClient, ledger: Ledger, rules: Rules) -> Placement:
    """Place the call, or find out that it was placed already. Never places it twice.

    :param call: with the idempotency key of its first attempt.
    :raises InvalidInput: it is scheduled for a time that has passed, and was not placed before.
    :raises RequestRefused: the API said no.
    :raises CallOutcomeUnknown: an earlier send may have been accepted, its key protects no more, and no
        record was found.
    :raises NotSent: it was kept back.
    :raises FormantError: it may be tried again; ``maybe_placed`` says whether a phone may have rung.
    """
    return _Flow(call, client, ledger, rules).run()


class _Flow:
    """One placement: the drawing above, step by step."""

    def __init__(self, call: CallRequest, client: FormantClient, ledger: Ledger, rules: Rules) -> None:
        self.call = call
        self.client = client
        self.ledger = ledger
        self.rules = rules

    def run(self) -> Placement:
        now = self.rules.now()
        known = self.ledger.read()
        if known is not None and known.receipt is not None:
            return self._after_receipt(known, known.receipt)
        intent = known or self._fresh(now)
        in_time = not self._schedule_passed(intent, now)
        if intent.sent is Sent.UNCLEAR and not (in_time and intent.key_protects(now)):
            return self._recover(intent)
        if not in_time:
            refuse_past(self.call.scheduled_for, now=now)
        # As long as nobody was rung, the call begins now.
        return self._send(intent if intent.sent is Sent.UNCLEAR else replace(intent, written_at=now))

    def _fresh(self, now: datetime) -> Intent:
        since = self.rules.taken_since
        return Intent(self.call.idempotency_key, now, shared_since=since if since and since < now else None)

    def _schedule_passed(self, intent: Intent, now: datetime) -> bool:
        """Whether it is too late for a first send. A redial is not bound to the time of the first call."""
        scheduled_for = self.call.scheduled_for
        return intent.redials is None and scheduled_for is not None and scheduled_for < now

    def _after_receipt(self, known: Intent, receipt: CallReceipt) -> Placement:
        last = self._last_conversation(known, receipt) if self.rules.redial_on else None
        if last is None or last.status not in self.rules.redial_on:
            return self._placement(Result.PLACED, known, receipt)
        attempt = known.attempt + 1
        log.info("The last conversation ended as %s: placing call number %s.", last.status, attempt)
        key = self._first_key(attempt)
        again = Intent(key, self.rules.now(), attempt=attempt, redials=last.conversation_id)
        if known.shared_since is not None:
            again = replace(again, shared_since=known.written_at)
        return self._send(again)

    def _send(self, intent: Intent) -> Placement:
        for _ in range(MAX_KEYS_PER_TRY):
            try:
                receipt = self._send_key(intent)
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

    def _send_key(self, intent: Intent) -> CallReceipt:
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
                replace(call, idempotency_key=intent.key), before_send=lambda: self._keep_back(intent)
            )
        except DuplicateRequest:
            raise
        except FormantError as error:
            became = became_of(intent.sent, [*error.earlier, error])
            error.maybe_placed = became is Sent.UNCLEAR
            if became is not Sent.UNCLEAR:
                self._note(replace(intent, sent=became))
            raise

    def _keep_back(self, intent: Intent) -> FormantError | None:
        """Ask once more right before a send: the process may have slept since it was decided."""
        now = self.rules.now()
        if self._schedule_passed(intent, now) or not intent.key_protects(now):
            return NotSent("The time in which it was safe to send this call has passed")
        return self.rules.keep_back() if self.rules.keep_back else None

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
            f" no conversation is on record, and its idempotency key {known.key} may protect no longer",
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
        scheduled_for = None if intent.redials else self.call.scheduled_for
        scheduled_for = receipt.scheduled_at if receipt else scheduled_for
        return max(intent.written_at, scheduled_for) if scheduled_for else intent.written_at

    def _placement(self, result: Result, intent: Intent, receipt: CallReceipt | None) -> Placement:
        return Placement(result, receipt, self._since(intent, receipt))

    def _adopt(self, intent: Intent, record: Conversation) -> Placement:
        scheduled_for = None if intent.redials else self.call.scheduled_for
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
        """Return the call again: at once, joined to its last conversation and told what that one brought."""
        context = self.call.retry_context
        if context is None:
            with not_denied():
                last = find_detail(self.client, conversation_id)
            context = {"collected_data": last.results} if last and last.results else None
        return replace(self.call, conversation_id=conversation_id, retry_context=context, scheduled_for=None)

    def _note(self, intent: Intent) -> None:
        """Write what is good to know but no condition for sending."""
        try:
            self.ledger.write(intent)
        except NotSent as error:
            log.warning("%s. The next try will ask the API instead.", error)
