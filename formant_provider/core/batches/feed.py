"""Serves all who wait for batch calls with one poll: the metrics of each are read once, whoever waits.

What is read is a flow (see :mod:`formant_provider.core.flows`): others send, and others wait.

Vendor page: https://docs.formantai.com/api-reference/batch-calls
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from formant_provider.api.batch_models import BatchCall, BatchMetrics
from formant_provider.core.batches.progress import BatchProgress, MetricsSnapshot
from formant_provider.core.flows import Flow
from formant_provider.core.polling.by_id import DEFAULT_MISSING_TIMEOUT_S, ByIdFeed, ByIdWaiter
from formant_provider.core.polling.waits import DEFAULT_POLL_INTERVAL_S, Now

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchWatch:
    """Which batch call is waited for. Nothing private.

    :param total_recipients: ``None`` when it is not known; then it is read from the API.
    :param stall_timeout_s: seconds without any change after which it is over.
    :param poll_interval_s: seconds between two looks, if the API's limits allow it.
    :param missing_timeout_s: seconds after which one that the API does not know is taken not to exist.
    """

    batch_id: int
    total_recipients: int | None
    stall_timeout_s: float
    poll_interval_s: float = DEFAULT_POLL_INTERVAL_S
    missing_timeout_s: float = DEFAULT_MISSING_TIMEOUT_S

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same watch of: plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> BatchWatch:
        """Read what :meth:`to_json` wrote."""
        return cls(**fields)


@dataclass(eq=False, slots=True)
class BatchWaiter(ByIdWaiter):
    """Somebody who waits for a batch call.

    Its outcome are the metrics, once they say that it is over or once it has stalled.
    """

    watch: BatchWatch
    outcome: BatchMetrics | None = None
    progress: BatchProgress = field(init=False)
    _has_news: bool = False
    _logged_at: datetime | None = None
    _explained: MetricsSnapshot | None = None

    def __post_init__(self) -> None:
        stall_timeout = timedelta(seconds=self.watch.stall_timeout_s)
        self.progress = BatchProgress(self.watch.total_recipients, stall_timeout)

    @property
    def watched_id(self) -> int:
        """The id of the batch call."""
        return self.watch.batch_id

    @property
    def subject(self) -> str:
        """The batch call."""
        return f"batch call {self.watch.batch_id}"

    def see(self, metrics: BatchMetrics, now: datetime) -> None:
        """Take in what a look brought; the wait may end with it."""
        self.missing_since = None
        self._has_news |= self.progress.see(metrics, now)
        self._report(now)
        if self.progress.is_over:
            self.end(metrics)

    def _report(self, now: datetime) -> None:
        batch_id, interval = self.watch.batch_id, timedelta(seconds=self.watch.poll_interval_s)
        is_time = self._logged_at is None or now - self._logged_at >= interval or self.progress.is_over
        if self._has_news and is_time:
            self._has_news, self._logged_at = False, now
            self.tell(log.info, "Batch call %s: %s.", batch_id, self.progress.in_words())
        if self._explained is not self.progress.changed and (text := self.progress.why_it_waits(now)):
            self._explained = self.progress.changed
            self.tell(log.info, "Batch call %s: %s.", batch_id, text)


class BatchFeed(ByIdFeed[BatchWaiter]):
    """All who wait for batch calls of one account."""

    def __init__(self, now: Now) -> None:
        super().__init__(BatchWaiter, now)
        self._totals: dict[int, int | None] = {}

    def forget(self, watched_id: int) -> None:
        """Keep nothing of a batch call for which nobody waits any more."""
        super().forget(watched_id)
        self._totals.pop(watched_id, None)

    def look_at(self, watched_id: int) -> Flow[None]:
        """Read the metrics of one batch call."""
        total: int | None = yield from self._total(watched_id)
        metrics: BatchMetrics | None = yield from self.if_there(
            watched_id, lambda client: client.get_batch_metrics(watched_id)
        )
        for waiter in self.waiting()[watched_id]:
            waiter.looks += 1
            waiter.progress.total_recipients = waiter.watch.total_recipients or total
            if metrics is not None:
                waiter.see(metrics, self._now())

    def _total(self, batch_id: int) -> Flow[int | None]:
        """Read how many recipients there are, unless all who wait know."""
        if all(waiter.watch.total_recipients for waiter in self.waiting()[batch_id]):
            return None
        if not self._totals.get(batch_id):
            batch: BatchCall | None = yield from self.if_there(
                batch_id, lambda client: client.get_batch_call(batch_id)
            )
            self._totals[batch_id] = batch.total_recipients if batch else None
        return self._totals[batch_id]
