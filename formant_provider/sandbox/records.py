"""The records that can be read, kept in the order of the list, so that 100,000 calls can be paged quickly."""

from __future__ import annotations

import bisect
import hashlib
import heapq
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol

from formant_provider.sandbox.batches import Batch, Strand
from formant_provider.sandbox.calls import Attempt
from formant_provider.sandbox.settings import ListOrder


def _start(attempt: Attempt) -> Any:
    return attempt.starts_at


def _end(attempt: Attempt) -> Any:
    return attempt.ends_at


def _scattered(attempt: Attempt) -> Any:
    return hashlib.blake2b(attempt.conversation_id.encode(), digest_size=8).digest()


_SORTED_BY: dict[ListOrder, Callable[[Attempt], Any]] = {
    "newest_first": _start,
    "oldest_first": _start,
    "newest_end_first": _end,
    "unordered": _scattered,
}


class Source(Protocol):
    """Where an attempt is got from by its place: a million of them are made when they are looked at."""

    def __getitem__(self, place: int, /) -> Attempt: ...


Entry = tuple[Any, int, Source, int]
"""What an attempt is sorted by, a number that keeps equals in the order of their placing, and where it is."""


class Records:
    """Every attempt that has or will have a record. The time it is asked about must not go back.

    :param order: order of the list.
    """

    def __init__(self, order: ListOrder) -> None:
        self._sorted_by = _SORTED_BY[order]
        self._backwards = order.startswith("newest")
        self._calls: list[Attempt] = []
        self._by_id: dict[str, Attempt] = {}
        self._to_come: list[tuple[datetime, int, int]] = []
        self._batches: list[Batch] = []
        self._strands: list[_Strand] = []
        self._lists: dict[tuple[str, int | None], list[Entry]] = {}
        self._numbered = 0

    def add(self, call: Attempt, *, listed: bool = True) -> None:
        """Take a call in; it shows when its record is due.

        :param listed: whether it is ever in the list. It can be read by its id in any case.
        """
        if listed and call.recorded_at is not None:
            heapq.heappush(self._to_come, (call.recorded_at, self._numbers(1), len(self._calls)))
        self._calls.append(call)
        self._by_id[call.conversation_id] = call

    def add_batch(self, batch: Batch) -> None:
        """Take all attempts of a batch call in."""
        self._batches.append(batch)
        for strand in batch.strands:
            self._strands.append(_Strand(strand, self._numbers(batch.total_recipients)))

    def find(self, tenant: str, conversation_id: str, now: datetime) -> Attempt | None:
        """Return the attempt with that record, if the tenant has it and it can be read."""
        attempt = self._by_id.get(conversation_id) or self.of_a_batch(conversation_id)
        return attempt if attempt and attempt.tenant == tenant and attempt.recorded(now) else None

    def page(
        self, tenant: str, agent_id: int | None, now: datetime, *, offset: int, limit: int
    ) -> tuple[list[Attempt], int]:
        """Return a page of the tenant's list, and how many records the whole list has.

        :param agent_id: only attempts of this agent; None is all.
        """
        self._let_in(now)
        entries = self._lists.get((tenant, agent_id), [])
        places = range(len(entries))[:: -1 if self._backwards else 1]
        shown = [entries[place] for place in places[offset : offset + limit]]
        return [source[place] for _, _, source, place in shown], len(entries)

    def of_a_batch(self, conversation_id: str) -> Attempt | None:
        """Return the attempt with that id, readable or not, if it is one of a batch call."""
        chain_id, _, number = conversation_id.rpartition("_")
        for batch in self._batches:
            row = batch.row_of(chain_id)
            if row is not None:
                legs = {str(leg.redial + 1): leg for leg in batch.course(row)}
                return batch.attempt(row, legs[number]) if number in legs else None
        return None

    def _numbers(self, count: int) -> int:
        """Return the first of so many numbers that were not given out before."""
        self._numbered += count
        return self._numbered - count

    def _let_in(self, now: datetime) -> None:
        """Sort into the lists what has become readable since the last time."""
        new: dict[tuple[str, int | None], list[Entry]] = {}
        for number, source, place in self._due(now):
            attempt = source[place]
            entry = (self._sorted_by(attempt), number, source, place)
            for agent_id in (None, attempt.agent_id):
                new.setdefault((attempt.tenant, agent_id), []).append(entry)
        for key, entries in new.items():
            _sort_in(self._lists.setdefault(key, []), entries)

    def _due(self, now: datetime) -> Iterable[tuple[int, Source, int]]:
        while self._to_come and self._to_come[0][0] <= now:
            _, number, place = heapq.heappop(self._to_come)
            yield number, self._calls, place
        for strand in self._strands:
            yield from strand.due(now)


class _Strand:
    """A strand of a batch call, and how much of it was let in."""

    def __init__(self, strand: Strand, first_number: int) -> None:
        self._strand = strand
        self._first_number = first_number
        self._let_in = 0

    def due(self, now: datetime) -> Iterable[tuple[int, Source, int]]:
        already, self._let_in = self._let_in, self._strand.recorded(now)
        for place in range(already, self._let_in):
            yield self._first_number + self._strand.rows[place], self._strand, place


def _sort_in(entries: list[Entry], new: list[Entry]) -> None:
    """Put a few where they belong, one by one; many by sorting everything anew."""
    if len(new) > len(entries) // 100:
        entries.extend(new)
        entries.sort()
        return
    for entry in new:
        bisect.insort(entries, entry)
