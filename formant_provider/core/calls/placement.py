"""Places a call at most once: does what the decision says, until it is done.

::

    read the ledger ─► decide ─┬─ Look ──► learn, and decide again
                               ├─ Send ──► write the doubt ─► POST ─┬─ 200 ─► write the receipt, PLACED
                               │                                    ├─ 409 ─► write it down, decide again
                               │                                    └─ other error: written down, raised
                               ├─ Done ──► PLACED, FOUND or UNCONFIRMED
                               └─ Refuse ► raised

A claim of the ledger comes first of all that is written: when another process has the call in hand, the
ledger is read again, and when it admits no call to this person now, that decides.

Whether a call may be sent is decided in :mod:`formant_provider.core.calls.decision`. A ledger that cannot be
written aborts the send. A further try starts from what the ledger says.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from formant_provider.api.errors import (
    DuplicateRequest,
    FormantError,
    NotAdmitted,
    Superseded,
    may_have_been_placed,
)
from formant_provider.api.models import CallReceipt, CallRequest, Conversation, ReceiptStatus, utc_text
from formant_provider.api.telemetry import CALLS_FOUND, CALLS_UNCONFIRMED, PLACE_CALL
from formant_provider.core.calls.decision import (
    Decision,
    Done,
    Look,
    Refuse,
    Send,
    after_duplicate,
    decide,
    first_intent,
)
from formant_provider.core.calls.facts import At, CallCallbacks, Facts, Policy
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.looking import Looking, asked_for
from formant_provider.core.calls.sending import Sending, joined
from formant_provider.core.conversations.evidence import first_of
from formant_provider.core.ledger import Ledger, Sent, note, outcome_of
from formant_provider.core.placing import Result

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

MOST_TIMES_SUPERSEDED = 20
# Placed is counted by the client, when the API says so: a further try only reads that it was.
_COUNTED = {Result.FOUND: CALLS_FOUND, Result.UNCONFIRMED: CALLS_UNCONFIRMED}
PAUSE_S = 0.5


@dataclass(frozen=True)
class Placement:
    """Where a call stands.

    :param result: ``placed``: the receipt is the API's own; ``found``: an earlier send had placed it, and its
        ids were found; ``unconfirmed``: it may have been placed before, and no conversation is
        proven to be its.
    :param receipt: ``None`` when unconfirmed.
    :param since: when its conversation can begin at the earliest, aware.
    :param until: when it can have begun at the latest, aware; ``None`` when it has a receipt, which tells
        more, and when no conversation can ever be told to be its.
    :param attempt: which attempt it is; that before the one that was asked for, if no redial was due.
    """

    result: Result
    receipt: CallReceipt | None
    since: datetime
    until: datetime | None = None
    attempt: int = 1


@dataclass
class CallPlacing:
    """One try to place one call. The call has the idempotency key of its first attempt."""

    call: CallRequest
    client: FormantClient
    ledger: Ledger[Intent]
    policy: Policy
    callbacks: CallCallbacks

    def __post_init__(self) -> None:
        self._looking = Looking(
            self.call, self.client, self.policy, self.callbacks, self.ledger.ids_of_others
        )
        self._facts, self._is_capped, self._times_superseded = self._no_facts, False, 0

    def run(self) -> Placement:
        """Place the call, or find out that it was placed already. Never places it twice.

        :raises InvalidInput: it is scheduled for a time that has passed, and was not placed before.
        :raises CallNotAllowed: it is not allowed now, and was not placed before.
        :raises RequestRefused: the API said no.
        :raises CallOutcomeUnknown: an earlier send may have been accepted, its key protects no more, and no
            record was found.
        :raises SendAborted: it was stopped right before a send.
        :raises FormantError: it may be tried again; ``maybe_placed`` says whether it may have been placed.
        """
        agent_id, telemetry = self.call.agent_id, self.client.telemetry
        with telemetry.span(PLACE_CALL, agent_id=agent_id) as span:
            placement = self._run()
            span.set(placement=placement.result.value, attempt=placement.attempt)
            if receipt := placement.receipt:
                span.set(trace_id=receipt.trace_id, conversation_id=receipt.conversation_id)
        if metric := _COUNTED.get(placement.result):
            telemetry.count(metric, agent_id=agent_id)
        return placement

    def _run(self) -> Placement:
        now, intent = self.callbacks.now, self._read()
        while True:
            decision = decide(intent, now(), self.policy, self._facts)
            if self.ledger.is_guess and not _is_safe_on_a_guess(decision):
                intent = self._read()
                continue
            match decision:
                case Look() as look:
                    self._facts = self._looking.learn(look, self._facts)
                case Send() as decided:
                    came = self._send(decided, intent)
                    if isinstance(came, Placement):
                        return came
                    intent = came
                case Done() as done:
                    try:
                        return self._done(done)
                    except Superseded as error:
                        intent = self._read_after(error)
                case Refuse() as refused:
                    if refused.intent is not None:
                        note(self.ledger, refused.intent)
                    raise refused.error

    @property
    def since_last_call(self) -> Sequence[Conversation]:
        """The conversations with the recipient since the call before, once they were looked at."""
        return self._facts.since_last_call or ()

    @property
    def _no_facts(self) -> Facts:
        return Facts(self.call.idempotency_key, self.ledger.is_durable)

    def _read(self) -> Intent:
        self._facts = self._no_facts
        known = self.ledger.read()
        return known or first_intent(self.call.idempotency_key, self.callbacks.now(), self.policy)

    def _read_after(self, error: Superseded) -> Intent:
        """Read what another process has written; but a store cannot go on telling of one for ever."""
        self._times_superseded += 1
        if self._times_superseded > MOST_TIMES_SUPERSEDED:
            raise error
        if self._times_superseded > 1:
            self.callbacks.sleep(PAUSE_S)
        return self._read()

    def _send(self, decided: Send, known: Intent) -> Intent | Placement:
        """Send, and write down what came of it; return what is known then, or that the call is placed."""
        self._log_send(decided)
        intent = decided.intent
        sending = Sending(self.client, self.ledger, self.callbacks, decided, self._looking.timing)
        # Not among the sends: what hinders a read says nothing of them.
        call = joined(self.call, self.client, intent.redials) if intent.redials else self.call
        try:
            receipt = sending.send(call)
        except DuplicateRequest as error:
            return self._after_duplicate(intent, sending, error)
        except Superseded as error:  # our sends are on record: whoever took over read them as well
            return self._read_after(error)
        except NotAdmitted as error:
            self._facts = replace(self._facts, timing=self._looking.when_admitted(error))
            self._is_capped = True
            return self._noted(intent, sending, error) if sending.records else known
        except FormantError as error:
            self._noted(intent, sending, error)
            raise
        intent = replace(
            intent, sent=Sent.UNCLEAR, sends=(sending.records[-1],), receipt=receipt, called_at=None
        )
        note(self.ledger, intent)
        return self._placed(intent, Result.PLACED)

    def _noted(self, intent: Intent, sending: Sending, error: FormantError) -> Intent:
        """Write down what became of all sends, with the error that ended them; return what is known then."""
        became = outcome_of(intent.sent, [*error.earlier, error])
        error.maybe_placed = became is Sent.UNCLEAR
        intent = replace(intent, sent=became, sends=sending.in_doubt(error))
        if sending.records or became is not Sent.UNCLEAR:
            note(self.ledger, intent)
        return intent

    def _after_duplicate(self, intent: Intent, sending: Sending, error: DuplicateRequest) -> Intent:
        before = outcome_of(intent.sent, error.earlier)
        intent = replace(intent, sends=sending.in_doubt(error))
        intent, self._facts = after_duplicate(intent, before, self.callbacks.now(), self._facts)
        try:
            self.ledger.write(intent)
        except Superseded as taken:  # whoever took over knows more by now, perhaps the receipt
            return self._read_after(taken)
        except FormantError as failed:
            if not self._facts.is_used:  # the next key: what is not on record is not sent
                raise
            self.callbacks.log(logging.WARNING, "%s. The next try will ask the API instead.", failed)
        return intent

    def _done(self, done: Done) -> Placement:
        if done.why:
            self.callbacks.log(logging.WARNING, "%s", done.why)
        intent, finding = done.intent, done.finding
        if finding is None:
            self.callbacks.log(logging.INFO, "This call was placed before: nothing is sent.")
            result = Result.FOUND if self.ledger.is_of_others else Result.PLACED
            return self._placed(intent, result)
        if done.result is Result.FOUND and finding.record is not None:
            receipt = self._receipt(intent, finding.record)
            called_at = self._called_at(finding.record)
            note(self.ledger, replace(intent, sent=Sent.UNCLEAR, receipt=receipt, called_at=called_at))
            return Placement(Result.FOUND, receipt, first_of(finding.spans), attempt=intent.attempt)
        if intent.sent is Sent.UNCLEAR:  # only a write tells a process that another one has taken over
            if not intent.sends:  # at the latest: two calls must not be closer than a cap says
                intent = replace(intent, called_at=intent.called_at or self.callbacks.now())
            with may_have_been_placed():
                self.ledger.write(intent)
        since = first_of(finding.spans)
        if not finding.is_empty:
            self.callbacks.log(
                logging.WARNING,
                "%s conversations with this recipient are on record since %s, and none is proven to be this"
                " call's: it has to be the only one that one of its sends can have led to.",
                finding.others or 1,
                utc_text(since),
            )
        until = max(span.end for span in finding.spans) if done.is_traceable else None
        return Placement(Result.UNCONFIRMED, None, since, until, intent.attempt)

    def _called_at(self, record: Conversation) -> datetime | None:
        """Return when a call began that was found; ``None`` when its record does not say."""
        began_ms = record.start_timestamp
        if began_ms is None:
            return None
        return min(datetime.fromtimestamp(began_ms / 1000, UTC), self.callbacks.now())

    @staticmethod
    def _placed(intent: Intent, result: Result) -> Placement:
        scheduled_for = intent.receipt.scheduled_at if intent.receipt else None
        since = max(intent.written_at, scheduled_for) if scheduled_for else intent.written_at
        return Placement(result, intent.receipt, since, attempt=intent.attempt)

    def _receipt(self, intent: Intent, record: Conversation) -> CallReceipt:
        """Return what the API would have answered to the send that led to a conversation."""
        moments = [send.scheduled_for for send in intent.sends] or [asked_for(self.call, intent)]
        scheduled_for = None if None in moments else min(filter(None, moments))
        return CallReceipt(
            agent_id=self.call.agent_id,
            trace_id=record.trace_id,
            status=ReceiptStatus.SCHEDULED.value if scheduled_for else ReceiptStatus.INITIATED.value,
            conversation_id=record.conversation_id,
            scheduled_for=utc_text(scheduled_for) if scheduled_for else None,
        )

    def _log_send(self, decided: Send) -> None:
        if decided.why:
            self.callbacks.log(logging.INFO, "%s", decided.why)
        asked = self.call.scheduled_for
        if self._is_capped and decided.moment:
            text = "call_cap allows this call later: it is scheduled for %s."
            self.callbacks.log(logging.INFO, text, utc_text(decided.moment))
        elif decided.moment and decided.moment != asked:
            self.callbacks.log(
                logging.INFO,
                "calling_window is closed %s: the call is scheduled for its next opening, %s.",
                f"at {asked}" if asked else "now",
                utc_text(decided.moment),
            )


def _is_safe_on_a_guess(decision: Decision) -> bool:
    """Whether a decision costs nothing if the ledger knows better than its guess."""
    return isinstance(decision, Send) or (isinstance(decision, Look) and decision.at in (At.TIMING, At.CLOCK))
