"""Decides what ends a wait for a batch call, and says how far it has come. The only place that does.

The vendor documents no word for a batch call that is over, so its metrics decide: nobody is being talked to,
nobody is to be called again, and all recipients are processed. Telephony failures have no count of their own.
If they are in no other count either, the sum is never reached; then the wait ends when nothing has changed
for ``stall_timeout``. That is no success while somebody is still to be called. A number that is missing is
unknown, and never taken for the end.

Vendor page: https://docs.formantai.com/api-reference/batch-calls
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from formant_provider.api.batch_models import BatchMetrics

# For so long nothing may change until the wait says what it waits for.
EXPLAINED_AFTER = timedelta(minutes=5)


def is_done(metrics: BatchMetrics, total_recipients: int | None) -> bool:
    """Whether all recipients are done with.

    :param total_recipients: ``None`` or 0 when it is not known, or not yet.
    """
    return (
        bool(total_recipients)
        and metrics.in_progress_count == 0
        and metrics.pending_retry_count == 0
        and (metrics.total_processed or 0) >= (total_recipients or 0)
    )


def has_people_left(metrics: BatchMetrics) -> bool:
    """Whether somebody is being talked to or still to be called, or may be, though nothing changes any more.

    Recipients that are in no count need not be: telephony failures have none. But where nobody at all is
    processed, the calls have not begun.
    """
    return metrics.in_progress_count != 0 or metrics.pending_retry_count != 0 or not metrics.total_processed


def success_rate(metrics: BatchMetrics, total_recipients: int | None) -> float | None:
    """Return the percent of all recipients that were a success, as the vendor counts; ``None``: unknown.

    :param total_recipients: as for :func:`is_done`; without it, the vendor's own rate is taken.
    """
    if metrics.success_count is None or not total_recipients:
        return metrics.success_rate
    return 100 * metrics.success_count / total_recipients


def in_words(metrics: BatchMetrics | None, total_recipients: int | None) -> str:
    """Say how far a batch call has come."""
    if metrics is None:
        return "nothing is known yet"
    processed = metrics.total_processed
    text = f"{_or_unknown(processed)} of {_or_unknown(total_recipients)} recipients are processed"
    if processed is not None and total_recipients:
        text += f" ({100 * processed // total_recipients} %)"
    text += f", {_or_unknown(metrics.in_progress_count)} in progress"
    return f"{text}, {_or_unknown(metrics.pending_retry_count)} to be called again"


@dataclass(frozen=True)
class MetricsSnapshot:
    """The metrics of a batch call, and when a look has read them."""

    metrics: BatchMetrics
    seen_at: datetime

    def differs(self, other: MetricsSnapshot) -> bool:
        """Whether anything was counted in between. Averages may change by themselves."""
        one, two = (
            replace(each.metrics, avg_duration_seconds=None, success_rate=None) for each in (self, other)
        )
        return one != two

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same of: plain values."""
        return {"metrics": asdict(self.metrics), "seen_at": self.seen_at.isoformat()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> MetricsSnapshot:
        """Read what :meth:`to_json` wrote."""
        return cls(BatchMetrics.from_json(fields["metrics"]), datetime.fromisoformat(fields["seen_at"]))


class BatchProgress:
    """How far one batch call has come, from look to look.

    :param total_recipients: as for :func:`is_done`; may be filled in later.
    :param stall_timeout: it is over when nothing has changed for so long.
    :ivar changed: the look that last brought something new; may be set to that of another process.
    :ivar metrics: as last seen.
    :ivar is_stalled: whether the wait is over for that reason alone.
    """

    def __init__(self, total_recipients: int | None, stall_timeout: timedelta) -> None:
        self.total_recipients = total_recipients
        self.changed: MetricsSnapshot | None = None
        self.metrics: BatchMetrics | None = None
        self.is_stalled = False
        self._stall_timeout = stall_timeout
        self._first: MetricsSnapshot | None = None

    def see(self, metrics: BatchMetrics, now: datetime) -> bool:
        """Take in what a look brought; return whether that was anything new."""
        snapshot, self.metrics = MetricsSnapshot(metrics, now), metrics
        self._first = self._first or snapshot
        is_new = self.changed is None or snapshot.differs(self.changed)
        if self.changed is None or is_new:
            self.changed = snapshot
        self.is_stalled = not self._is_done and now - self.changed.seen_at >= self._stall_timeout
        return is_new

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be waited for."""
        return self._is_done or self.is_stalled

    @property
    def _is_done(self) -> bool:
        return self.metrics is not None and is_done(self.metrics, self.total_recipients)

    def why_it_waits(self, now: datetime) -> str | None:
        """Explain a wait in which nothing has changed for a while; ``None``: no need."""
        metrics, changed, timeout = self.metrics, self.changed, self._stall_timeout
        if self.is_over or metrics is None or changed is None:
            return None
        if now - changed.seen_at < min(EXPLAINED_AFTER, timeout / 2):
            return None
        if has_people_left(metrics):
            reason = "Somebody is still to be called, or nobody was yet"
        else:
            reason = (
                "Nobody is in progress or to be called again, but not all recipients are counted as"
                " processed: the vendor counts no telephony failures, so its numbers may never add up"
            )
        since, until = (
            f"{each.astimezone(UTC):%H:%M} UTC" for each in (changed.seen_at, changed.seen_at + timeout)
        )
        end = f"If nothing changes, the wait ends at {until} (stall_timeout)"
        return f"nothing has changed since {since}. {reason}. {end}"

    def ends_at(self) -> datetime | None:
        """Estimate when all will be processed, at the rate since the first look; ``None`` without a rate."""
        if not (self._first and self.changed and self.total_recipients):
            return None
        before, after = self._first.metrics.total_processed or 0, self.changed.metrics.total_processed or 0
        if after <= before:
            return None
        took = self.changed.seen_at - self._first.seen_at
        with suppress(OverflowError):
            return self.changed.seen_at + took * (self.total_recipients - after) / (after - before)
        return None

    def in_words(self) -> str:
        """Say how far it has come, and when it may be done."""
        text = in_words(self.metrics, self.total_recipients)
        end = self.ends_at()
        if end and not self.is_over:
            text += f"; expected to finish about {end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return text


def _or_unknown(number: int | None) -> str:
    return "unknown" if number is None else str(number)
