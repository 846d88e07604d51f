"""Serves all who wait for batch calls with one poll: the metrics of each are read once, whoever waits.

What is read is a flow (see :mod:`formant_provider.core.flows`): others send, and others wait.

Vendor page: https://docs.formantai.com/api-reference/batch-calls
"""

from __future__ import annotations

import contextvars
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from formant_provider.api.batch_models import BatchCall, BatchMetrics
from formant_provider.api.errors import FormantError, InvalidRequest, NotFound
from formant_provider.api.retry import may_repeat
from formant_provider.core.batches.progress import BatchProgress, MetricsSnapshot
from formant_provider.core.flows import Flow, Query
from formant_provider.core.polling.waits import DEFAULT_POLL_INTERVAL_S, BaseFeed, BaseWaiter, Now

log = logging.getLogger(__name__)

# A batch call that was just placed may not be known everywhere yet.
DEFAULT_MISSING_TIMEOUT_S = 300.0


@dataclass(frozen=True)
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


@dataclass(eq=False)
class BatchWaiter(BaseWaiter):
    """Somebody who waits for a batch call.

    Its outcome are the metrics, once they say that it is over or once it has stalled; its error is that there
    is no such batch call, once it has been missing for long.

    :ivar missing_since: when it was first not there, since it was last seen; may be set to that of another
        process.
    """

    watch: BatchWatch
    outcome: BatchMetrics | None = None
    missing_since: datetime | None = None
    progress: BatchProgress = field(init=False)
    _has_news: bool = False
    _is_missed: bool = False
    _logged_at: datetime | None = None
    _explained: MetricsSnapshot | None = None
    # Airflow keeps the lines of tasks apart by their context, and all who wait share one poll.
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def __post_init__(self) -> None:
        stall_timeout = timedelta(seconds=self.watch.stall_timeout_s)
        self.progress = BatchProgress(self.watch.total_recipients, stall_timeout)

    def see(self, metrics: BatchMetrics, now: datetime) -> None:
        """Take in what a look brought; the wait may end with it."""
        self.missing_since = None
        self._has_news |= self.progress.see(metrics, now)
        self._log(now)
        if self.progress.is_over:
            self.end(metrics)

    def miss(self, error: FormantError, now: datetime) -> None:
        """Note that the API does not know it, or not yet: logged once, and believed after a while."""
        self.missing_since = self.missing_since or now
        if now - self.missing_since >= timedelta(seconds=self.watch.missing_timeout_s):
            self.end(error=error)
        elif not self._is_missed:
            self._is_missed = True
            text = "%s. Waiting continues for batch call %s."
            self._context.run(log.warning, text, error, self.watch.batch_id)

    def _log(self, now: datetime) -> None:
        batch_id, interval = self.watch.batch_id, timedelta(seconds=self.watch.poll_interval_s)
        is_time = self._logged_at is None or now - self._logged_at >= interval or self.progress.is_over
        if self._has_news and is_time:
            self._has_news, self._logged_at = False, now
            self._context.run(log.info, "Batch call %s: %s.", batch_id, self.progress.in_words())
        if self._explained is not self.progress.changed and (text := self.progress.why_it_waits(now)):
            self._explained = self.progress.changed
            self._context.run(log.info, "Batch call %s: %s.", batch_id, text)


class BatchFeed(BaseFeed[BatchWaiter]):
    """All who wait for batch calls of one account."""

    def __init__(self, now: Now) -> None:
        super().__init__(BatchWaiter, now)
        self._read_at: dict[int, datetime] = {}
        self._totals: dict[int, int | None] = {}

    def leave(self, waiter: BatchWaiter) -> None:
        """Stop waiting, whether there was an outcome or not."""
        super().leave(waiter)
        batch_id = waiter.watch.batch_id
        if batch_id not in self._waiting():
            self._read_at.pop(batch_id, None)
            self._totals.pop(batch_id, None)

    def due_at(self) -> datetime | None:
        """Return when the first batch call is due to be read; ``None`` when nobody waits."""
        return min(self._due(self._now()).values(), default=None)

    def poll(self) -> Flow[None]:
        """Look once at every batch call whose interval has passed."""
        now, postponed = self._now(), None
        for batch_id in [batch_id for batch_id, due_at in self._due(now).items() if due_at <= now]:
            try:
                yield from self._look_at(batch_id)
            except FormantError as error:
                if not may_repeat(error):
                    raise
                postponed = error  # one that cannot be read must not hold up the others
        if postponed:
            raise postponed

    def _waiting(self) -> dict[int, list[BatchWaiter]]:
        waiting = defaultdict(list)
        for waiter in self.waiters:
            if not waiter.is_done:
                waiting[waiter.watch.batch_id].append(waiter)
        return waiting

    def _due(self, now: datetime) -> dict[int, datetime]:
        """Return when each batch call is due; newcomers have a first look at once."""
        due = {}
        for batch_id, waiters in self._waiting().items():
            read_at = self._read_at.get(batch_id)
            interval = timedelta(seconds=min(waiter.watch.poll_interval_s for waiter in waiters))
            everybody_looked = all(waiter.looks for waiter in waiters)
            due[batch_id] = read_at + interval if read_at and everybody_looked else now
        return due

    def _look_at(self, batch_id: int) -> Flow[None]:
        self._read_at[batch_id] = self._now()
        total: int | None = yield from self._total(batch_id)
        metrics: BatchMetrics | None = yield from self._if_there(
            batch_id, lambda client: client.get_batch_metrics(batch_id)
        )
        for waiter in self._waiting()[batch_id]:
            waiter.looks += 1
            waiter.progress.total_recipients = waiter.watch.total_recipients or total
            if metrics is not None:
                waiter.see(metrics, self._now())

    def _total(self, batch_id: int) -> Flow[int | None]:
        """Read how many recipients there are, unless all who wait know."""
        if all(waiter.watch.total_recipients for waiter in self._waiting()[batch_id]):
            return None
        if not self._totals.get(batch_id):
            batch: BatchCall | None = yield from self._if_there(
                batch_id, lambda client: client.get_batch_call(batch_id)
            )
            self._totals[batch_id] = batch.total_recipients if batch else None
        return self._totals[batch_id]

    def _if_there(self, batch_id: int, query: Query) -> Flow[Any]:
        """Read what may not be there yet: then it is ``None``."""
        try:
            return (yield query)
        except (NotFound, InvalidRequest) as error:
            for waiter in self._waiting()[batch_id]:
                waiter.miss(error, self._now())
            return None
