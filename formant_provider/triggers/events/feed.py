"""Reads the webhook events of a call store for all triggers of one connection: one query a second for all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from formant_provider.hooks.formant import FormantHook
from formant_provider.triggers.events.opening import aopen_store, in_thread

if TYPE_CHECKING:
    from formant_provider.store.store import Store
    from formant_provider.store.webhook_events import StoredEvent

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
# Airflow starts a trigger of this kind again as soon as it has failed.
REFUSED_FOR_S = 30.0


class Told(NamedTuple):
    """An event, and the reference of its call."""

    event: StoredEvent
    reference: str | None


class Stretch(NamedTuple):
    """All events after one number, up to another; of each conversation in order."""

    after: int
    seq: int
    told: list[Told]
    is_last: bool


class EventFeed:
    """The events of a connection's call store, for whoever reads on in this event loop.

    An outage of the store is waited for, and logged once.

    :param conn_id: the formant connection that names the store.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._store: Store | None = None
        self._newest: Stretch | None = None
        self._turn = asyncio.Lock()
        self._asked_at = self._due = 0.0
        self._pause_s = 0.0
        self._refused_at: float | None = None

    async def after(self, seq: int) -> Stretch:
        """Return the events after a number; none when none came within a second or so.

        :raises InvalidInput: the connection names no store, or one that cannot be used.
        :raises AirflowNotFoundException: there is no such connection.
        """
        if self._newest is not None and seq < self._newest.after:
            return await self.ask(partial(_read, seq))  # it has a lot to read, and holds up nobody
        came_at = _now()
        async with self._turn:
            newest = self._newest
            # Whoever waited while it was read need not ask again, also when nothing had come.
            through = -1 if newest is None else newest.seq - (self._asked_at < came_at)
            if newest is None or not newest.after <= seq <= through:
                await asyncio.sleep(self._due - _now())
                self._asked_at = _now()
                newest = self._newest = await self.ask(partial(_read, seq))
                self._due = _now() + (LOOK_EVERY_S if newest.is_last else 0)
        later = [each for each in newest.told if each.event.seq > seq]
        return newest._replace(after=seq, told=later)

    async def ask(self, work: Callable[[Store], T]) -> T:
        """Return what work finds in the store, whenever it can be asked.

        :raises InvalidInput: as :meth:`after`, and AirflowNotFoundException.
        """
        await self._let_it_be_mended()
        while True:
            try:
                store = self._store = self._store or await aopen_store(self._conn_id)
                found = await in_thread(self._conn_id, partial(work, store))
            except FormantHook.lasting_errors():
                self._store, self._refused_at = None, _now()
                raise
            except Exception as error:
                await self._wait_out(error)
            else:
                self._note_answer()
                return found

    async def _let_it_be_mended(self) -> None:
        if self._refused_at is not None:
            await asyncio.sleep(self._refused_at + REFUSED_FOR_S - _now())
            self._refused_at = None

    async def _wait_out(self, error: Exception) -> None:
        from formant_provider.api.errors import FormantError

        self._store = None  # its connection may have been changed meanwhile
        if not self._pause_s:
            # The text of an error that is not ours may hold anything.
            says = str(error) if isinstance(error, FormantError) else type(error).__name__
            log.warning("Events of connection %r wait for its call store: %s", self._conn_id, says)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or SHORTEST_PAUSE_S)
        await asyncio.sleep(self._pause_s)

    def _note_answer(self) -> None:
        if self._pause_s:
            log.info("The call store of connection %r answers again.", self._conn_id)
        self._pause_s = 0.0


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, EventFeed]] = WeakKeyDictionary()


def shared_feed(conn_id: str) -> EventFeed:
    """Return the one feed of this event loop for a connection."""
    feeds = _BY_LOOP.setdefault(asyncio.get_running_loop(), {})
    return feeds.setdefault(conn_id, EventFeed(conn_id))


def _read(seq: int, store: Store) -> Stretch:
    from formant_provider.store.webhook_events import events_after
    from formant_provider.store.webhook_order import in_order
    from formant_provider.store.webhook_payload import reference_of, references

    page = events_after(store, seq)
    known = references(store, page.events)
    told = [Told(event, reference_of(event, known)) for event in in_order(page.events)]
    return Stretch(seq, page.seq, told, page.is_last)


def _now() -> float:
    return asyncio.get_running_loop().time()
