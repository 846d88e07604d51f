"""Readers of what has come: each goes on from where it was, in a thread of its own.

A reader notes in the store how far it has come, so that it goes on after a restart. Several processes may
read under one name; whatever a reader does with an event must be right if it is done twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from formant_provider.api.errors import FormantError, StoreMisconfigured, StoreUnavailable
from formant_provider.api.log_throttle import LogThrottle
from formant_provider.api.webhook_config import DEFAULT_KEEP_FOR
from formant_provider.core.conversations.statuses import FINAL, ended
from formant_provider.store.outcomes import known_ids, record_outcome
from formant_provider.store.webhook_events import events_after, forget, last_seq, read_cursor, write_cursor

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation
    from formant_provider.store.store import Store
    from formant_provider.webhooks.connections import Connections

log = logging.getLogger(__name__)

PAUSE_S = 1.0
# While events come all the time.
LEAST_PAUSE_S = 0.2
CLOSING_S = 5.0
OUTCOMES = "outcomes"
_FORGET_EVERY_S = 3600.0
_FORGET_AT_ONCE = 5000


class Reader(Protocol):
    """Does something with each event of a store."""

    @property
    def name(self) -> str:
        """Under which it notes how far it has come."""

    def advance(self, store: Store) -> bool:
        """Read some events; return whether there may be more.

        :raises Exception: it could not; it is called again later.
        """


class Outcomes:
    """Writes down how calls of the store ended, whether or not a task waits for them."""

    name = OUTCOMES

    def advance(self, store: Store) -> bool:
        """Do so for a page of events."""
        seq = read_cursor(store, self.name) or 0
        page = events_after(store, seq)
        told = ((each.seq, each.event.conversation) for each in page.events)
        records = {number: record for number, record in told if record and _is_over(record)}
        known = known_ids(store, [(record.trace_id, record.conversation_id) for record in records.values()])
        for number, record in records.items():
            if {record.trace_id, record.conversation_id} & known:
                _write(store, number, record)
        if page.seq > seq:
            write_cursor(store, self.name, page.seq)
        return not page.is_last


def _write(store: Store, seq: int, record: Conversation) -> None:
    """Write down how a call ended. What no database takes is left out, and holds up no other."""
    try:
        record_outcome(
            store,
            trace_id=record.trace_id,
            conversation_id=record.conversation_id,
            outcome=record.status or "",
            ended_at=ended(record),
            now=datetime.now(UTC),
            keeps_later=True,
        )
    except Exception as error:
        if isinstance(error, StoreUnavailable | StoreMisconfigured) and error.problem != "failed":
            raise
        last_seq(store)  # if it does not answer this either, it is not for the record
        log.warning("The outcome in webhook event %s is not written down: %s", seq, type(error).__name__)


def _is_over(record: Conversation) -> bool:
    """Whether an event tells of an end: one of a type to come may tell of something else."""
    return record.status in FINAL or bool(record.status and record.end_timestamp)


class Retention:
    """Deletes events once an hour: those that are older than their connection says.

    Those of a connection that is not named go by the longest time of those that are, at least 30 days.

    One whose outcome is not written down yet stays.

    :param keep_for: returns of each connection how long its events are kept.
    """

    name = "retention"

    def __init__(
        self,
        keep_for: Callable[[], dict[str, timedelta]],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keep_for = keep_for
        self._clock = clock
        self._now = now
        self._next: dict[str, float] = {}

    def advance(self, store: Store) -> bool:
        """Delete some; an hour later, the next ones."""
        if self._clock() < self._next.get(store.where, 0):
            return False
        through, lengths = read_cursor(store, OUTCOMES) or 0, self._keep_for()
        delete = partial(forget, store, through=through, most=_FORGET_AT_ONCE)
        longest = max([DEFAULT_KEEP_FOR, *lengths.values()])
        deleted = delete(self._now() - longest, besides=list(lengths))
        for conn_id, length in lengths.items():
            deleted = max(deleted, delete(self._now() - length, conn_id=conn_id))
        if deleted < _FORGET_AT_ONCE:
            self._next[store.where] = self._clock() + _FORGET_EVERY_S
            return False
        return True


class ReaderThread:
    """Lets a reader read all stores, again and again."""

    def __init__(self, reader: Reader, connections: Connections) -> None:
        self._reader = reader
        self._connections = connections
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._throttle = LogThrottle(first_after_s=0)
        name = f"formant-webhooks-{reader.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Let it look at once, since something has come."""
        self._woken.set()

    def close(self) -> None:
        """End after what is being read now."""
        self._closing.set()
        self._woken.set()
        self._thread.join(CLOSING_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            has_more = False
            for store in self._connections.stores():
                has_more |= self._advance(store)
            if not has_more:
                self._woken.wait(PAUSE_S)
                self._closing.wait(LEAST_PAUSE_S)

    def _advance(self, store: Store) -> bool:
        try:
            return self._reader.advance(store)
        except Exception as error:  # the next time may be better, and no other reader is to be ended
            if self._throttle.is_due():
                reason = str(error) if isinstance(error, FormantError) else type(error).__name__
                log.warning("Reading webhook events (%s) was interrupted: %s", self._reader.name, reason)
            return False
