"""The ends of calls in the order in which they come: what webhooks tell of.

Rows of a batch call become attempts one at a time, when the row before has ended.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from formant_provider.sandbox.batches import AttemptSeries, Batch
from formant_provider.sandbox.calls import Attempt, Call


@dataclass(frozen=True)
class CallEnd:
    """An attempt that ends.

    :param parameters: what the agent was given for it, without the recipient.
    """

    attempt: Attempt
    parameters: Mapping[str, str]


class CallEnds:
    """All ends that are still to come, as far as they were added."""

    def __init__(self) -> None:
        # When the next end of a source comes, a number that keeps equal times in order, that end, the rest.
        self._sources: list[tuple[datetime, int, CallEnd, Iterator[CallEnd]]] = []
        self._numbers = itertools.count()

    def add(self, attempt: Attempt) -> None:
        """Add the end of one attempt."""
        self._push(iter([CallEnd(attempt, _parameters(attempt))]))

    def add_batch(self, batch: Batch, after: datetime) -> None:
        """Add the ends of all attempts of a batch call that come after a time."""
        for series in batch.series:
            self._push(_ends(series, after))

    def until(self, now: datetime) -> Iterator[CallEnd]:
        """Return what has ended, and forget it."""
        while self._sources and self._sources[0][0] <= now:
            _, _, end, rest = heapq.heappop(self._sources)
            yield end
            self._push(rest)

    def next_at(self) -> datetime | None:
        """Return when the next attempt ends."""
        return self._sources[0][0] if self._sources else None

    def _push(self, ends: Iterator[CallEnd]) -> None:
        for first in itertools.islice(ends, 1):
            heapq.heappush(self._sources, (first.attempt.ends_at, next(self._numbers), first, ends))


def _ends(series: AttemptSeries, after: datetime) -> Iterator[CallEnd]:
    for index in range(series.count_since(after, series.plan.ends), len(series.rows)):
        yield CallEnd(series[index], series.batch.parameters(series.rows[index]))


def _parameters(attempt: Attempt) -> dict[str, str]:
    given = attempt.request.parameters if isinstance(attempt, Call) else []
    return {each.name: each.value for each in given if each.name != "customer_phone"}
