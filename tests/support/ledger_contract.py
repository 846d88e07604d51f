"""What every ledger has to do, whatever stores it. Subclass one of the two beside the tests of yours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import InvalidInput, SendAborted
from formant_provider.api.models import CallReceipt
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.calls.intent import Intent
from formant_provider.core.conversations.evidence import SendRecord
from formant_provider.core.keys import key_of
from formant_provider.core.ledger import BaseIntent, Ledger, Sent

NOON = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
INTENTS: dict[str, BaseIntent] = {
    "a fresh call": Intent("key", NOON),
    "a call of which everything is known": Intent(
        key_of(first="key", attempt=2, spent=1),
        NOON,
        Sent.UNCLEAR,
        CallReceipt(456, "t1", "scheduled", "c1", "2026-03-18T13:00:00Z"),
        spent_keys=1,
        attempt=2,
        shared_since=NOON,
        used_since=LATER,
        redials="c0",
        sends=(SendRecord(NOON, LATER, LATER, -1.5), SendRecord(LATER)),
        looked_at=LATER,
        earlier=("c0", "c1"),
        refused="capped",
        called_at=LATER,
        last_receipt=CallReceipt(456, "t0", "initiated", "c0", None),
        last_at=NOON,
    ),
    "a fresh batch call": BatchIntent("key", NOON),
    "a batch call that was placed": BatchIntent(
        "key", NOON, Sent.UNCLEAR, BatchCall(7, "March", 456, "pending", 3, None)
    ),
}


class LedgerContract(ABC):
    """The promises of :class:`~formant_provider.core.ledger.Ledger`, each as a test."""

    @abstractmethod
    def open(self, kind: type[Any], key: str = "key", *, try_number: int = 1) -> Ledger[Any]:
        """Return the ledger that a process of the given try works with, over one store a test."""

    @pytest.mark.parametrize("intent", INTENTS.values(), ids=INTENTS)
    def test_what_was_written_is_read_back(self, intent: BaseIntent) -> None:
        """Every field of it, by the process that wrote it."""
        ledger = self.open(type(intent))
        assert ledger.read() is None
        ledger.write(intent)
        assert ledger.read() == intent

    @pytest.mark.parametrize("intent", INTENTS.values(), ids=INTENTS)
    def test_a_claim_is_written_like_anything_else(self, intent: BaseIntent) -> None:
        """A doubt that is claimed is there for whoever reads next, and the receipt takes its place."""
        ledger = self.open(type(intent))
        ledger.read()
        doubt = replace(intent, sent=Sent.UNCLEAR, receipt=None)
        ledger.claim(doubt)
        assert ledger.read() == doubt
        ledger.write(intent)
        assert ledger.read() == intent

    def test_the_last_write_counts(self) -> None:
        """An intent takes the place of the one before."""
        ledger = self.open(Intent)
        ledger.read()
        for sent in Sent:
            ledger.write(Intent("key", NOON, sent))
        assert ledger.read() == Intent("key", NOON, list(Sent)[-1])

    def test_each_call_has_a_record_of_its_own(self) -> None:
        """One key does not read what another has written."""
        first, second = self.open(Intent), self.open(Intent, "another key")
        assert (first.read(), second.read()) == (None, None)
        first.write(Intent("key", NOON))
        assert self.open(Intent, "another key").read() is None


class DurableLedgerContract(LedgerContract):
    """The promises of one that :attr:`~formant_provider.core.ledger.Ledger.is_durable`."""

    @abstractmethod
    def break_store(self) -> None:
        """From now on the store does not answer: it is down, or the task was given to another process."""

    @pytest.mark.parametrize("intent", INTENTS.values(), ids=INTENTS)
    def test_a_next_try_reads_what_was_written(self, intent: BaseIntent) -> None:
        """It is another process, which knows nothing else."""
        self.open(type(intent)).write(intent)
        next_try = self.open(type(intent), try_number=2)
        assert next_try.is_durable
        assert next_try.read() == intent

    def test_what_cannot_be_written_aborts_the_send(self) -> None:
        """A process that lost its task, or its store, is told so when it writes."""
        ledger = self.open(Intent)
        ledger.read()
        self.break_store()
        for write in (ledger.claim, ledger.write):
            with pytest.raises((SendAborted, InvalidInput)):
                write(Intent("key", NOON))

    def test_what_cannot_be_read_aborts_the_send(self) -> None:
        """A store that is down is not taken for an empty one."""
        self.break_store()
        with pytest.raises((SendAborted, InvalidInput)):
            self.open(Intent).read()
