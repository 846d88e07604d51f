"""The records that can be read, kept in the order of the list, so that 100,000 calls can be paged quickly."""

from __future__ import annotations

import bisect
import hashlib
import heapq
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from formant_provider.sandbox.calls import Call
from formant_provider.sandbox.settings import ListOrder


def _start(call: Call) -> Any:
    return call.starts_at


def _end(call: Call) -> Any:
    return call.ends_at


def _scattered(call: Call) -> Any:
    return hashlib.blake2b(call.conversation_id.encode(), digest_size=8).digest()


_SORTED_BY: dict[ListOrder, Callable[[Call], Any]] = {
    "newest_first": _start,
    "oldest_first": _start,
    "newest_end_first": _end,
    "unordered": _scattered,
}

Entry = tuple[Any, int, Call]
"""A call behind what it is sorted by; the number in between keeps equals in the order of their placing."""


class Records:
    """Every call that has or will have a record. The time it is asked about must not go back.

    :param order: order of the list.
    """

    def __init__(self, order: ListOrder) -> None:
        self._sorted_by = _SORTED_BY[order]
        self._backwards = order.startswith("newest")
        self._by_id: dict[str, Call] = {}
        self._to_come: list[tuple[datetime, int, Call]] = []
        self._lists: dict[tuple[str, int | None], list[Entry]] = {}

    def add(self, call: Call) -> None:
        """Take a call in; it shows when its record is due."""
        if call.recorded_at is not None:
            heapq.heappush(self._to_come, (call.recorded_at, len(self._by_id), call))
        self._by_id[call.conversation_id] = call

    def find(self, tenant: str, conversation_id: str, now: datetime) -> Call | None:
        """Return the call with that record, if the tenant has it and it can be read."""
        call = self._by_id.get(conversation_id)
        return call if call and call.tenant == tenant and call.recorded(now) else None

    def page(
        self, tenant: str, agent_id: int | None, now: datetime, *, offset: int, limit: int
    ) -> tuple[list[Call], int]:
        """Return a page of the tenant's list, and how many records the whole list has.

        :param agent_id: only calls of this agent; None is all.
        """
        self._let_in(now)
        entries = self._lists.get((tenant, agent_id), [])
        places = range(len(entries))[:: -1 if self._backwards else 1]
        return [entries[place][2] for place in places[offset : offset + limit]], len(entries)

    def _let_in(self, now: datetime) -> None:
        """Sort into the lists what has become readable since the last time."""
        new: dict[tuple[str, int | None], list[Entry]] = {}
        while self._to_come and self._to_come[0][0] <= now:
            _, number, call = heapq.heappop(self._to_come)
            entry = (self._sorted_by(call), number, call)
            for key in self._keys(call):
                new.setdefault(key, []).append(entry)
        for key, entries in new.items():
            _sort_in(self._lists.setdefault(key, []), entries)

    @staticmethod
    def _keys(call: Call) -> Iterable[tuple[str, int | None]]:
        return (call.tenant, None), (call.tenant, call.agent_id)


def _sort_in(entries: list[Entry], new: list[Entry]) -> None:
    """Put a few where they belong, one by one; many by sorting everything anew."""
    if len(new) > len(entries) // 100:
        entries.extend(new)
        entries.sort()
        return
    for entry in new:
        bisect.insort(entries, entry)
