"""What is on record with each agent of a list, read once for all rows that are looked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.core.conversations.shared_listing import SharedListing

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

_FRESH_S = 5.0


@dataclass
class Listings:
    """A shared listing for each agent, made when it is first asked for; used by several threads.

    :param open_client: returns a client that sends every request once.
    """

    open_client: Callable[[], FormantClient]
    now: Callable[[], datetime]
    _listings: dict[int, SharedListing] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def of(self, agent_id: int) -> SharedListing:
        """Return what is on record with an agent."""
        with self._lock:
            if agent_id not in self._listings:
                self._listings[agent_id] = SharedListing(self.open_client(), agent_id, self.now, _FRESH_S)
            return self._listings[agent_id]

    def forget_clients(self) -> None:
        """Let each look that is begun from now on use a new client."""
        with self._lock:
            for listing in self._listings.values():
                listing.renew_client(self.open_client)

    def close(self) -> None:
        """Forget all of it, once nobody looks any more."""
        for listing in self._listings.values():
            listing.close()
            listing.client.close()
