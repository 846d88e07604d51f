"""Batch calls: no row is a thing of its own until somebody looks, so that a million of them cost little."""

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

from formant_provider.sandbox.calls import Attempt
from formant_provider.sandbox.course import Leg, course_of
from formant_provider.sandbox.numbers import COMPLETED, ENDINGS, Ending
from formant_provider.sandbox.rows import Rows
from formant_provider.sandbox.settings import ListOrder, Settings

FIRST_BATCH_ID = 1001
_MINUTE_US = 60_000_000
_ROW_DIGITS = 12


@dataclass(frozen=True)
class Tally:
    """How many recipients of a batch are where. Those not rung yet are in none of these.

    :param in_progress: being talked to, or their phone is ringing.
    :param pending_retry: to be redialled by the platform.
    :param ended: done with, by the ending of their last attempt.
    """

    in_progress: int
    pending_retry: int
    ended: Counter[Ending]


class Batch:
    """One accepted batch call: row after row is rung, at a steady pace.

    :param batch_id: what the API calls its ``id``.
    :param rows: its recipients, and what the agent is told of each.
    :ivar unseen_reads: list reads that will leave it out yet.
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
        # Ids end in the number of their row, so that the row is found by them.
        self._chain_prefix = _id_prefix()
        self._trace_prefixes = [_id_prefix() for _ in range(settings.platform_redials + 1)]

    @property
    def total_recipients(self) -> int:
        """How many rows it has."""
        return len(self._rows)

    @property
    def scattered(self) -> str:
        """A text for an order that is arbitrary, but always the same."""
        return self._chain_prefix

    def rows(self) -> Iterator[dict[str, str]]:
        """Return each row of the file by its columns, ``customer_phone`` among them."""
        return self._rows.cells()

    def phones(self) -> Iterator[str]:
        """Return the recipient of each row; rung once a row."""
        return map(self._rows.phone, range(len(self._rows)))

    def tally(self, now: datetime) -> Tally:
        """Count where the recipients are."""
        in_progress = pending_retry = 0
        ended: Counter[Ending] = Counter()
        for strands in self._courses:
            started = [strand.begun(now, strand.leg.starts) for strand in strands]
            over = [strand.begun(now, strand.leg.ends) for strand in strands]
            in_progress += sum(started) - sum(over)
            pending_retry += sum(over[:-1]) - sum(started[1:])
            ended[strands[-1].leg.ending] += over[-1]
        return Tally(in_progress, pending_retry, ended)

    @property
    def strands(self) -> list[Strand]:
        """All attempts there will ever be, in strands."""
        return list(itertools.chain.from_iterable(self._courses))

    def course(self, row: int) -> tuple[Leg, ...]:
        """Return the attempts of a row."""
        return course_of(ENDINGS.get(self._rows.phone(row)[-2:], COMPLETED), self._settings)

    def row_of(self, chain_id: str) -> int | None:
        """Return the row whose chain that is."""
        found = re.fullmatch(rf"{self._chain_prefix}([0-9]{{{_ROW_DIGITS}}})", chain_id)
        return int(found[1]) if found and int(found[1]) < len(self._rows) else None

    def attempt(self, row: int, leg: Leg) -> Attempt:
        """Return one attempt at a row's recipient."""
        due = self.created_at + timedelta(microseconds=row * _MINUTE_US // self._pace)
        traced_apart = leg.redial if self._settings.redial_trace_id == "new" else 0
        return Attempt(
            tenant=self.tenant,
            agent_id=self.agent_id,
            customer_phone=self._rows.phone(row),
            chain_id=f"{self._chain_prefix}{row:0{_ROW_DIGITS}}",
            attempt=leg.redial + 1,
            trace_id=f"{self._trace_prefixes[traced_apart]}{row:0{_ROW_DIGITS}}",
            starts_at=due + leg.starts,
            ends_at=due + leg.ends,
            recorded_at=None if leg.recorded is None else due + leg.recorded,
            ending=leg.ending,
            redial=leg.redial,
        )

    def rows_due(self, now: datetime, after: timedelta) -> int:
        """Return for how many rows it is so long, or longer, since they were first rung."""
        since_us = (now - self.created_at - after) // timedelta(microseconds=1)
        # The first row that is not: row * minute // pace > since, turned round, in whole numbers.
        due = -(-(since_us + 1) * self._pace // _MINUTE_US)
        return min(max(due, 0), len(self._rows))

    @property
    def _pace(self) -> int:
        return self._settings.batch_calls_per_minute

    @cached_property
    def _courses(self) -> list[list[Strand]]:
        """The strands of each group of rows that have the same course."""
        return [
            [Strand(self, leg, rows) for leg in course_of(ENDINGS.get(digits, COMPLETED), self._settings)]
            for digits, rows in self._rows.groups.items()
        ]


@dataclass(frozen=True)
class Strand:
    """The n-th attempts of all rows with the same course: they begin, end and show in the order of the rows.

    :param rows: numbers of the rows, rising.
    """

    batch: Batch
    leg: Leg
    rows: array[int]

    def __getitem__(self, place: int) -> Attempt:
        return self.batch.attempt(self.rows[place], self.leg)

    def begun(self, now: datetime, after: timedelta) -> int:
        """Return for how many of the rows it is so long, or longer, since they were first rung."""
        return bisect.bisect_left(self.rows, self.batch.rows_due(now, after))

    def recorded(self, now: datetime) -> int:
        """Return for how many of the rows this attempt has a record."""
        return 0 if self.leg.recorded is None else self.begun(now, self.leg.recorded)


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
        """Return the id of the batch to come."""
        return FIRST_BATCH_ID + len(self._all)

    def add(self, batch: Batch) -> None:
        """Take a batch in."""
        self._all.append(batch)

    def find(self, tenant: str, batch_id: str) -> Batch | None:
        """Return the tenant's batch by its id as text."""
        return next((b for b in self._all if b.tenant == tenant and str(b.batch_id) == batch_id), None)

    def page(self, tenant: str, agent_id: int | None, *, offset: int, limit: int) -> tuple[list[Batch], int]:
        """Return a page of the tenant's list, and how many batches the whole list has.

        A batch that the list does not show yet has come one read closer, if the page would have shown it.

        :param agent_id: only batches of this agent; None is all.
        """
        asked = [b for b in self._all if b.tenant == tenant and agent_id in (None, b.agent_id)]
        asked = self._in_order(asked)
        shown = [batch for batch in asked if not batch.unseen_reads]
        for batch in asked[offset : offset + limit]:
            batch.unseen_reads = max(batch.unseen_reads - 1, 0)
        return shown[offset : offset + limit], len(shown)

    def _in_order(self, batches: list[Batch]) -> list[Batch]:
        if self._order == "unordered":
            return sorted(batches, key=lambda batch: batch.scattered)
        return batches if self._order == "oldest_first" else batches[::-1]
