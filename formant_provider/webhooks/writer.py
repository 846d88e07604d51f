"""Stores what comes, in one thread of its own: all that waits, in one transaction.

A transaction takes as long for a hundred events as for one, nearly all of it in the disk of the database. So
whoever comes while one is under way waits for the next one, and there is no other delay.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, StoreUnavailable
from formant_provider.store.webhook_events import Delivery, record

if TYPE_CHECKING:
    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 200
MOST_WAITING = 1000
CLOSING_S = 40.0
"""How long the last transaction may take: a statement of the store ends after 30 seconds."""

_Waiting = tuple["Future[bool]", Delivery]


class Writer:
    """Stores the events of one connection.

    :param open_store: returns the store, or raises a :class:`FormantError`; called for each transaction, in
        the thread of the writer.
    :param on_stored: called when something new was stored.
    """

    def __init__(
        self, name: str, open_store: Callable[[], Store], on_stored: Callable[[], None] = lambda: None
    ) -> None:
        self._open_store = open_store
        self._on_stored = on_stored
        self._waiting: dict[Future[bool], Delivery] = {}  # in the order in which they came
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"formant-webhooks-{name}", daemon=True)
        self._thread.start()

    def submit(self, delivery: Delivery) -> Future[bool]:
        """Have an event stored. The result, whether it was new, is there when it is stored.

        To cancel it takes it out of the queue, unless its transaction has begun.

        :raises StoreUnavailable: too many are waiting.
        """
        future: Future[bool] = Future()
        with self._changed:
            if len(self._waiting) >= MOST_WAITING or self._is_closing:
                raise StoreUnavailable("The call store is slower than events come", problem="busy")
            self._waiting[future] = delivery
            self._changed.notify()
        future.add_done_callback(self._take_out)
        return future

    def close(self) -> None:
        """Store what is waiting, and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(CLOSING_S)

    def _take_out(self, future: Future[bool]) -> None:
        if future.cancelled():
            with self._changed:
                self._waiting.pop(future, None)

    def _run(self) -> None:
        while batch := self._next():
            self._store(batch)

    def _next(self) -> list[_Waiting]:
        """Wait for events; return none at the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return []
                some = [(each, self._waiting.pop(each)) for each in [*islice(self._waiting, AT_ONCE)]]
            if batch := [each for each in some if each[0].set_running_or_notify_cancel()]:
                return batch

    def _store(self, batch: Sequence[_Waiting]) -> None:
        try:
            were_new = record(self._open_store(), [delivery for _, delivery in batch])
        except StoreUnavailable as error:
            if error.problem == "failed" and len(batch) > 1:  # one event must not keep out the others
                for each in batch:
                    self._store([each])
            else:
                _fail(batch, error)
        except FormantError as error:
            _fail(batch, error)
        except Exception as error:  # of a text that may be private
            log.error("Webhook events were not stored: %s", type(error).__name__)
            _fail(batch, StoreUnavailable("The call store could not be used", problem="failed"))
        else:
            for (future, _), was_new in zip(batch, were_new, strict=True):
                future.set_result(was_new)
            if any(were_new):
                self._on_stored()


def _fail(batch: Sequence[_Waiting], error: FormantError) -> None:
    for future, _ in batch:
        future.set_exception(error)
