"""Forwards events of webhooks to a queue, for an Airflow that is to read them there: Redis, or Amazon SQS.

What is forwarded is the public payload of an event, as JSON: no number, no parameter, no transcript. Each
event is sent at least once; twice, if the receiver ends between a message and the note that it was sent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import FormantError
from formant_provider.store.webhook_events import events_after, last_seq, read_cursor, write_cursor
from formant_provider.store.webhook_order import in_order, told_through
from formant_provider.store.webhook_payload import public_payloads
from formant_provider.webhooks.queues import Queue, queue_of, results_of

if TYPE_CHECKING:
    from formant_provider.store.store import Store
    from formant_provider.store.webhook_events import StoredEvent

log = logging.getLogger(__name__)

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


def forwarder_to(url: str, conn_ids: Collection[str] | None = None) -> Forwarder:
    """Return a reader that forwards events to where a URL leads.

    :param url: as :func:`~formant_provider.webhooks.queues.queue_of` takes it. Its query may choose results
        that are forwarded as well: ``results=intent,payment.date``.
    :param conn_ids: to whose addresses the events came; ``None`` means all of the store.
    :raises InvalidInput: it leads nowhere, or what it needs is not installed; without a password of the URL.
    """
    return Forwarder(queue_of(url), results_of(url), conn_ids)


class Forwarder:
    """Forwards events in the order in which they came; those of one conversation as they happened.

    It begins with what comes after its first start. While the queue does not take messages it waits, longer
    each time up to a minute, and says so once.
    """

    def __init__(
        self,
        queue: Queue,
        results: Sequence[str] = (),
        conn_ids: Collection[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = _mark(queue.where, conn_ids)
        self._queue = queue
        self._results = results
        self._conn_ids = conn_ids
        self._clock = clock
        self._pause_s = 0.0
        self._again_at = 0.0

    def advance(self, store: Store) -> bool:
        """Forward a page of events; return whether there may be more now.

        :raises SendAborted: the store does not answer.
        """
        if self._pause_s and self._clock() < self._again_at:
            return False
        seq = read_cursor(store, self.name)
        if seq is None:
            seq = last_seq(store)
            write_cursor(store, self.name, seq)
        page = events_after(store, seq)
        wanted = in_order([each for each in page.events if self._is_wanted(each)])
        sent = self._send(public_payloads(store, wanted, self._results))
        through = told_through(wanted, sent, page.seq)
        if through > seq:
            write_cursor(store, self.name, through)
        return sent == len(wanted) and not page.is_last

    def _is_wanted(self, stored: StoredEvent) -> bool:
        is_ours = self._conn_ids is None or stored.conn_id in self._conn_ids
        return is_ours and not stored.event.is_check

    def _send(self, payloads: Sequence[dict[str, Any]]) -> int:
        """Return how many of them were sent."""
        sent = 0
        try:
            while sent < len(payloads):
                some = payloads[sent : sent + self._queue.at_once]
                self._queue.send([(payload, json.dumps(payload)) for payload in some])
                sent += len(some)
                self._note_success()
        except Exception as error:  # of any library; what was not sent is sent later
            self._wait(error)
        return sent

    def _note_success(self) -> None:
        if self._pause_s:
            log.info("Events are forwarded to %s again.", self._queue.where)
        self._pause_s = 0.0

    def _wait(self, error: Exception) -> None:
        if not self._pause_s:
            log.warning("Events wait to be forwarded to %s: %s", self._queue.where, _says(error))
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or SHORTEST_PAUSE_S)
        self._again_at = self._clock() + self._pause_s


def _mark(where: str, conn_ids: Collection[str] | None) -> str:
    """Return the name of a forwarder's mark: two that forward other connections' events have two."""
    whose = "" if conn_ids is None else json.dumps(sorted(set(conn_ids)))
    return f"forward:{hashlib.sha256(f'{where}{whose}'.encode()).hexdigest()[:32]}"


def _says(error: Exception) -> str:
    """Return what may be logged of an error: the text of one that is not ours may hold anything."""
    if isinstance(error, FormantError):
        return str(error)
    code = getattr(error, "response", None)
    found = code.get("Error", {}).get("Code") if isinstance(code, dict) else None
    return f"{type(error).__name__} {found}" if found else type(error).__name__
