"""What Airflow knows of a call beside the store, and what it is told of it.

A try that had no store has written down its call in Airflow alone, and a store that was restored lacks what
came after its backup. Once there is no store any more, nothing tells but what Airflow was told.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, Protocol

from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import IntentT, Ledger, Sent
from formant_provider.store.intents import attempt_of


class OfTries(Ledger[IntentT], Protocol[IntentT]):
    """The ledger of a task without a store.

    :ivar written_in_try: the try that wrote what was read last; 0 when nobody did.
    """

    written_in_try: int


class BeforeStore(OfTries[IntentT], Protocol[IntentT]):
    """The same before it is known what the store knows."""

    def beside_a_store(self) -> OfTries[IntentT]:
        """Return the same where a store knows of all that nobody has written down here."""


@dataclass
class Beside(Generic[IntentT]):
    """The ledger in Airflow of a call, or batch call, whose ledger is a store.

    :param ledger: the one in Airflow.
    :param since: when a call can have been placed of which neither knows, at the earliest, aware.
    :param try_number: of this try.
    """

    ledger: OfTries[IntentT]
    since: datetime
    try_number: int
    _told: str | None = field(default=None, init=False)

    def completed(self, known: IntentT | None, *, in_try: int) -> tuple[IntentT | None, bool]:
        """Return what both know, and whether it is a call of which the store has to be told.

        :param known: to the store; ``None`` when nothing is.
        :param in_try: of the task, by which the store was told last.
        """
        theirs = self.ledger.read()
        told_in_try = self.ledger.written_in_try
        if known is None:
            return theirs, theirs is not None and theirs.receipt is not None
        if theirs is not None and told_in_try and _knows_more(theirs, told_in_try, known, in_try):
            return theirs, theirs.receipt is not None or attempt_of(theirs) > attempt_of(known)
        if known.receipt is None and max(in_try, told_in_try) < self.try_number - 1:
            return self._doubted(known), False
        return known, False

    def mark(self, intent: IntentT) -> None:
        """Let Airflow know that this is sent, or what it knows would be believed once there is no store.

        :raises SendAborted: it cannot be told; most often a newer try of this task has taken over.
        """
        if self._told != intent.key:  # once in each try
            self.ledger.claim(intent)
            self._told = intent.key

    def _doubted(self, known: IntentT) -> IntentT:
        """Return what is known where a try in between told neither: it may have sent the call.

        A batch call is looked for in any case before it is uploaded again, and so is what came of the call
        before a redial: a try that found no reason for one has written nothing.
        """
        if not isinstance(known, Intent) or known.last_receipt is not None:
            return known
        since = min(self.since, known.shared_since or self.since)
        return replace(known, sent=Sent.UNCLEAR, shared_since=since)


def _knows_more(theirs: IntentT, in_try: int, ours: IntentT, our_try: int) -> bool:
    if attempt_of(theirs) != attempt_of(ours):
        return attempt_of(theirs) > attempt_of(ours)
    if ours.receipt is not None or theirs.receipt is not None:
        return ours.receipt is None
    return ours.sent is not Sent.UNCLEAR and in_try > our_try
