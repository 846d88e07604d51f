"""Answers that follow from one call that was placed and watched. ``None``: it does not tell."""

from __future__ import annotations

import json
from datetime import datetime

from formant_provider.api.errors import ConcurrencyLimited, DuplicateRequest, RateLimited
from formant_provider.api.models import CallReceipt
from formant_provider.check.questions.answers import Answer, word
from formant_provider.check.questions.placing import METADATA
from formant_provider.check.questions.ringing import Rung
from formant_provider.core.conversations.statuses import COMPLETED

# One that is seen at the second look may have been there right after the first.
_LOOKS_TO_TELL = 2


def receipt_id(rung: Rung) -> Answer | None:
    """Tell whether the receipt of an immediate call names its conversation."""
    receipt = rung.placed.receipt
    if not rung.placed.is_new or receipt is None:
        return None
    if receipt.conversation_id is None:
        return Answer("no", "conversation_id was null in the receipt")
    names = list(rung.seen.listed)
    if receipt.conversation_id in names:
        says = "yes, the id of the record"
    elif any(name.startswith(receipt.conversation_id) for name in names):
        says = "yes, what the id of the record begins with"
    else:
        says = "yes, an id that no record has"
    return Answer(says, f"compared with {len(names)} records of the call")


def trace_ids(rung: Rung) -> Answer | None:
    """Tell whether the trace id of the receipt is that of the record."""
    receipt, first = rung.placed.receipt, rung.seen.first
    if not rung.placed.is_new or receipt is None or not first.get("trace_id"):
        return None
    is_same = first["trace_id"] == receipt.trace_id
    says = "that of the receipt is that of the record" if is_same else "receipt and record differ"
    return Answer(says, "one call, compared in the receipt and the record")


def appearance(rung: Rung) -> Answer | None:
    """Tell when the record appears."""
    seen = rung.seen
    if seen.appeared_running is None:
        return Answer("not while it was watched", f"{seen.looks_before} looks") if seen.looks_before else None
    evidence = f"seen after {seen.looks_before} looks that did not show it"
    if seen.appeared_running:
        return Answer("during the call", f"{evidence}, with status {word(seen.first.get('status'))} at last")
    return Answer("at its end", evidence) if seen.looks_before >= _LOOKS_TO_TELL else None


def redials(rung: Rung) -> Answer | None:
    """Tell whether the platform redials by itself."""
    seen = rung.seen
    if not seen.first or seen.over_at is None or seen.first.get("status") == COMPLETED:
        return None
    status = word(seen.first.get("status"))
    if len(seen.listed) > 1:
        return Answer("yes", f"after {status}, {len(seen.listed) - 1} further attempts of one request")
    return Answer("no", f"after {status}, none within {seen.watched_s:.0f} s; an agent has settings for this")


def redial_traces(rung: Rung) -> Answer | None:
    """Tell whether the attempts of one call share a trace id."""
    seen = rung.seen
    records = [{**item, **seen.details.get(name, {})} for name, item in seen.listed.items()]
    traces = [record["trace_id"] for record in records if record.get("trace_id")]
    if len(traces) < 2:
        return None
    says = "attempts share the trace id" if len(set(traces)) == 1 else "attempts have a trace id each"
    return Answer(says, f"{len(traces)} attempts of one request have {len(set(traces))} trace ids")


def echo(rung: Rung) -> Answer | None:
    """Tell whether errors repeat what was sent."""
    if rung.repeats_values is None:
        return None
    return Answer("yes" if rung.repeats_values else "no", "a call without a number was answered 400")


def metadata(rung: Rung) -> Answer | None:
    """Tell where ``metadata`` can be read."""
    seen = rung.seen
    if not rung.placed.is_new or not seen.first or seen.over_at is None:
        return None
    places = {"the list": seen.listed, "the detail": seen.details}
    found = [name for name, records in places.items() if METADATA in json.dumps(list(records.values()))]
    return Answer(
        f"in {' and '.join(found)}" if found else "in neither list nor detail", "looked for as text"
    )


def repeated_key(rung: Rung) -> Answer | None:
    """Tell what a request with a used key is answered."""
    receipt = rung.placed.receipt
    if isinstance(rung.repeat, CallReceipt):
        return Answer(
            "it is accepted", "a second request with the same key was answered 200: look who was called"
        )
    if not isinstance(rung.repeat, DuplicateRequest) or receipt is None:
        return None
    named = any(name and name in str(rung.repeat) for name in (receipt.trace_id, *rung.seen.listed))
    says = f"409 {word(rung.repeat.error_type)}, and {'names' if named else 'does not name'} the call"
    return Answer(says, "the same request was sent once more, right after the first")


def recording(rung: Rung) -> Answer | None:
    """Tell when there is a recording."""
    if rung.seen.first.get("status") != COMPLETED:
        return None
    return _how_late(rung, rung.seen.recording_at)


def results(rung: Rung) -> Answer | None:
    """Tell when there are results and a transcript."""
    if rung.seen.first.get("status") != COMPLETED:
        return None
    return _how_late(rung, rung.seen.results_at)


def failed_keys(rung: Rung) -> Answer | None:
    """Tell whether a request that failed uses up its key."""
    errors = rung.placed.errors
    refused = [error for error in errors if not isinstance(error, DuplicateRequest)]
    if not refused:
        return None
    failures = ", ".join(sorted({str(error.status or type(error).__name__) for error in refused}))
    if rung.placed.is_new and len(refused) == len(errors):
        return Answer("no", f"after {failures}, the same key was accepted")
    if all(isinstance(error, RateLimited | ConcurrencyLimited) for error in refused):
        return Answer("yes", f"after {failures}, the same key was answered 409")
    return None


def _how_late(rung: Rung, at: datetime | None) -> Answer | None:
    over_at = rung.seen.over_at
    if over_at is None:
        return None
    if at is None:
        return Answer("not while it was watched", f"{rung.seen.watched_s:.0f} s after the end")
    late_s = (at - over_at).total_seconds()
    return Answer("at the end" if late_s <= 0 else "later", f"seen {late_s:.0f} s after the end was seen")
