"""Answers that follow from what was read of batch calls. ``None``: what there was does not tell.

Vendor page: https://docs.formantai.com/platform/batch-calls
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from formant_provider.api.batch_models import to_integer
from formant_provider.check.questions.answers import Answer, words
from formant_provider.check.questions.reads import Reads, Record

_OUTCOMES = (
    "completed_count",
    "busy_count",
    "failed_count",
    "no_answer_count",
    "unreachable_count",
    "socket_failure_count",
)
_GOING_ON = ("in_progress_count", "pending_retry_count")


def metrics(reads: Reads) -> Answer | None:
    """Tell whether the counts of a batch call add up, and of what the success rate is."""
    for batch, counts in _finished(reads):
        recipients, processed = (
            to_integer(batch.get("total_recipients")),
            to_integer(counts.get("total_processed")),
        )
        if not recipients or processed is None:
            continue
        outcomes = sum(to_integer(counts.get(name)) or 0 for name in _OUTCOMES)
        says = [
            f"outcomes make up total_processed: {_yes(outcomes == processed)}",
            f"all recipients are processed in the end: {_yes(processed == recipients)}",
        ]
        if (base := _base_of_rate(counts, recipients, processed)) is not None:
            says.append(f"the rate is of {base}")
        evidence = f"{recipients} recipients, {processed} processed, {outcomes} outcomes"
        return Answer("; ".join(says), f"a batch call with nothing in progress: {evidence}")
    return None


def statuses(reads: Reads) -> Answer | None:
    """Tell which words are statuses of a batch call, and which those of one that is over."""
    if not reads.batches:
        return None
    seen = words(batch.get("status") for batch, _ in reads.batches)
    finished = words(batch.get("status") for batch, _ in _finished(reads))
    return Answer(seen, f"{len(reads.batches)} batch calls; of those with nothing in progress: {finished}")


def _finished(reads: Reads) -> Iterator[tuple[Record, Record]]:
    """Yield those with outcomes, of which nothing is in progress."""
    for batch, counts in reads.batches:
        some = any(to_integer(counts.get(name)) for name in _OUTCOMES)
        if some and not any(to_integer(counts.get(name)) for name in _GOING_ON):
            yield batch, counts


def _base_of_rate(counts: Record, recipients: int, processed: int) -> str | None:
    rate, success = counts.get("success_rate"), to_integer(counts.get("success_count"))
    if not isinstance(rate, int | float) or not success or not processed or recipients == processed:
        return None
    for name, base in {"total_recipients": recipients, "total_processed": processed}.items():
        if math.isclose(rate, 100 * success / base, abs_tol=0.1):
            return name
    return "something else"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
