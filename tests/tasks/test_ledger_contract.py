"""The two ledgers in Airflow do what every ledger has to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from formant_provider.api.errors import SendAborted
from formant_provider.api.models import CallReceipt
from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import Sent
from formant_provider.core.transcriptions.submission import JobReceipt, TranscriptionIntent
from formant_provider.tasks.ledger import InMemoryLedger, TaskStateLedger
from support.ledger_contract import DurableLedgerContract, LedgerContract
from support.versions import needs_state_store


class Store:
    """As much of Airflow's task state store as a ledger uses."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.is_broken = False

    def get(self, entry: str, default: Any) -> Any:
        self._answer()
        return self.entries.get(entry, default)

    def set(self, entry: str, value: Any, **_: Any) -> None:
        self._answer()
        self.entries[entry] = value

    def _answer(self) -> None:
        if self.is_broken:
            raise RuntimeError("409 Conflict")


@needs_state_store
class TestTaskStateLedger(DurableLedgerContract):
    """Airflow's task state store."""

    @pytest.fixture(autouse=True)
    def store(self) -> None:
        self._store = Store()

    def open(self, kind: type[Any], key: str = "key", *, try_number: int = 1) -> TaskStateLedger[Any]:
        run: Any = SimpleNamespace(store=self._store, try_number=try_number, is_mapped=False)
        return TaskStateLedger(run, kind, key, None)

    def break_store(self) -> None:
        self._store.is_broken = True

    def test_jobs_have_an_entry_of_their_own(self) -> None:
        """A transcription job is read back as it was written, and says in its own words what was not."""
        ledger = self.open(TranscriptionIntent)
        job = TranscriptionIntent("key", datetime(2026, 3, 18, tzinfo=UTC), Sent.UNCLEAR, JobReceipt("job_1"))
        assert ledger.read() is None
        ledger.write(job)
        assert self.open(TranscriptionIntent).read() == job
        assert self.open(Intent).read() is None
        self.break_store()
        with pytest.raises(SendAborted, match="The intent to transcribe could not be written"):
            ledger.write(replace(job, receipt=None))

    def test_what_could_not_be_written_is_told_apart(self) -> None:
        """Of an intent nothing was sent; of a receipt the call was placed, and a next try has to find it."""
        ledger, intent = self.open(Intent), Intent("key", written_at=datetime(2026, 3, 18, tzinfo=UTC))
        ledger.read()
        self.break_store()
        with pytest.raises(SendAborted, match="The intent to call could not be written"):
            ledger.write(intent)
        receipt = CallReceipt(456, "t1", "initiated", "c1", None)
        with pytest.raises(SendAborted, match="The receipt of a call that was placed could not be written"):
            ledger.write(replace(intent, receipt=receipt))


class TestInMemoryLedger(LedgerContract):
    """What stands in before Airflow 3.3."""

    def open(self, *_: Any, **__: Any) -> InMemoryLedger[Any]:
        return InMemoryLedger(None)
