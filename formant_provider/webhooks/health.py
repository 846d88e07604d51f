"""Whether events can be stored now, for whoever watches the receiver. Nobody can wear it out by asking."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError
from formant_provider.store.webhook_events import last_seq

if TYPE_CHECKING:
    from formant_provider.webhooks.connections import Connections

WITHIN_S = 1.0
LASTS_S = 1.0


class Health:
    """Looks whether the stores of all connections answer, one look at a time."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="formant-webhooks-health")
        self._look: Future[bool] | None = None
        self._looked_at = 0.0

    async def is_well(self) -> bool:
        """Return whether they do, within a second."""
        now = time.monotonic()
        if self._look is None or (self._look.done() and now - self._looked_at > LASTS_S):
            self._look, self._looked_at = self._pool.submit(self._look_at_stores), now
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._look)), WITHIN_S)
        except TimeoutError:
            return False

    def close(self) -> None:
        """End its thread."""
        self._pool.shutdown(wait=False)

    def _look_at_stores(self) -> bool:
        try:
            for conn_id in self._connections.conn_ids:
                last_seq(self._connections.store(conn_id))
        except FormantError:
            return False
        return True
