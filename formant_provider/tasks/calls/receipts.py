"""What a task leaves right after the placement: of a call that was placed, and of one that was not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pendulum

from formant_provider.tasks.calls.ids import APART, push_ids
from formant_provider.tasks.dry_run import DRY_RUN, checked, tell_openings
from formant_provider.tasks.results import (
    a_result_in_any_case,
    not_called,
    push_apart,
    push_result,
    storable,
)
from formant_provider.tasks.telling import tell

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.calling_window import CallingWindow
    from formant_provider.core.calls.placement import Placement
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.asking import CallAsking
    from formant_provider.tasks.calls.placing import CallPlacer

log = logging.getLogger(__name__)

RECEIPT_FIELDS = ("agent_id", "trace_id", "conversation_id", "status", "scheduled_for")


def push_receipt(
    placement: Placement, row: Mapping[str, Any], hook: FormantHook, context: Context, *, waits: bool
) -> dict[str, Any]:
    """Push what is known of a call that was placed; return the receipt.

    :param waits: whether the task is not over yet, so that the receipt is pushed whatever becomes of it.
    """
    receipt = placement.receipt
    result = {name: storable(getattr(receipt, name, None)) for name in RECEIPT_FIELDS}
    if receipt is not None:
        log.info(
            "The call was %s: status %s, trace_id %s, conversation_id %s.",
            placement.result,
            receipt.status,
            receipt.trace_id,
            receipt.conversation_id or "not given yet",
        )
    result |= {"placement": placement.result.value, **row}
    push_ids(hook, result, context)
    if waits or receipt is None:
        push_result(context, result)
    return result


def leaving_a_result(
    context: Context, row_of: Callable[[Context], Mapping[str, Any]], *, skipped: str = "skipped"
) -> AbstractContextManager[None]:
    """Leave a result also when no call is placed.

    :param skipped: the reason of a skip that is none of ours.
    """
    return a_result_in_any_case(
        context, lambda: _blank(row_of(context)), partial(not_called, skipped=skipped), apart=APART
    )


def dry_run_result(
    placer: CallPlacer, window: CallingWindow | None, row: Mapping[str, Any], context: Context
) -> dict[str, Any]:
    """Do all that comes before the call is sent; return when it would be placed, or why it would not."""
    from formant_provider.api.models import utc_text
    from formant_provider.core.hours.openings import Openings
    from formant_provider.tasks.ledger import note_nothing_sent

    call, now = placer.call, pendulum.now("UTC")
    placer.check()
    asking = placer.asking()
    known = _known_result(asking, row) if asking else None
    if known is not None:
        push_apart(context, known, APART)
        tell(context, known)
        return known
    placed_at, reason = checked(partial(_placed_at, placer, asking, now))
    note_nothing_sent(placer.run)
    openings = Openings(window.hours if window else None, now, at=call.scheduled_for)
    result = {
        **_blank(row),
        "agent_id": call.agent_id,
        "scheduled_for": utc_text(placed_at) if placed_at and placed_at != now else None,
        "status": DRY_RUN,
        "reason": reason,
        "by_opening": tell_openings(openings, [call.recipient], at=call.scheduled_for),
    }
    push_apart(context, result, APART)
    tell(context, result)
    return result


def _known_result(asking: CallAsking, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the result of a dry run whose call is in the call store; ``None`` when it is not there."""
    receipt, is_of_others = asking.placed()
    if receipt is None:
        return None
    log.info(
        "Dry run: the call store knows this call as placed: trace_id %s. It is not placed again.",
        receipt.trace_id,
    )
    ids = {name: storable(getattr(receipt, name, None)) for name in RECEIPT_FIELDS}
    placement = "found" if is_of_others else "placed"
    said: dict[str, Any] = {"placement": placement, "status": DRY_RUN, "reason": None, "by_opening": []}
    return {**_blank(row), **ids, **said}


def _placed_at(placer: CallPlacer, asking: CallAsking | None, now: datetime) -> datetime:
    """Return when the call would be placed.

    :raises CallNotAllowed: at no time.
    """
    from formant_provider.api.errors import NotAdmitted
    from formant_provider.core.validation import refuse_past

    asked = placer.call.scheduled_for
    while True:
        moment = placer.when(asked, now)
        refuse_past(moment, now=now)
        try:
            if asking is not None:
                asking.refuse(moment or now, now=now)
            return moment or now
        except NotAdmitted as error:
            if error.free_at is None:
                raise
            asked = error.free_at


def _blank(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys((*RECEIPT_FIELDS, "placement")), **row}
