"""What a ledger of a call list is: it remembers all its calls across tries, some of them at a time.

The calls that are due next are *prepared*, as many as a crash may cost a look at, in one write; then each is
placed by the one protocol (:mod:`formant_provider.core.calls.placement`), over a ledger of its own from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from formant_provider.core.call_lists.calls import Attempt, Known, ListedCall
from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import Ledger


class ListLedger(Protocol):
    """Remembers the calls of one list.

    The ledgers of single calls are used by one thread each; everything else is called by one thread alone.

    :ivar at_once: how many calls may be prepared and not finished at a time.
    """

    at_once: int

    def known(self, keys: Sequence[str]) -> Mapping[str, Known]:
        """Return what is known of these calls, by key; nothing of those of which nothing is.

        :raises SendAborted: it cannot be read, so nothing may be sent.
        """

    def prepare(self, calls: Sequence[ListedCall]) -> Sequence[ListedCall]:
        """Remember that these may be sent from now on; committed when it returns.

        :return: the same calls, each by the agent that may have been asked for it before.
        :raises SendAborted: it cannot be written; most often a newer try of this task has taken over.
        """

    def ledger_of(self, call: ListedCall) -> Ledger[Intent]:
        """Return the ledger of a call that was prepared."""

    def finish(self, call: ListedCall) -> None:
        """Note that no thread is at work on a call any more."""

    def note(self, ended: Iterable[tuple[str, Attempt]]) -> None:
        """Remember, by key, attempts that are over.

        :raises SendAborted: it cannot be written. What was noted is kept here, for the next write.
        """

    def flush(self) -> None:
        """Write what is not written yet.

        :raises SendAborted: it cannot be written.
        """
