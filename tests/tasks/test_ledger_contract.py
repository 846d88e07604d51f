"""The two ledgers in Airflow do what every ledger has to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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


class TestInMemoryLedger(LedgerContract):
    """What stands in before Airflow 3.3."""

    def open(self, *_: Any, **__: Any) -> InMemoryLedger[Any]:
        return InMemoryLedger(None)
