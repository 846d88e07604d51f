"""What a redial is: a further call, after one that ended as ``redial_on`` names. Values only, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from formant_provider.api.models import CallReceipt, Conversation
from formant_provider.core.calls.facts import Policy
from formant_provider.core.calls.intent import Intent
from formant_provider.core.keys import key_of

MOST_EARLIER = 50


def is_due(call: Intent, policy: Policy) -> bool:
    """Whether a redial of this call is wanted, and due to this try."""
    return bool(policy.redial_on) and call.attempt < policy.try_number


def call_before(redial: Intent) -> Intent:
    """Return the call that a redial follows, as far as the ledger tells of it."""
    moments = [redial.last_at or redial.written_at]
    if redial.last_receipt is not None and redial.last_receipt.scheduled_at is not None:
        moments.append(redial.last_receipt.scheduled_at)
    return replace(
        redial,
        attempt=redial.attempt - 1,
        receipt=redial.last_receipt,
        written_at=max(moments),
        sends=(),
        refused=None,
        last_receipt=None,
    )


def redial_of(call: Intent, last: Conversation, now: datetime, first_key: str, seen: Sequence[str]) -> Intent:
    """Return the redial of a call.

    :param last: its last conversation, which the redial joins.
    :param first_key: the idempotency key of the call's first attempt.
    :param seen: ids of the conversations with the recipient since the call.
    """
    attempt = call.attempt + 1
    return Intent(
        key_of(first=first_key, attempt=attempt, spent=0),
        now,
        attempt=attempt,
        shared_since=call.written_at if call.shared_since is not None else None,
        redials=last.conversation_id,
        last_receipt=call.receipt,
        last_at=call.written_at,
        earlier=tuple(dict.fromkeys([*call.earlier, *seen]))[-MOST_EARLIER:],
    )


def begun_again(redial: Intent, last: Conversation, now: datetime) -> Intent:
    """Return a redial that was begun, and not placed: it keeps its key, and what became of its sends."""
    return replace(redial, written_at=now, sends=(), refused=None, redials=last.conversation_id)


def last_to_redial(
    receipt: CallReceipt | None, records: Sequence[Conversation], redial_on: Collection[str]
) -> Conversation | None:
    """Return the last conversation of a call that is to be called again; ``None`` when it is not.

    The platform redials by itself, perhaps under trace ids of its own, and others call the same person. So
    every conversation with the recipient since this call has to have ended as named: whoever was reached
    meanwhile, or is talking right now, is left alone.
    """
    own = [record for record in records if receipt and _is_of(record, receipt)]
    others = [record for record in records if record.start_timestamp is not None]
    return own[-1] if own and all(record.status in redial_on for record in [*own, *others]) else None


def _is_of(record: Conversation, receipt: CallReceipt) -> bool:
    if receipt.trace_id is None or record.trace_id is None:
        return record.conversation_id == receipt.conversation_id
    return record.trace_id == receipt.trace_id
