"""Sends webhooks: threads for each target, which sleep until the sandbox's clock says that one is due."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

from formant_provider.sandbox.clock import Clock
from formant_provider.sandbox.settings import Settings
from formant_provider.sandbox.webhooks import Delivery, Outbox, Webhooks

LONGEST_SLEEP_SECONDS = 3600.0
CLOSING_SECONDS = 1.0
"""How long threads get to end after their connections were closed."""


class Senders:
    """The threads that deliver. There are none without a target, and none while nothing is served.

    :param changed: held by whoever reads or changes ``webhooks``, and notified when there may be more to do.
    """

    def __init__(
        self, webhooks: Webhooks, clock: Clock, changed: threading.Condition, settings: Settings
    ) -> None:
        self._webhooks = webhooks
        self._clock = clock
        self._changed = changed
        self._settings = settings
        self._threads: list[_Sender] = []
        self.running = False

    def start(self) -> None:
        """Begin to deliver."""
        with self._changed:
            self.running = True
            for outbox in self._webhooks.outboxes:
                self.serve(outbox)

    def serve(self, outbox: Outbox) -> None:
        """Deliver to one more target, once :meth:`start` was called."""
        for _ in range(self._settings.webhook_connections if self.running else 0):
            thread = _Sender(self._webhooks, outbox, self._clock, self._changed, self._settings)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop delivering at once. What is under way counts as a network error."""
        with self._changed:
            self.running = False
            threads, self._threads = self._threads, []
            for thread in threads:
                thread.abort()
            self._changed.notify_all()
        for thread in threads:
            thread.join(CLOSING_SECONDS)

    def wait_until_delivered(self, timeout: float) -> bool:
        """Wait until no attempt is due or being made; return whether that came within real seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._webhooks.idle(self._clock.now()), timeout)


class _Sender(threading.Thread):
    """Delivers to one target, one attempt after the other, until it is stopped or the target is removed."""

    def __init__(
        self,
        webhooks: Webhooks,
        outbox: Outbox,
        clock: Clock,
        changed: threading.Condition,
        settings: Settings,
    ) -> None:
        super().__init__(name="formant-sandbox-webhooks", daemon=True)
        self._webhooks = webhooks
        self._outbox = outbox
        self._clock = clock
        self._changed = changed
        self._settings = settings
        self._stopping = False
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Deliver what is due."""
        while delivery := self._next():
            status = self._send(delivery)
            with self._changed:
                self._webhooks.done(self._outbox, delivery, status)
                self._changed.notify_all()

    def abort(self) -> None:
        """End soon; a request that is under way is interrupted."""
        self._stopping = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _next(self) -> Delivery | None:
        """Wait for an attempt that is due; return None when there will be none."""
        with self._changed:
            while not self._stopping and self._outbox in self._webhooks.outboxes:
                delivery = self._webhooks.take(self._outbox, self._clock.now())
                if delivery:
                    return delivery
                self._changed.wait(self._sleep_seconds())
        return None

    def _sleep_seconds(self) -> float | None:
        """Return the real seconds until there is something to do; None if only a change can bring it."""
        next_at = self._webhooks.next_at(self._outbox)
        if next_at is None or not self._clock.speed:
            return None
        seconds = self._clock.real_seconds((next_at - self._clock.now()).total_seconds())
        return min(max(seconds, 0), LONGEST_SLEEP_SECONDS)

    def _send(self, delivery: Delivery) -> int | None:
        """Return the status of the response; None when there is none in time."""
        url = urlsplit(self._outbox.target.url)
        timeout = self._settings.webhook_timeout_seconds
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        began = time.monotonic()
        self._connection = connection = kind(url.hostname or "", url.port, timeout=timeout)
        try:
            path = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
            connection.request("POST", path, delivery.content, delivery.headers(self._settings))
            status = connection.getresponse().status
        # A host name that cannot be encoded is a UnicodeError.
        except (OSError, http.client.HTTPException, UnicodeError):
            return None
        finally:
            connection.close()
        return status if time.monotonic() - began <= timeout else None
