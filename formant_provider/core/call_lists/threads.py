"""The threads of a list: they carry out what may block, and put what came of it into an inbox.

Each request is sent by a client that nobody else uses meanwhile.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from formant_provider.api.errors import FormantError

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

T = TypeVar("T")


class Threads:
    """Some threads, and the inbox of the one that uses them.

    :param most: how many threads there are.
    :param open_client: returns a client; used in threads.
    """

    def __init__(self, most: int, open_client: Callable[[], FormantClient]) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="call_list")
        self._open_client = open_client
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = Lock()  # for the two below
        self._idle: list[FormantClient] = []
        self._forgotten = 0
        self._under_way = 0

    def carry_out(self, work: Callable[[], Any], came: Callable[[Any], None]) -> None:
        """Carry something out in a thread; call back, in :meth:`take`, with what it returned or raised."""

        def run() -> None:
            try:
                outcome = work()
            except BaseException as error:  # whoever is called back knows what it means, and waits for it
                outcome = error
            self._inbox.put(lambda: came(outcome))

        self._under_way += 1
        self._pool.submit(run)

    def with_client(self, use: Callable[[FormantClient], T]) -> T:
        """Use a client; it is kept for the next one, unless an exception shows that it is of no use."""
        with self._lock:
            forgotten = self._forgotten
            client = self._idle.pop() if self._idle else None
        if client is None:
            client = self._open_client()
        try:
            outcome = use(client)
        except BaseException:
            client.close()
            raise
        with self._lock:
            is_kept = forgotten == self._forgotten
            if is_kept:
                self._idle.append(client)
        if not is_kept:
            client.close()
        return outcome

    def take(self, wait_s: float) -> None:
        """Call back for all that has come; wait for so long if there is nothing."""
        try:
            self._call_back(self._inbox.get(timeout=wait_s))
            while True:
                self._call_back(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _call_back(self, came: Callable[[], None]) -> None:
        self._under_way -= 1  # whatever comes of it
        came()

    def drain(self) -> None:
        """Call back for all that comes until nothing is under way; an error has ended all before."""
        while self._under_way:
            try:
                self.take(1.0)
            except Exception as error:
                log.warning("%s", error if isinstance(error, FormantError) else type(error).__name__)

    def forget_clients(self) -> None:
        """Let what is begun from now on use new clients; those in use are closed when they come back."""
        with self._lock:
            self._forgotten += 1
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    def close(self) -> None:
        """Wait until no thread is at work."""
        self._pool.shutdown(wait=True)
        self.forget_clients()
