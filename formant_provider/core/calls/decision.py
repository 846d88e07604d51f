"""May a call be sent, or sent again? Decided here and nowhere else: from values, without I/O.

:func:`decide` is asked by :func:`~formant_provider.core.calls.placement.CallPlacing`, which does what the
decision says and asks again with what it has learnt. The first line that applies:

=========================================================  ================================================
What is known                                              What follows
=========================================================  ================================================
**The ledger has a receipt: the call was placed**
no redial is wanted, or none is due to this try            ``Done``: placed
it is not known how it ended                               ``Look`` at the last call
it did not end as ``redial_on`` names, or not for sure     ``Done``: placed
a redial is not allowed now                                ``Done``: placed
otherwise                                                  ``Send`` the redial, with a key of its own
**The API has answered 409: the key was used**
every send was refused, and nobody else has this key       ``Send`` with the next key
four keys of this call were used up so in this try         ``Refuse``: try later
otherwise                                                  ``Look`` for the call
a conversation is proven to be its                         ``Done``: found
otherwise                                                  ``Done``: unconfirmed
**A redial was begun, and is not known to be placed**
none is wanted any more, or due to this try                ``Done``: placed, the call before it
no send may have been accepted                             as of the call before it
somebody was reached since, and a send may have been       ``Look`` for the call
otherwise                                                  as follows
**An earlier send may have been accepted: in doubt**
a call is allowed now, and the key still protects          ``Send`` again, with the same key
otherwise                                                  ``Look`` for the call
a conversation is proven to be its                         ``Done``: found
the last look failed                                       ``Refuse``: that error
other conversations with the recipient are there           ``Done``: unconfirmed
the API has said before that somebody else used the key    ``Done``: unconfirmed
otherwise                                                  ``Refuse``: its outcome is unknown
**Never sent, or every send was refused**
a row that was moved may have sent it over a day ago       ``Look`` for a call of others
a call is not allowed now, in a run that was cleared,      ``Look`` for a call of others
and others may have the key
a call of others is there, by this task's trace ids        ``Done``: found
a call of others may be there                              ``Done``: unconfirmed
others may have scheduled it more than a day ago           ``Refuse``: its outcome is unknown
a call is not allowed now                                  ``Refuse``: why it is not
otherwise                                                  ``Send``
=========================================================  ================================================

Vendor page on idempotency: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from formant_provider.api.errors import CallNotAllowed, CallOutcomeUnknown, FormantError, RetryableError
from formant_provider.api.models import utc_text
from formant_provider.core.calls.facts import At, Facts, Policy, Timing
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.redial import begun_again, call_before, is_due, last_to_redial, redial_of
from formant_provider.core.conversations.lookup import Finding
from formant_provider.core.keys import KEY_PROTECTS, key_of
from formant_provider.core.ledger import Sent
from formant_provider.core.placing import Result

MAX_KEYS_PER_TRY = 4


@dataclass(frozen=True)
class Send:
    """Send this, after it was written down. ``moment`` is when it asks for; ``None`` means at once."""

    intent: Intent
    moment: datetime | None
    why: str | None = None


@dataclass(frozen=True)
class Look:
    """Learn more, and decide again. What is found is compared with this intent."""

    at: At
    intent: Intent


@dataclass(frozen=True)
class Done:
    """Nothing is sent: the call was placed, or may have been.

    :param finding: what a look brought; ``None`` when the receipt was known.
    :param is_traceable: whether a later look may still find its conversation.
    """

    result: Result
    intent: Intent
    finding: Finding | None = None
    is_traceable: bool = True
    why: str | None = None


@dataclass(frozen=True)
class Refuse:
    """The error is raised; a further try should know the intent, unless the ledger tells as much."""

    error: FormantError
    intent: Intent | None = None


Decision: TypeAlias = Send | Look | Done | Refuse


def first_intent(key: str, now: datetime, policy: Policy) -> Intent:
    """Return what is known of a call that the ledger knows nothing of."""
    since = policy.taken_since
    return Intent(key, now, shared_since=since if since and since < now else None)


def decide(intent: Intent, now: datetime, policy: Policy, facts: Facts) -> Decision:
    """Say what comes next. The table is at the top of this module."""
    if intent.receipt is not None:
        return _after_receipt(intent, now, policy, facts)
    if facts.is_used:
        return _after_used_key(intent, facts)
    if facts.keys_used_up:
        return _after_refused_key(intent, facts)
    if intent.last_receipt is not None:
        return _redial_begun(intent, now, policy, facts)
    if intent.sent is Sent.UNCLEAR:
        return _in_doubt(intent, now, policy, facts)
    return _not_in_doubt(intent, now, policy, facts)


def after_duplicate(intent: Intent, before: Sent, now: datetime, facts: Facts) -> tuple[Intent, Facts]:
    """Return what is known after a 409; ``before`` it, what became of all sends of ours."""
    if before is Sent.REFUSED and intent.shared_since is None and facts.is_durable:
        # Nobody else can have sent this key, and no send of ours was accepted: nothing was placed with it.
        spent = intent.spent_keys + 1
        key = key_of(first=facts.key, attempt=intent.attempt, spent=spent)
        following = replace(intent, key=key, written_at=now, sent=Sent.NEVER, spent_keys=spent, sends=())
        return following, replace(facts, keys_used_up=facts.keys_used_up + 1)
    if before is not Sent.UNCLEAR:  # somebody else sent it, at an unknown time, perhaps before we did
        intent = replace(intent, sends=(), written_at=intent.shared_since or intent.written_at)
    used_since = intent.shared_since or intent.used_since
    return replace(intent, used_since=used_since, sent=Sent.UNCLEAR), replace(facts, is_used=True)


def may_still_be_sent(send: Send, now: datetime, timing: Timing | None) -> bool:
    """Whether what was decided still holds: asked before each send, since the pause before it may be long."""
    is_in_time = send.moment >= now if send.moment else timing == Timing()
    return is_in_time and send.intent.key_protects(now)


def _after_receipt(
    intent: Intent, now: datetime, policy: Policy, facts: Facts, begun: Intent | None = None
) -> Decision:
    """Say whether a call that was placed is placed again, where an earlier try may have ``begun`` to."""
    placed = Done(Result.PLACED, intent)
    if not is_due(intent, policy):
        return placed
    since = facts.since_last_call
    if since is None:
        return Look(At.LAST_CALL, intent)
    last = last_to_redial(intent.receipt, since, policy.redial_on)
    if last is None:
        return placed
    seen = [record.conversation_id for record in since]
    redial = begun_again(begun, last, now) if begun else redial_of(intent, last, now, facts.key, seen)
    if facts.timing is None:
        return Look(At.TIMING, redial)
    if facts.timing.error is not None:
        return replace(placed, why=f"{facts.timing.error}. No further call is placed.")
    why = f"The last conversation ended as {last.status}: call number {redial.attempt} is due."
    return Send(redial, facts.timing.moment, why)


def _redial_begun(intent: Intent, now: datetime, policy: Policy, facts: Facts) -> Decision:
    """Say what comes of a redial that an earlier try has begun: it is asked again whether it is due."""
    last = call_before(intent)
    again = _after_receipt(last, now, policy, facts, begun=intent)
    if intent.sent is not Sent.UNCLEAR or not is_due(last, policy):
        return again  # a doubt stays on record, for the task whose redial it is
    decided = _in_doubt(intent, now, policy, facts)
    if not isinstance(decided, Send):
        return decided
    if isinstance(again, Done):  # somebody was reached meanwhile, perhaps by this very redial
        return Look(At.CALL, intent)
    return again if isinstance(again, Look) else decided


def _after_refused_key(intent: Intent, facts: Facts) -> Decision:
    if facts.keys_used_up >= MAX_KEYS_PER_TRY:
        text = f"The API refused {MAX_KEYS_PER_TRY} keys of this call and counted them as used"
        return Refuse(RetryableError(text))
    why = "The API refused this call and counted its key as used: the call is sent with another key."
    return Send(intent, facts.timing.moment if facts.timing else None, why)


def _after_used_key(intent: Intent, facts: Facts) -> Decision:
    if facts.call is None:
        return Look(At.CALL, intent)
    result = Result.UNCONFIRMED if facts.call.record is None else Result.FOUND
    return Done(result, intent, facts.call)


def _in_doubt(intent: Intent, now: datetime, policy: Policy, facts: Facts) -> Decision:
    if facts.call is not None:  # after a look nothing is sent any more, whatever the clock says by now
        return _instead_of_sending(intent, now, facts.call)
    if facts.timing is None:
        return Look(At.TIMING, intent)
    if facts.timing.error is None:
        if policy.look_since is None and not intent.sends and facts.vendor_now is None:
            return Look(At.CLOCK, intent)
        if _is_protected(intent, now, policy, facts):
            return Send(intent, facts.timing.moment)
    return Look(At.CALL, intent)


def _is_protected(intent: Intent, now: datetime, policy: Policy, facts: Facts) -> bool:
    """Whether the vendor would refuse this call if it was placed before, by us or by another row."""
    if policy.look_since is not None:
        # What others had placed by then was on record, or its key is remembered for a while yet.
        return intent.looked_at is not None and now - intent.looked_at < KEY_PROTECTS / 2
    # How long ago a send was that is not written down, only the clocks can say: the later one counts.
    return intent.key_protects(now if facts.vendor_now is None else max(now, facts.vendor_now))


def _instead_of_sending(intent: Intent, now: datetime, finding: Finding) -> Decision:
    # Where no send is written down and the key is forgotten, there may have been no send at all.
    is_known = bool(intent.sends) or intent.key_protects(now)
    if finding.record is not None and (is_known or finding.is_own):
        return Done(Result.FOUND, intent, finding)
    if finding.error is not None:
        return Refuse(finding.error)
    if not finding.is_empty or intent.used_since is not None:
        return Done(Result.UNCONFIRMED, intent, finding, is_traceable=is_known)
    text = (
        f"An earlier try, at {utc_text(intent.written_at)} or later, did not learn what came of this call; no"
        f" conversation is on record, and its idempotency key {intent.key} is not to be sent again"
    )
    return Refuse(CallOutcomeUnknown(text, maybe_placed=True))


def _not_in_doubt(intent: Intent, now: datetime, policy: Policy, facts: Facts) -> Decision:
    since = policy.look_since or intent.shared_since
    of_others = Intent(facts.key, since, shared_since=since) if since else None
    if of_others is not None and facts.others is not None:
        known = _after_others(of_others, facts.others)
        if known is not None:
            return known
    if policy.look_since is not None and of_others is not None:
        if facts.others is None:
            return Look(At.OTHERS, of_others)
        intent = replace(intent, looked_at=now)
    if facts.timing is None:
        return Look(At.TIMING, intent)
    if facts.timing.error is None:  # as long as it was not placed, it begins now
        return Send(replace(intent, written_at=now, sends=(), refused=None), facts.timing.moment)
    return _not_allowed(intent, of_others, policy, facts, facts.timing.error)


def _not_allowed(
    intent: Intent, of_others: Intent | None, policy: Policy, facts: Facts, error: FormantError
) -> Decision:
    """Say what comes of a call that must not be sent now, and that no try has placed as far as is known."""
    has_looked = facts.others is not None or intent.looked_at is not None
    if policy.was_cleared and of_others is not None and not has_looked:
        return Look(At.OTHERS, of_others)
    why = error.reason if isinstance(error, CallNotAllowed) else None
    # A further try is to know that this one sent nothing, and the history why.
    return Refuse(error, replace(intent, refused=why))


def _after_others(intent: Intent, finding: Finding) -> Decision | None:
    """Return what follows from a look for a call of others; ``None`` when none was placed."""
    if finding.record is not None and finding.is_own:
        return Done(Result.FOUND, intent, finding)
    if not finding.is_empty:
        return Done(Result.UNCONFIRMED, intent, finding, is_traceable=False)
    if not finding.may_be_scheduled:
        return None
    text = (
        "Another row of this mapped task, or an iteration of its loop that a clear has replaced, may have"
        " scheduled this call more than 24 hours ago, and what is scheduled is not on record"
    )
    return Refuse(CallOutcomeUnknown(text, maybe_placed=True))
