"""Batch calls: how their rows are called over time, and the list of them.

Attempts of rows are not stored but computed when somebody looks, so that a million rows cost little memory.
"""

from __future__ import annotations

import bisect
import itertools
import re
import uuid
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from formant_provider.sandbox.batch_file import PHONE_COLUMN, Rows
from formant_provider.sandbox.calls import Attempt
from formant_provider.sandbox.numbers import COMPLETED, ENDINGS, Ending, ending_of
from formant_provider.sandbox.redials import PlannedAttempt, plan_attempts
from formant_provider.sandbox.settings import ListOrder, Settings

FIRST_BATCH_ID = 1001
_MINUTE_US = 60_000_000
_ROW_DIGITS = 12


@dataclass(frozen=True)
class Tally:
    """How many recipients of a batch call are in which state. Those not called yet are in none.

    :param in_progress: a call to them runs.
    :param pending_retry: the platform will redial them.
    :param ended: no further attempt follows; by the ending of their last attempt.
    """

    in_progress: int
    pending_retry: int
    ended: Counter[Ending]


class Batch:
    """One accepted batch call, whose rows are called one after the other at a steady rate.

    :param batch_id: the ``id`` in the API.
    :param rows: its recipients, and the parameters of each.
    :ivar unseen_reads: how many more list reads leave it out.
    """

    def __init__(
        self,
        *,
        tenant: str,
        batch_id: int,
        name: str,
        agent_id: int,
        created_at: datetime,
        rows: Rows,
        settings: Settings,
    ) -> None:
        self.tenant = tenant
        self.batch_id = batch_id
        self.name = name
        self.agent_id = agent_id
        self.created_at = created_at
        self.unseen_reads = settings.batch_list_lag_reads
        self._rows = rows
        self._settings = settings
        # The ids of a row end in its number, so a row is found by an id without any index.
        self._chain_prefix = _id_prefix()
        self._trace_prefixes = [_id_prefix() for _ in range(settings.platform_redials + 1)]

    @property
    def total_recipients(self) -> int:
        """The number of its rows."""
        return len(self._rows)

    @property
    def random_sort_key(self) -> str:
        """A text to sort by where the order is to be arbitrary, but the same each time."""
        return self._chain_prefix

    def rows(self) -> Iterator[dict[str, str]]:
        """Return each row of the file by its columns, ``customer_phone`` among them."""
        return self._rows.cells()

    def parameters(self, row: int) -> dict[str, str]:
        """Return the other columns of a row. From the first time on, the whole file is in memory."""
        return {name: value for name, value in self._all_cells[row].items() if name != PHONE_COLUMN}

    def phones(self) -> Iterator[str]:
        """Return the recipient of each row. A recipient rings once for each of their rows."""
        return map(self._rows.phone, range(len(self._rows)))

    def tally(self, now: datetime) -> Tally:
        """Count the recipients by their state."""
        in_progress = pending_retry = 0
        ended: Counter[Ending] = Counter()
        for group in self._series_by_group:
            started = [series.count_since(now, series.plan.starts) for series in group]
            over = [series.count_since(now, series.plan.ends) for series in group]
            in_progress += sum(started) - sum(over)
            # Whose n-th attempt is over but whose next one has not started.
            pending_retry += sum(over[:-1]) - sum(started[1:])
            ended[group[-1].plan.ending] += over[-1]
        return Tally(in_progress, pending_retry, ended)

    @property
    def series(self) -> list[AttemptSeries]:
        """All attempts there will ever be."""
        return list(itertools.chain.from_iterable(self._series_by_group))

    def planned_attempts(self, row: int) -> tuple[PlannedAttempt, ...]:
        """Return the attempts of a row, with times that count from its first attempt."""
        return plan_attempts(ending_of(self._rows.phone(row)), self._settings)

    def row_of(self, chain_id: str) -> int | None:
        """Return the row that has this chain id."""
        found = re.fullmatch(rf"{self._chain_prefix}([0-9]{{{_ROW_DIGITS}}})", chain_id)
        return int(found[1]) if found and int(found[1]) < len(self._rows) else None

    def attempt(self, row: int, plan: PlannedAttempt) -> Attempt:
        """Return one attempt to reach the recipient of a row."""
        first_start = self.created_at + timedelta(microseconds=row * _MINUTE_US // self._rows_per_minute)
        trace = plan.redial if self._settings.redial_trace_id == "new" else 0
        return Attempt(
            tenant=self.tenant,
            agent_id=self.agent_id,
            customer_phone=self._rows.phone(row),
            chain_id=f"{self._chain_prefix}{row:0{_ROW_DIGITS}}",
            attempt=plan.redial + 1,
            trace_id=f"{self._trace_prefixes[trace]}{row:0{_ROW_DIGITS}}",
            **plan.fields_at(first_start),
        )

    def rows_started_before(self, now: datetime, ago: timedelta) -> int:
        """Return how many rows had their first attempt this long ago, or longer."""
        since_us = (now - self.created_at - ago) // timedelta(microseconds=1)
        # The first row r for which r * minute // rate > since, solved for r in whole numbers.
        started = -(-(since_us + 1) * self._rows_per_minute // _MINUTE_US)
        return min(max(started, 0), len(self._rows))

    @property
    def _rows_per_minute(self) -> int:
        return self._settings.batch_calls_per_minute

    @cached_property
    def _all_cells(self) -> list[dict[str, str]]:
        return list(self._rows.cells())

    @cached_property
    def _series_by_group(self) -> list[list[AttemptSeries]]:
        """For each group of rows with the same ending, the series of their attempts in order."""
        return [
            [
                AttemptSeries(self, plan, rows)
                for plan in plan_attempts(ENDINGS.get(digits, COMPLETED), self._settings)
            ]
            for digits, rows in self._rows.groups.items()
        ]


@dataclass(frozen=True)
class AttemptSeries:
    """The n-th attempts of all rows with the same ending. They start, end and appear in the order of rows.

    :param rows: numbers of the rows, ascending.
    """

    batch: Batch
    plan: PlannedAttempt
    rows: array[int]

    def __getitem__(self, index: int) -> Attempt:
        return self.batch.attempt(self.rows[index], self.plan)

    def count_since(self, now: datetime, ago: timedelta) -> int:
        """Return how many of the rows had their first attempt this long ago, or longer."""
        return bisect.bisect_left(self.rows, self.batch.rows_started_before(now, ago))

    def recorded(self, now: datetime) -> int:
        """Return for how many of the rows this attempt has a record."""
        return 0 if self.plan.recorded is None else self.count_since(now, self.plan.recorded)


def _id_prefix() -> str:
    return str(uuid.uuid4())[:-_ROW_DIGITS]


class Batches:
    """Every accepted batch call.

    :param order: order of the list, by the time of creation.
    """

    def __init__(self, order: ListOrder) -> None:
        self._order = order
        self._all: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._all)

    def next_id(self) -> int:
        """Return the id of the next batch call."""
        return FIRST_BATCH_ID + len(self._all)

    def add(self, batch: Batch) -> None:
        """Add an accepted batch call."""
        self._all.append(batch)

    def find(self, tenant: str, batch_id: str) -> Batch | None:
        """Return the tenant's batch call by its id as text."""
        return next((b for b in self._all if b.tenant == tenant and str(b.batch_id) == batch_id), None)

    def page(self, tenant: str, agent_id: int | None, *, offset: int, limit: int) -> tuple[list[Batch], int]:
        """Return a page of the tenant's list, and the length of the whole list.

        Where the list lags, a batch call that it still leaves out comes one read closer to it, if the page
        would have shown it.

        :param agent_id: only batch calls of this agent; None is all.
        """
        wanted = [b for b in self._all if b.tenant == tenant and agent_id in (None, b.agent_id)]
        wanted = self._in_order(wanted)
        listed = [batch for batch in wanted if not batch.unseen_reads]
        for batch in wanted[offset : offset + limit]:
            batch.unseen_reads = max(batch.unseen_reads - 1, 0)
        return listed[offset : offset + limit], len(listed)

    def _in_order(self, batches: list[Batch]) -> list[Batch]:
        if self._order == "unordered":
            return sorted(batches, key=lambda batch: batch.random_sort_key)
        return batches if self._order == "oldest_first" else batches[::-1]
