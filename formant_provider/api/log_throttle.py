"""Says when a line that would repeat is logged again, so that a long read does not fill a task's log."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_S = 60.0


class LogThrottle:
    """Lets a line through once a minute, and later each time a tenth more of the time has passed.

    So ten minutes have at most ten such lines, and half a day has about fifty.

    :param clock: tells seconds, from any moment on.
    :param first_after_s: how long to wait for the first line, seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, first_after_s: float = PAUSE_S
    ) -> None:
        self._clock = clock
        self._began = clock()
        self._next = self._began + first_after_s

    def is_due(self) -> bool:
        """Whether to log now, which is then noted."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + max(PAUSE_S, (now - self._began) / 10)
        return True
