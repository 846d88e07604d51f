"""The conversation list and the records behind it, sorted so that 100,000 calls can be paged quickly."""

from __future__ import annotations

import bisect
import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from formant_provider.sandbox.batches import AttemptSeries, Batch
from formant_provider.sandbox.calls import Attempt
from formant_provider.sandbox.settings import ListOrder

_SORT_KEYS: dict[ListOrder, Callable[[Attempt], Any]] = {
    "newest_first": lambda attempt: attempt.starts_at,
    "oldest_first": lambda attempt: attempt.starts_at,
    "newest_end_first": lambda attempt: attempt.ends_at,
    # A hash: as good as random, but the same each time.
    "unordered": lambda attempt: hashlib.blake2b(attempt.conversation_id.encode(), digest_size=8).digest(),
}


class Source(Protocol):
    """Anything that returns an attempt by its index. Rows of a batch call become attempts only then."""

    def __getitem__(self, index: int, /) -> Attempt: ...


Entry = tuple[Any, int, Source, int]
"""Sort key, a number that keeps equal keys in the order of their acceptance, source, index in the source."""


class Conversations:
    """Every attempt that has or will have a record. The times it is asked about must not go back.

    :param order: order of the list.
    """

    def __init__(self, order: ListOrder) -> None:
        self._sort_key = _SORT_KEYS[order]
        self._descending = order.startswith("newest")
        self._attempts: list[Attempt] = []
        self._by_id: dict[str, Attempt] = {}
        # Attempts whose record is not due yet: when it is, sort number, index in _attempts.
        self._upcoming: list[tuple[datetime, int, int]] = []
        self._batches: list[Batch] = []
        self._series: list[_ListedSeries] = []
        # One list for each tenant and agent, and one for each tenant with all agents (None).
        self._lists: dict[tuple[str, int | None], list[Entry]] = {}
        self._numbers_used = 0

    @property
    def attempts(self) -> Sequence[Attempt]:
        """All attempts that were added one by one, in that order."""
        return self._attempts

    def add(self, attempt: Attempt, *, listed: bool = True) -> None:
        """Add an attempt, whose record appears when it is due.

        :param listed: whether it is ever in the list. It can be read by its id in any case.
        """
        if listed and attempt.recorded_at is not None:
            entry = (attempt.recorded_at, self._take_numbers(1), len(self._attempts))
            heapq.heappush(self._upcoming, entry)
        self._attempts.append(attempt)
        self._by_id[attempt.conversation_id] = attempt

    def add_batch(self, batch: Batch) -> None:
        """Add all attempts of a batch call."""
        self._batches.append(batch)
        for series in batch.series:
            self._series.append(_ListedSeries(series, self._take_numbers(batch.total_recipients)))

    def find(self, tenant: str, conversation_id: str, now: datetime) -> Attempt | None:
        """Return the attempt with this record, if it is the tenant's and can be read."""
        attempt = self._by_id.get(conversation_id) or self.find_in_batches(conversation_id)
        return attempt if attempt and attempt.tenant == tenant and attempt.recorded(now) else None

    def page(
        self, tenant: str, agent_id: int | None, now: datetime, *, offset: int, limit: int
    ) -> tuple[list[Attempt], int]:
        """Return a page of the tenant's list, and the length of the whole list.

        :param agent_id: only attempts of this agent; None is all.
        """
        self._list_due(now)
        entries = self._lists.get((tenant, agent_id), [])
        indexes = range(len(entries))[:: -1 if self._descending else 1]
        page = [entries[index] for index in indexes[offset : offset + limit]]
        return [source[index] for _, _, source, index in page], len(entries)

    def find_in_batches(self, conversation_id: str) -> Attempt | None:
        """Return the attempt with this id, readable or not, if it belongs to a batch call."""
        chain_id, _, number = conversation_id.rpartition("_")
        for batch in self._batches:
            row = batch.row_of(chain_id)
            if row is not None:
                plans = {str(plan.redial + 1): plan for plan in batch.planned_attempts(row)}
                return batch.attempt(row, plans[number]) if number in plans else None
        return None

    def _take_numbers(self, count: int) -> int:
        """Reserve this many sort numbers and return the first."""
        self._numbers_used += count
        return self._numbers_used - count

    def _list_due(self, now: datetime) -> None:
        """Sort into the lists what has become readable since the last time."""
        new: dict[tuple[str, int | None], list[Entry]] = {}
        for number, source, index in self._due(now):
            attempt = source[index]
            entry = (self._sort_key(attempt), number, source, index)
            for agent_id in (None, attempt.agent_id):
                new.setdefault((attempt.tenant, agent_id), []).append(entry)
        for key, entries in new.items():
            _insert(self._lists.setdefault(key, []), entries)

    def _due(self, now: datetime) -> Iterable[tuple[int, Source, int]]:
        while self._upcoming and self._upcoming[0][0] <= now:
            _, number, index = heapq.heappop(self._upcoming)
            yield number, self._attempts, index
        for series in self._series:
            yield from series.due(now)


class _ListedSeries:
    """A series of attempts of a batch call, and how many of them are in the list."""

    def __init__(self, series: AttemptSeries, first_number: int) -> None:
        self._series = series
        self._first_number = first_number
        self._listed = 0

    def due(self, now: datetime) -> Iterable[tuple[int, Source, int]]:
        already, self._listed = self._listed, self._series.recorded(now)
        for index in range(already, self._listed):
            yield self._first_number + self._series.rows[index], self._series, index


def _insert(entries: list[Entry], new: list[Entry]) -> None:
    """Insert a few entries one by one, which is quicker; for many, sort the whole list again."""
    if len(new) > len(entries) // 100:
        entries.extend(new)
        entries.sort()
        return
    for entry in new:
        bisect.insort(entries, entry)
