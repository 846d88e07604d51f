"""Reads the list of an agent's conversations once for all who look for calls in it.

A list of calls looks for thousands of people, one after the other, and each look alone would read the whole
list. Here the first look reads it; later ones read only what has come since then: back to the first record
that was not over, and as far as it takes until the number of records says that none is missing.

::

    refresh ─┬─ was read a moment ago ───────────────────────────► nothing is asked
             ├─ goes farther back than was read ─────────────────► all is read from there on
             └─ otherwise ─► newest pages, until ─┬─ the total says that the rest is known
                                                  └─ they are older than any call lasts

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError
from formant_provider.api.models import Conversation
from formant_provider.api.pages import Page
from formant_provider.api.retry import may_repeat
from formant_provider.core.conversations.history import LONGEST_CALL
from formant_provider.core.conversations.listed_records import ListedRecords
from formant_provider.core.conversations.listing import Listing, began_since, to_ms, too_many
from formant_provider.core.conversations.lookup import find_detail
from formant_provider.core.flows import Steps
from formant_provider.core.paging import CLOCK_SKEW_MS, recent
from formant_provider.core.vendor_clock import skew_of

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

DEFAULT_FRESH_S = 10.0
# The list may be sorted by the end of a call: a long one stands before others that began after it.
_LONGEST_CALL_MS = LONGEST_CALL // timedelta(milliseconds=1)
# A record may appear a while after its call has ended, and clocks differ.
_OVERLAP_MS = _LONGEST_CALL_MS + 600_000
# The vendor does not say what the total counts, so it is not relied on for longer than this.
_TRUST_TOTAL_FOR = timedelta(minutes=5)


class SharedListing(Listing):
    """What is in the list, for many threads at once; to be closed in the end.

    A look sees all that was in the list ``fresh_s`` before it began. What is known lies in a database that is
    in memory while it is small, and in a file without a name otherwise; it is gone when this is closed.

    :param client: sends what is read, by one thread at a time; nobody else may use it.
    :param agent_id: whose conversations are listed.
    :param now: tells the current time, aware.
    :param fresh_s: for how many seconds a reading serves all who look.
    """

    def __init__(
        self,
        client: FormantClient,
        agent_id: int,
        now: Callable[[], datetime],
        fresh_s: float = DEFAULT_FRESH_S,
    ) -> None:
        super().__init__(client, agent_id, now)
        self._fresh_for = timedelta(seconds=fresh_s)
        self._lock = threading.Lock()
        self._records = ListedRecords()
        self._skew: timedelta | None = None
        self._date: datetime | None = None
        self._since_ms: float = math.inf
        self._read_at = self._whole_at = datetime.fromtimestamp(0, UTC)
        self._beyond: int | None = None
        self._failed: tuple[float, FormantError] | None = None
        self._broken_off: _Reading | None = None
        self._opens: Callable[[], FormantClient] | None = None

    def __enter__(self) -> SharedListing:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all of it."""
        with self._lock:
            self._records.close()

    def renew_client(self, open_client: Callable[[], FormantClient]) -> None:
        """Let the next look open a client of its own, which later ones use as well; what is known stays."""
        self._opens = open_client

    @property
    def skew(self) -> timedelta | None:
        """How far the vendor's clock was ahead of ours when the list was last read, if its answer told."""
        return self._skew

    def refresh(self, begin: datetime) -> None:
        """See to it that the list is known so far back, and as it was a moment ago.

        :raises FormantError: it cannot be read. All who have waited for that reading are told so.
        """
        came, begin_ms = self.now(), to_ms(begin)
        with self._alone():
            # One that a limit broke off goes on: begun anew, one that takes more than a limit allows in its
            # window would never come to an end.
            if self._broken_off is not None:
                self._carry_on(self._broken_off)
            if begin_ms < self._since_ms:
                self._read_back_to(begin_ms)
            elif not came - self._fresh_for < self._read_at <= self.now():
                self._catch_up()

    def with_recipient(
        self,
        recipient: str,
        begin: datetime,
        in_detail: Callable[[Conversation], Conversation],  # noqa: ARG002 - keeps each detail that it reads
    ) -> list[Conversation]:
        """Return those with a person, as the last reading had them; see :class:`Listing`.

        Those whose number the list does not tell are read in detail, once for all who look.
        """
        begin_ms = to_ms(begin)
        with self._alone():
            for record in self._records.to_ask(begin_ms):
                detail = find_detail(self.client, record.conversation_id)
                self._records.note_detail(record.conversation_id, detail and detail.filled_from(record))
            found = self._records.with_number(recipient, begin_ms)
        return [record for record in found if began_since(record, begin)]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread read at a time. Those who waited for it share its error, and do not ask again."""
        came = time.monotonic()
        with self._lock:
            if self._failed and self._failed[0] > came:
                raise copy.copy(self._failed[1])
            if self._opens is not None:
                self._use(self._opens)
            try:
                yield
            except FormantError as error:
                self._failed = time.monotonic(), copy.copy(error)
                raise

    def _use(self, open_client: Callable[[], FormantClient]) -> None:
        client = open_client()  # if that fails, the next look tries again
        self.client.close()
        self.client, self._opens = client, None
        if self._broken_off is not None:
            self._broken_off.steps.client = self.client

    def _read_back_to(self, begin_ms: int) -> None:
        """Read all from a moment on; twice as far back, if it is not the first time.

        Else each of many who look a little farther back than the one before would read it all.
        """
        now_ms = to_ms(self.now() + (self._skew or timedelta()))
        twice_ms = 0 if math.isinf(self._since_ms) else max(now_ms - begin_ms, 0)
        farther_ms = begin_ms - CLOCK_SKEW_MS - twice_ms  # what the clocks say may differ the next time
        for known_ms, since_ms in ((farther_ms, farther_ms - _LONGEST_CALL_MS), (begin_ms, begin_ms)):
            if self._read(since_ms, known_ms=known_ms):
                return
        raise too_many()

    def _catch_up(self) -> None:
        """Read what may have come or changed since the last reading."""
        last_ms = to_ms(self._read_at + (self._skew or timedelta()))
        since_ms = max(int(self._since_ms), last_ms - _OVERLAP_MS)
        is_trusted = timedelta() <= self.now() - self._whole_at < _TRUST_TOTAL_FOR
        if not self._read(since_ms, self._beyond if is_trusted else None):
            raise too_many()

    def _read(self, since_ms: int, beyond: int | None = None, known_ms: float = math.inf) -> bool:
        """Read the list from a moment on; return whether all of that was read.

        :param beyond: how many records of the list were never read, since they are older. With that, reading
            ends when no other is missing, and all that were not over have been seen again.
        :param known_ms: from when on the list is known then, if that is farther back than before.
        """
        reading = _Reading(self._records, self._records.not_over(since_ms), beyond, self.now(), known_ms)
        self._beyond = None  # until it is known how this ends
        flow = recent(
            self.agent_id, since_ms, reading.take, on_answer=self._learn_clock, is_enough=reading.is_enough
        )
        reading.steps = Steps(flow, self.client)
        return self._carry_on(reading)

    def _carry_on(self, reading: _Reading) -> bool:
        """Read to the end; what breaks it off leaves it where it is, for whoever looks next."""
        self._broken_off = None
        try:
            is_whole = reading.steps.run()
        except FormantError as error:
            self._broken_off = reading if may_repeat(error) else None
            raise
        if not is_whole:
            return False
        self._records.finish_reading()
        self._read_at = reading.began_at
        self._since_ms = min(self._since_ms, reading.known_ms)
        if reading.was_enough:
            self._beyond = reading.beyond
        else:
            self._whole_at, self._beyond = self.now(), reading.beyond_all()
        return True

    def _learn_clock(self, client: FormantClient) -> None:
        """Take in the date of an answer, if it had one of its own."""
        if client.server_date is not self._date:
            self._date = client.server_date
            self._skew = skew_of(self._date, self.now())


class _Reading:
    """One reading of the list, which says when all is known that follows.

    :param unseen: ids of records that may have changed.
    :param beyond: as :meth:`SharedListing._read` has it, and ``known_ms``.
    :param began_at: when it began, however long it takes; aware.
    :ivar was_enough: whether the rest was not read.
    :ivar steps: its requests.
    """

    steps: Steps[bool]

    def __init__(
        self,
        records: ListedRecords,
        unseen: set[str],
        beyond: int | None,
        began_at: datetime,
        known_ms: float,
    ) -> None:
        self.was_enough = False
        self.beyond, self.began_at, self.known_ms = beyond, began_at, known_ms
        self._records = records
        self._unseen = unseen
        self._total: int | None = None

    def take(self, record: Conversation) -> None:
        self._unseen.discard(record.conversation_id)
        self._records.take(record)

    def is_enough(self, page: Page[Conversation]) -> bool:
        if self._total is None:  # the first one: what comes in meanwhile is not read
            self._total = page.total
        is_known = self.beyond is not None and not self._unseen
        self.was_enough = is_known and page.total == len(self._records) + (self.beyond or 0)
        return self.was_enough

    def beyond_all(self) -> int | None:
        """Return how many records of the list are older than what was read; ``None`` if nothing tells."""
        beyond = None if self._total is None else self._total - len(self._records)
        return beyond if beyond is not None and beyond >= 0 else None
