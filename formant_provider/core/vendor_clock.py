"""How far is the vendor's clock from ours? Learnt from the ``Date`` of its answers.

A record's times are the vendor's, and what we remember of a call is by our own clock. Either may be wrong by
minutes or hours, so before one is compared with the other, ours is corrected.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

# ``Date`` has no fractions, so on average it is half a second old.
_HALF_A_SECOND = timedelta(seconds=0.5)


def skew_of(server_date: datetime | None, now: datetime) -> timedelta | None:
    """Return how far the clock of a server that has just answered is ahead of ours, if its answer said so."""
    return server_date + _HALF_A_SECOND - now if server_date else None


class VendorClock:
    """What answers have said of the vendor's clock.

    :ivar ahead: how far the vendor's clock is ahead of ours, negative when it is behind; 0 while no answer
        has said.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.ahead = timedelta(0)
        self._now = now
        self._last_date: datetime | None = None

    def now(self) -> datetime:
        """Return the current time by the vendor's clock."""
        return self._now() + self.ahead

    def learn(self, client: FormantClient) -> None:
        """Take in the date of the answer that a client has just received, if it had one."""
        said = client.server_date
        skew = skew_of(said, self._now())
        if skew is not None and said is not self._last_date:
            self._last_date, self.ahead = said, skew
