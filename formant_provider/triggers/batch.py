"""Waits for a batch call in the triggerer, where all who use one connection share one poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from formant_provider.triggers.shared import WaitingTrigger, WaitResult

if TYPE_CHECKING:
    from formant_provider.core.batches.feed import BatchFeed, BatchWaiter, BatchWatch
    from formant_provider.core.polling.waits import Now


@dataclass(frozen=True)
class BatchEnd(WaitResult):
    """How the wait for a batch call ended.

    :param batch_id: of the batch call.
    :param total_recipients: as far as it is known.
    :param metrics: as last seen, by the vendor's names; ``None`` when they were never seen.
    :param is_over: whether it was over before the time was up.
    :param is_stalled: whether it is taken to be over since nothing has changed for long.
    """

    batch_id: int
    total_recipients: int | None = None
    metrics: dict[str, Any] | None = None
    is_over: bool = False
    is_stalled: bool = False

    @property
    def subject(self) -> str:
        """What was waited for, as a sentence begins."""
        return f"The batch call {self.batch_id}"

    @classmethod
    def of(cls, waiter: BatchWaiter, receipt: Mapping[str, Any]) -> BatchEnd:
        """Return what a wait came to."""
        progress = waiter.progress
        return cls(
            batch_id=waiter.watch.batch_id,
            total_recipients=progress.total_recipients,
            metrics=asdict(progress.metrics) if progress.metrics else None,
            is_over=waiter.outcome is not None,
            is_stalled=progress.is_stalled,
            receipt=dict(receipt),
        )


class BatchTrigger(WaitingTrigger):
    """Fire when a batch call is over, or when the time is up.

    The time for which nothing has changed is counted from zero by each triggerer that takes over.

    :param formant_conn_id: connection of type ``formant``.
    :param region: ``None`` means the connection's.
    :param watch: which batch call is waited for, as
        :meth:`~formant_provider.core.batches.feed.BatchWatch.to_json` writes it.
    :param deadline: ISO 8601 text with an offset.
    :param receipt: returned in the event: plain values, nothing private.
    """

    result = BatchEnd
    continues = "The batch call goes on, and all its recipients are called: the vendor has no cancel."

    @property
    def subject(self) -> str:
        """The batch call."""
        return f"batch call {self.watch['batch_id']}"

    def feed(self, now: Now) -> BatchFeed:
        """Share one poll with all who use this connection."""
        from formant_provider.core.batches.feed import BatchFeed

        return BatchFeed(now)

    def watched(self) -> BatchWatch:
        """Return which batch call is waited for."""
        from formant_provider.core.batches.feed import BatchWatch

        return BatchWatch.from_json(self.watch)

    def failed(self, error: tuple[str, str]) -> BatchEnd:
        """Return what is known of the batch call after an error."""
        return BatchEnd(self.watch["batch_id"], error=error, receipt=self.receipt)
