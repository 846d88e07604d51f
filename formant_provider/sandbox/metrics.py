"""The metrics of a batch call, in the vendor's field names and with the arithmetic of the vendor's sample."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from formant_provider.sandbox.batches import Batch, Tally
from formant_provider.sandbox.settings import Settings

COUNTED = ("busy", "completed", "failed", "no_answer", "socket_failure", "unreachable")
"""Statuses with a count of their own. ``telephony_failed`` has none in the vendor's metrics."""


def metrics(batch: Batch, now: datetime, settings: Settings) -> dict[str, Any]:
    """Return the metrics at a time. Recipients who have not been called yet are in no count."""
    tally = batch.tally(now)
    counts, processed = _outcomes(tally, settings)
    completed = counts["completed"]
    return {
        "avg_duration_seconds": _average_duration(tally),
        **{f"{status}_count": counts[status] for status in COUNTED},
        "in_progress_count": tally.in_progress,
        "pending_retry_count": tally.pending_retry,
        "success_count": completed,
        "success_rate": round(100 * completed / batch.total_recipients, 2),
        "total_processed": processed,
    }


def _outcomes(tally: Tally, settings: Settings) -> tuple[Counter[str], int]:
    """Return the count of each status, and ``total_processed``."""
    counts: Counter[str] = Counter()
    for ending, times in tally.ended.items():
        counts[ending.status] += times
    uncounted = sum(times for status, times in counts.items() if status not in COUNTED)
    processed = counts.total() - (uncounted if settings.uncounted_outcomes == "nowhere" else 0)
    if settings.uncounted_outcomes == "failed":
        counts["failed"] += uncounted
    return counts, processed


def _average_duration(tally: Tally) -> float:
    """Return the mean talk time of the connected calls."""
    talks = [(ending.duration_seconds, times) for ending, times in tally.ended.items() if times]
    connected = [(seconds, times) for seconds, times in talks if seconds is not None]
    total = sum(seconds * times for seconds, times in connected)
    return round(total / sum(times for _, times in connected), 2) if connected else 0.0
