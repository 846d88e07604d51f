"""The page about a batch call, which is made of the rows of its report."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from formant_provider.tasks.storage.uris import in_words
from formant_provider.tasks.summaries.writing import FIELD, write_summary
from formant_provider.tasks.waiting import now

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation
    from formant_provider.core.call_lists.calls import Attempt, RowResult
    from formant_provider.core.contacts.row_list import ListedRow

log = logging.getLogger(__name__)


class BatchPage:
    """Counts the rows of one report, and is written beside it.

    :param uri: where the page is to be.
    :param title: what it is about: the name of the batch call.
    :param is_complete: whether the batch call is over, so that who has no conversation by now gets none.
    """

    def __init__(self, uri: str, title: str, *, is_complete: bool) -> None:
        from formant_provider.tasks.summaries.summary import Summary

        self._uri, self._title, self._is_complete = uri, title, is_complete
        self._summary = Summary()

    def add(self, row: ListedRow, record: Conversation | None) -> None:
        """Count a row of the report."""
        self._summary.add(row_result(row, record, is_complete=self._is_complete))

    def write(self) -> dict[str, Any]:
        """Write the page; return where it is."""
        uri = write_summary(
            self._uri, self._summary, title=self._title, made_at=now(), is_over=self._is_complete
        )
        log.info("The summary is in %s.", in_words(uri))
        return {FIELD: uri}

    def left(self, since: datetime) -> dict[str, Any]:
        """Return where the page is that an earlier try wrote beside its report."""
        from formant_provider.hooks.storage.paths import to_file
        from formant_provider.tasks.storage.files import is_older

        folder, name = to_file(FIELD, self._uri)
        path = folder / name
        if path.exists() and not is_older(folder, name, since):
            return {FIELD: str(path)}
        log.warning(
            "No summary is written: it is made with the report, which an earlier try wrote without one."
        )
        return {FIELD: None}


def row_result(row: ListedRow, record: Conversation | None, *, is_complete: bool) -> RowResult:
    """Return what came of a row of a batch call, as of one of a call list.

    Of several attempts of the platform the newest is on record, and it stands for them all.
    """
    from formant_provider.core.batches.report import NO_RECORD, REJECTED
    from formant_provider.core.call_lists.calls import Attempt, RowResult

    attempts: tuple[Attempt, ...] = ()
    if row.reason is not None:
        status = REJECTED
    elif record is None:
        status = NO_RECORD
        attempts = (Attempt(1, status),) if is_complete else ()
    else:
        status = str(record.status or "unknown")
        attempts = (_attempt(record, status),) if _is_over(status) else ()
    return RowResult(
        row_number=row.row_number or 0,
        part=row.part,
        number=None,
        reference=None,
        agent_id=None if record is None else record.agent_id,
        status=status,
        reason=row.reason,
        detail=None,
        zone=_zone(row.number) if attempts else None,
        attempts=attempts,
    )


def _attempt(record: Conversation, status: str) -> Attempt:
    from formant_provider.core.call_lists.calls import Attempt

    return Attempt(
        number=1,
        status=status,
        start_ms=record.start_timestamp,
        end_ms=record.end_timestamp,
        duration_s=record.duration_seconds,
    )


def _is_over(status: str) -> bool:
    """Whether a conversation is one that was had; of a word that nobody knows that is assumed."""
    from formant_provider.core.conversations.statuses import FINAL, is_known

    return status in FINAL or not is_known(status)


def _zone(number: str | None) -> str | None:
    """Return the recipient's time zone, if the number can be in no other."""
    from formant_provider.core.hours.zones import zones_of

    zones = zones_of(number) if number else ()
    return zones[0].key if len(zones) == 1 else None
