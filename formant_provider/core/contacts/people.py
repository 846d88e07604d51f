"""Whom else than by the list itself a batch call must not call: asked some thousand at a time."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

# Of SQLite, each transaction writes all pages of an index anew. More of them at once would be held in memory.
ASKED_AT_ONCE = 20_000


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
