"""Reads the connection of a list anew after its key was refused; until that was possible, nothing is sent.

What keeps it from being read says nothing of the key, so it counts as no refusal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError
from formant_provider.core.polling.loop import GONE_TO_BELIEVE, LONGEST_OPENING_PAUSE_S

if TYPE_CHECKING:
    from formant_provider.core.call_lists.listening import Clients
    from formant_provider.core.call_lists.pace import Pace

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 4.0


class ChangedKey:
    """Whether the key that is in use was refused, and is to be read again.

    :param pace: of the list, which waits while the connection cannot be read.
    :param forget: lets what is sent from now on use the connection as it was read.
    """

    def __init__(self, clients: Clients, pace: Pace, forget: Iterable[Callable[[], None]]) -> None:
        self._clients, self._pace, self._forget = clients, pace, tuple(forget)
        self._is_refused = False
        self._failures = self._gone = 0

    def refused(self) -> None:
        """Note that it was refused."""
        self._is_refused = True

    def is_read(self) -> bool:
        """Read the connection if the key was refused; return whether anything may be sent.

        :raises Exception: there is no connection, or it cannot be used, and that does not pass.
        """
        if not self._is_refused:
            return True
        if self._pace.wait_s() > 0:
            return False
        try:
            self._clients.reread()
        except Exception as error:  # a secrets backend may raise anything
            self._wait_after(error)
            return False
        self._is_refused, self._failures, self._gone = False, 0, 0
        for forget in self._forget:
            forget()
        return True

    def _wait_after(self, error: Exception) -> None:
        self._gone = self._gone + 1 if isinstance(error, self._clients.lasting) else 0
        if self._gone >= GONE_TO_BELIEVE:
            raise error
        self._pace.pause(min(math.ldexp(_FIRST_PAUSE_S, min(self._failures, 20)), LONGEST_OPENING_PAUSE_S))
        self._failures += 1
        # The text of an error that is not ours may hold anything.
        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        text = (
            "The connection cannot be read (%s). Until it can, nobody is called; the next try is in %.0f s."
        )
        log.warning(text, what, self._pace.wait_s())
