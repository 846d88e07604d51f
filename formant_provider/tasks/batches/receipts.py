"""What a task that places a batch call leaves behind: its receipt, or why there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formant_provider.tasks.batches.contacts import read_numbers
from formant_provider.tasks.dry_run import DRY_RUN, checked, tell_openings
from formant_provider.tasks.results import NOT_KNOWN, a_result_in_any_case, not_called, push
from formant_provider.tasks.telling import tell

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.core.batches.placement import BatchPlacement
    from formant_provider.tasks.batches.placing import BatchPlacer

log = logging.getLogger(__name__)

_RECEIPT = ("batch_id", "name", "agent_id", "total_recipients", "placement", "placed_at", "contacts")


def push_receipt(placement: BatchPlacement, placer: BatchPlacer, row: Mapping[str, Any]) -> dict[str, Any]:
    """Push the id of a batch call that was placed; return the receipt."""
    log.info(
        "The batch call was %s: id %s, %s recipients.",
        placement.result,
        placement.batch_id,
        placement.total_recipients,
    )
    push(placer.run.context, "batch_id", placement.batch_id)
    receipt = {
        **_blank(row),
        "batch_id": placement.batch_id,
        "name": placement.name,
        "agent_id": placer.request.agent_id,
        "total_recipients": placement.total_recipients,
        "placement": placement.result.value,
        "placed_at": placement.since.isoformat(),
        "contacts": placer.files.report.counts() if placer.files.report else None,
    }
    tell(placer.run.context, receipt)
    return receipt


def leaving_a_result(context: Context, row: Callable[[], Mapping[str, Any]]) -> AbstractContextManager[None]:
    """Leave a result also when no batch call is placed."""
    result_of = partial(not_called, skipped="skipped")
    return a_result_in_any_case(context, lambda: _blank(row()), result_of, apart=["batch_id"])


def dry_run_result(placer: BatchPlacer, row: Mapping[str, Any]) -> dict[str, Any]:
    """Do all that comes before the upload, and return what would be uploaded."""
    from formant_provider.tasks.ledger import BATCHES_ENTRY, note_nothing_sent

    files, request = placer.files, placer.request
    files.recipients_uri = None  # no report follows
    placer.cap.check(placer.task.hook)
    clean, reason = checked(placer.check_contacts)
    note_nothing_sent(placer.run, BATCHES_ENTRY)
    push(placer.run.context, "batch_id", NOT_KNOWN)
    result = {
        **_blank(row),
        "name": request.full_name,
        "agent_id": request.agent_id,
        "total_recipients": files.report.accepted if clean and files.report else 0,
        "contacts": files.report.counts() if files.report else None,
        "status": DRY_RUN,
        "reason": reason,
        "by_opening": tell_openings(files.openings, read_numbers(Path(clean)) if clean else ()),
    }
    tell(placer.run.context, result)
    return result


def _blank(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(_RECEIPT), "status": None, **row}
