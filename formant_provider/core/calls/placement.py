"""Places a call at most once: write the intent, send, write the receipt; and when in doubt, look.

::

    ledger has a receipt ──────────────────────────────► PLACED, nothing is sent
    intent in doubt, not to be sent any more ─► look ──► FOUND, UNCONFIRMED or CallOutcomeUnknown
    another row may have placed it days ago ──► look ──► FOUND or UNCONFIRMED; none there: go on
    nobody is to be rung now ──────────────────────────► CallNotAllowed
    write intent ─► send ─┬─ 200 ─► write receipt ─────► PLACED
                          ├─ 409 ─┬─ only we can have had this key, and every send was refused ─► next key
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
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.api import errors
from formant_provider.api.errors import (
    CallNotAllowed,
    DuplicateRequest,
    FormantError,
    InvalidInput,
    SendAborted,
    may_have_been_placed,
)
from formant_provider.api.models import CallReceipt, CallRequest, utc_text
from formant_provider.api.retry import is_unclear
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.recovery import Recovery
from formant_provider.core.calls.redial import Redial, joined, redial_of
from formant_provider.core.calls.rules import Placement, Result, Rules
from formant_provider.core.conversations.evidence import Send, among
from formant_provider.core.keys import KEY_PROTECTS, key_after_refusals, key_for_redial
from formant_provider.core.ledger import Ledger, Sent, became_of
from formant_provider.core.validation import refuse_past
from formant_provider.core.vendor_clock import skew_of

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

__all__ = ["MAX_KEYS_PER_TRY", "Placement", "Result", "Rules", "place"]

log = logging.getLogger(__name__)

MAX_KEYS_PER_TRY = 4


def place(call: CallRequest, client: FormantClient, ledger: Ledger[Intent], rules: Rules) -> Placement:
    """Place the call, or find out that it was placed already. Never places it twice.

    :param call: with the idempotency key of its first attempt.
    :raises InvalidInput: it is scheduled for a time that has passed, and was not placed before.
    :raises CallNotAllowed: nobody is to be rung now, and it was not placed before.
    :raises RequestRefused: the API said no.
    :raises CallOutcomeUnknown: an earlier send may have been accepted, its key protects no more, and no
        record was found.
    :raises SendAborted: it was kept back.
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
    # The sends of one key, in this try; the last one is under way, or has just ended.
    _sends: list[Send] = field(default_factory=list, init=False)
    _heard: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._recovery = Recovery(self.call, self.client, self.ledger, self.rules)

    def run(self) -> Placement:
        known = self.ledger.read()
        if known is not None and known.receipt is not None:
            return self._after_receipt(known, known.receipt)
        now = self.rules.now()
        intent = known or self._fresh(now)
        if self.rules.look_since is not None and intent.sent is not Sent.UNCLEAR:
            placed = self._recovery.before_sending(self.rules.look_since)
            if placed is not None:
                return placed
            intent = replace(intent, looked_at=now)
        return self._begin(intent, now)

    def _begin(self, intent: Intent, now: datetime) -> Placement:
        in_doubt = intent.sent is Sent.UNCLEAR
        try:
            moment = self._moment(intent, now)
        except (CallNotAllowed, InvalidInput):
            if in_doubt:
                return self._recovery.instead_of_sending(intent)
            placed = self._placed_elsewhere(intent)
            if placed is not None:
                return placed
            self._recovery.note(intent)  # a further try is to know that this one sent nothing
            raise
        if in_doubt and not self._is_guarded(intent, now):
            return self._recovery.instead_of_sending(intent)
        # As long as nobody was rung, the call begins now.
        return self._send(intent if in_doubt else replace(intent, written_at=now, sends=()), moment)

    def _placed_elsewhere(self, intent: Intent) -> Placement | None:
        """Look for a call that is held back here, and that another row may have placed before a clear."""
        since = intent.shared_since
        if since is None or not self.rules.was_cleared or intent.looked_at is not None:
            return None
        return self._recovery.before_sending(since)

    def _is_guarded(self, intent: Intent, now: datetime) -> bool:
        """Whether the vendor would refuse this call if it was placed before, by us or by another row."""
        if self.rules.look_since is None:
            # How long ago a send can have been that nobody wrote down, only the clocks tell: the later one.
            return intent.key_protects(now if intent.sends else max(now, self._recovery.server_now()))
        # What others had placed by then was on record, or its key is remembered for a while yet.
        return intent.looked_at is not None and now - intent.looked_at < KEY_PROTECTS / 2

    def _fresh(self, now: datetime) -> Intent:
        since = self.rules.taken_since
        return Intent(self.call.idempotency_key, now, shared_since=since if since and since < now else None)

    def _moment(self, intent: Intent, now: datetime) -> datetime | None:
        """Return when it rings if it is sent now, ``None`` for at once; raise if it is not to be sent."""
        moment = self.rules.when(self._recovery.asked(intent), now)
        refuse_past(moment, now=now)
        return moment

    def _after_receipt(self, known: Intent, receipt: CallReceipt) -> Placement:
        redial = self._redial(known, receipt) if self.rules.redial_on else None
        if redial is None:
            return self._placed(known, receipt)
        attempt, now = known.attempt + 1, self.rules.now()
        log.info("The last conversation ended as %s: placing call number %s.", redial.status, attempt)
        again = Intent(
            self._first_key(attempt),
            now,
            attempt=attempt,
            shared_since=known.written_at if known.shared_since is not None else None,
            redials=redial.conversation_id,
            earlier=redial.earlier,
        )
        try:
            moment = self._moment(again, now)
        except (CallNotAllowed, InvalidInput) as error:
            log.warning("%s. Nobody is called again.", error)
            return self._placed(known, receipt)
        return self._send(again, moment)

    def _redial(self, known: Intent, receipt: CallReceipt) -> Redial | None:
        with may_have_been_placed():
            return redial_of(known, receipt, self._recovery.search(), self.rules.redial_on)

    def _send(self, intent: Intent, moment: datetime | None) -> Placement:
        if moment and moment != self.call.scheduled_for:
            asked = self.call.scheduled_for
            log.info(
                "calling_window is closed %s: the call is scheduled for its next opening, %s.",
                f"at {asked}" if asked else "now",
                utc_text(moment),
            )
        for _ in range(MAX_KEYS_PER_TRY):
            try:
                receipt = self._send_key(intent, moment)
            except DuplicateRequest as error:
                before = became_of(intent.sent, error.earlier)
                if before is not Sent.REFUSED or not self._is_ours_alone(intent):
                    intent = replace(intent, sends=self._doubtful(intent, error))
                    return self._recovery.after_used_key(intent, before, moment)
            else:
                intent = replace(intent, sent=Sent.UNCLEAR, sends=(self._sends[-1],), receipt=receipt)
                self._recovery.note(intent)
                return self._placed(intent, receipt)
            intent = self._next_key(intent)
        raise errors.RetryableError(
            f"The API refused {MAX_KEYS_PER_TRY} keys of this call and counted them as used"
        )

    def _is_ours_alone(self, intent: Intent) -> bool:
        """Whether nobody else can have sent this key: no other row, no other task, no other process."""
        return intent.shared_since is None and self.ledger.outlives

    def _send_key(self, intent: Intent, moment: datetime | None) -> CallReceipt:
        """Send. From the write before it on this process may die at any moment."""
        call = joined(self.call, self.client, intent.redials) if intent.redials else self.call
        self._sends = []
        try:
            return self.client.create_call(
                replace(call, idempotency_key=intent.key, scheduled_for=moment),
                before_send=lambda: self._before_send(intent, moment),
                after_send=self._after_send,
            )
        except DuplicateRequest:
            raise
        except FormantError as error:
            became = became_of(intent.sent, [*error.earlier, error])
            error.maybe_placed = became is Sent.UNCLEAR
            if self._sends or became is not Sent.UNCLEAR:
                doubtful = self._doubtful(intent, error)
                self._recovery.note(replace(intent, sent=became, sends=doubtful))
            raise

    def _before_send(self, intent: Intent, moment: datetime | None) -> FormantError | None:
        """Ask once more right before a send, and write down the doubt; what is returned keeps it back."""
        now = self.rules.now()
        if not intent.key_protects(now) or not self._still(intent, moment, now):
            return SendAborted("The time in which it was safe to send this call has passed")
        sends = [*self._sends, Send(now, scheduled_for=moment)]
        try:
            self.ledger.write(replace(intent, sent=Sent.UNCLEAR, sends=among([*intent.sends, *sends])))
        except SendAborted as error:
            return error
        # Last of all: a task may be stopped while it writes.
        kept_back = self.rules.keep_back() if self.rules.keep_back else None
        if kept_back is None:
            self._sends = sends
        return kept_back

    def _after_send(self) -> None:
        """Note when the last send ended, and what has been heard of the vendor's clock meanwhile."""
        if not self._sends or self._sends[-1].ended_at is not None:
            return
        now = self.rules.now()
        self._sends[-1] = replace(self._sends[-1], ended_at=now)
        skew = skew_of(self.client.server_date, now)
        if skew is not None and self.client.server_date != self._heard:
            self._heard, ahead_s = self.client.server_date, skew.total_seconds()
            self._sends = [
                send if send.ahead_s is not None else replace(send, ahead_s=ahead_s) for send in self._sends
            ]

    def _doubtful(self, intent: Intent, error: FormantError) -> tuple[Send, ...]:
        """Return the sends that may have been accepted, those of this try and those before."""
        outcomes = zip(self._sends, [*error.earlier, error], strict=False)
        unclear = [send for send, outcome in outcomes if is_unclear(outcome) and outcome.status != 409]
        return among([*intent.sends, *unclear])

    def _still(self, intent: Intent, moment: datetime | None, now: datetime) -> bool:
        """Whether a send of now may still ask for this moment."""
        with suppress(CallNotAllowed, InvalidInput):
            return moment >= now if moment else self._moment(intent, now) is None
        return False

    def _next_key(self, intent: Intent) -> Intent:
        """Go on with a new key after one that was only ever refused: nobody was rung with it."""
        log.warning("The API refused this call and counted its key as used: going on with another key.")
        spent = intent.spent_keys + 1
        key = key_after_refusals(key=self._first_key(intent.attempt), spent=spent)
        now = self.rules.now()
        following = replace(intent, key=key, written_at=now, sent=Sent.NEVER, spent_keys=spent, sends=())
        self.ledger.write(following)
        return following

    def _first_key(self, attempt: int) -> str:
        first = self.call.idempotency_key
        return first if attempt == 1 else key_for_redial(key=first, attempt=attempt)

    @staticmethod
    def _placed(intent: Intent, receipt: CallReceipt) -> Placement:
        scheduled_for = receipt.scheduled_at
        since = max(intent.written_at, scheduled_for) if scheduled_for else intent.written_at
        return Placement(Result.PLACED, receipt, since)
