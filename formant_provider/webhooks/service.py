"""The receiver as a whole: the application, and the readers in the background."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import FormantError
from formant_provider.api.webhook_config import MOST_KEEP_FOR
from formant_provider.webhooks.app import create_app
from formant_provider.webhooks.health import Health
from formant_provider.webhooks.readers import Outcomes, Reader, ReaderThread, Retention
from formant_provider.webhooks.receiving import Receiver

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from formant_provider.webhooks.connections import Connections


class Service:
    """Receives webhooks from when it is made until it is closed.

    :param connections: those to receive for.
    :param readers: whoever else reads what has come.
    :param options: as :class:`Receiver` has them.
    :ivar app: the ASGI application.
    """

    def __init__(self, connections: Connections, readers: Sequence[Reader] = (), **options: Any) -> None:
        self.connections = connections
        every: list[Reader] = [Outcomes(), Retention(self._keep_for), *readers]
        self._threads = [ReaderThread(reader, self.connections) for reader in every]
        self._health = Health(self.connections)
        self._receiver = Receiver(self.connections, on_stored=self._wake, **options)
        self.app: ASGIApp = create_app(self._receiver, self._health)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Store what was accepted, and end all threads."""
        self._receiver.close()
        for thread in self._threads:
            thread.close()
        self._health.close()

    def _wake(self) -> None:
        for thread in self._threads:
            thread.wake()

    def _keep_for(self) -> dict[str, timedelta]:
        lengths = {}
        for conn_id in self.connections.conn_ids:
            try:
                lengths[conn_id] = self.connections.read(conn_id).usable()[0].keep_for
            except FormantError:  # it says nothing now, so its events stay
                lengths[conn_id] = MOST_KEEP_FOR
        return lengths
