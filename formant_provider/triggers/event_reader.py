"""Reads the webhook events that one trigger waits for, and remembers how many of them Airflow has stored.

From 3.3 on Airflow says when it has stored what a trigger has fired: :class:`ConfirmedStream`. Before, that
is some time after it was fired: :func:`fired`. A reader never moves its mark past an event earlier, so
whatever dies, what comes after the mark holds all that may be missing, and maybe some that is not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from formant_provider.triggers.event_feed import EventFeed, Told

if TYPE_CHECKING:
    from formant_provider.store.store import Store
    from formant_provider.store.webhook_events import StoredEvent

log = logging.getLogger(__name__)

STORED_AFTER_S = 30.0
# Airflow fails a trigger that has more than 1,024 events to take; each is small.
MOST_UNCONFIRMED = 200
_NOTED_EVERY_S = 60.0
APART_S = 5.0


@dataclass
class Fired:
    """What is to be fired.

    :param seq: up to which all has been fired with this.
    :param is_taken: whether Airflow has taken it from the trigger.
    """

    payload: dict[str, Any]
    seq: int
    is_taken: bool = False


class Part(NamedTuple):
    """What is to be fired now, often nothing; with it, all events up to a number were fired."""

    fired: list[Fired]
    seq: int


@dataclass
class EventReader:
    """The events that one trigger waits for.

    Airflow starts a run for the first event of several, and tells the run of what was stored up to then. What
    is stored until the scheduler has made the run starts none, and waits for the event after it. So the
    newest of several is fired alone, when there was time to make a run of those before; it takes them along.

    :param name: of its mark in the store.
    :param is_wanted: whether an event is waited for.
    :param payload: makes of an event what is fired.
    """

    feed: EventFeed
    name: str
    is_wanted: Callable[[StoredEvent], bool]
    payload: Callable[[Told], dict[str, Any]]
    clock: Callable[[], float] = time.monotonic

    async def parts(self) -> AsyncIterator[Part]:
        """Yield what came since the mark, and then what comes, at least once in some seconds.

        :raises InvalidInput: as :meth:`EventFeed.after`, and AirflowNotFoundException.
        """
        seq = through = await self.feed.ask(partial(_begin, self.name))
        log.info("Webhook events are read on from number %s.", seq)
        waiting: list[Fired] = []
        last_at = -APART_S
        while True:
            stretch = await self.feed.after(seq)
            seq = stretch.seq
            waiting += self._fired([each for each in stretch.told if self.is_wanted(each.event)], seq)
            is_alone = len(waiting) == 1 and self.clock() - last_at >= APART_S
            ready, waiting = (waiting, []) if is_alone else (waiting[:-1], waiting[-1:])
            if ready:
                last_at, through = self.clock(), ready[-1].seq
            yield Part(ready, through if waiting else seq)

    async def note(self, seq: int) -> None:
        """Move the mark. It never goes back."""
        await self.feed.ask(partial(_note, self.name, seq))

    def _fired(self, wanted: Sequence[Told], end: int) -> list[Fired]:
        from formant_provider.store.webhook_order import told_through

        events = [each.event for each in wanted]
        through = (told_through(events, count, end) for count in range(1, len(events) + 1))
        return [Fired(self.payload(each), seq) for each, seq in zip(wanted, through, strict=True)]


def _begin(name: str, store: Store) -> int:
    """Return where a reader's mark is. A reader begins now: history starts no DAG."""
    from formant_provider.store.webhook_events import last_seq, read_cursor, write_cursor

    known = read_cursor(store, name)
    if known is None:
        known = last_seq(store)
        write_cursor(store, name, known)
    return known


def _note(name: str, seq: int, store: Store) -> None:
    from formant_provider.store.webhook_events import write_cursor

    write_cursor(store, name, seq)


async def fired(reader: EventReader, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[Fired]:
    """Yield what is to be fired. The mark is moved to what was fired half a minute ago."""
    past: deque[tuple[float, int]] = deque()
    noted = -1
    async for part in reader.parts():
        for each in part.fired:
            yield each
        if not past or past[-1][1] < part.seq:
            past.append((clock(), part.seq))
        stored = None
        while past and past[0][0] <= clock() - STORED_AFTER_S:
            stored = past.popleft()[1]
        if stored is not None and stored > noted:
            await reader.note(stored)
            noted = stored


class ConfirmedStream:
    """What Airflow 3.3 and later call a producer: it is told which events Airflow has stored.

    Each trigger has a stream of its own, since one that is shared has one mark: whoever comes to it late, as
    all but one do after a restart, would miss what the others have confirmed.
    """

    def __init__(self, reader: EventReader, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._room = asyncio.Semaphore(MOST_UNCONFIRMED)
        self._unconfirmed = 0
        self._noted_at = clock()

    async def open_stream(self) -> AsyncIterator[tuple[Fired, Fired]]:
        """Yield what is to be fired, as the event and as what :meth:`advance` is given of it."""
        async for part in self._reader.parts():
            for each in part.fired:
                await self._room.acquire()
                self._unconfirmed += 1
                yield each, each
            # What nobody waits for may be read again, so it is noted seldom.
            if not self._unconfirmed and self._clock() - self._noted_at > _NOTED_EVERY_S:
                await self._note(part.seq)

    async def advance(self, batch: Sequence[Any]) -> None:
        """Move the mark to the last event of which Airflow says that it is stored.

        :raises EventsNotStored: of one it does not, so the trigger starts again at the mark.
        """
        stored = -1
        for item in batch:
            # Airflow also counts as taken what a trigger was about to fire when it was ended.
            if not (item.outcome.is_clean and item.broker_payload.is_taken):
                break
            stored = item.broker_payload.seq
            self._unconfirmed -= 1
            self._room.release()
        else:
            await self._note(stored)
            return
        if stored >= 0:
            await self._note(stored)
        raise EventsNotStored("Airflow did not store an event in time. The trigger fires it again.")

    def get_advance_lane(self, _payload: Any) -> None:
        """Say that all events are confirmed in one order."""

    async def aclose(self) -> None:
        """Leave nothing open: the store is shared."""

    async def _note(self, seq: int) -> None:
        await self._reader.note(seq)
        self._noted_at = self._clock()


class EventsNotStored(Exception):
    """Airflow has not stored what a trigger has fired."""
