"""Whom else than by the list itself a batch call must not call: asked some thousand people at a time."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

ASKED_AT_ONCE = 4000


class People(Protocol):
    """Knows people by their numbers: the digits of E.164, as integers."""

    def suppressed(self, keys: Sequence[int]) -> Set[int]:
        """Return who of them is on the do-not-call list.

        :raises FormantError: nobody can tell, so nothing may be sent.
        """

    def admit(self, keys: Sequence[int]) -> Set[int]:
        """Return who of them was called as often as allowed; the others count as called from now on.

        :raises FormantError: nobody can tell, so nothing may be sent.
        """
