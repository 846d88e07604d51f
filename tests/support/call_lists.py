"""Ledgers of call lists for tests, in a task state store that may fail, and lists that are run over them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from formant_provider.api.errors import FormantError
from formant_provider.api.models import CallRequest
from formant_provider.core.call_lists.calls import Known, ListedCall
from formant_provider.core.call_lists.ledger import ListLedger
from formant_provider.core.calls.facts import CallCallbacks, Policy
from formant_provider.core.calls.placement import CallPlacing, Placement
from formant_provider.sandbox import Sandbox
from formant_provider.store.admission import Admission
from formant_provider.store.store import Store
from formant_provider.tasks.call_lists.chunks import LIST_ENTRY
from formant_provider.tasks.call_lists.state_ledger import StateListLedger
from formant_provider.tasks.call_lists.store_ledger import StoreListLedger, name_of
from formant_provider.tasks.call_store import call_store_of
from support.ledgers import NUMBER, Died, Tries

BEGAN = datetime(2026, 3, 18, 11, 0, tzinfo=UTC)


class StateStore:
    """As much of Airflow's task state store as a ledger uses. Writes are counted from 1.

    :ivar dies_before: the write in which the process dies, and nothing is written.
    :ivar dies_after: the write after which the process dies.
    """

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.is_broken = self.is_superseded = False
        self.writes = self.dies_before = self.dies_after = 0
        self.written: list[str] = []

    def get(self, entry: str, default: Any) -> Any:
        if self.is_broken:
            raise RuntimeError("503 Service Unavailable")
        text = None if self.is_superseded else self.entries.get(entry)
        return default if text is None else json.loads(text)

    def set(self, entry: str, value: Any, **_: Any) -> None:
        self.writes += 1
        if self.is_broken or self.is_superseded:
            raise RuntimeError("404 Not Found")
        if self.writes == self.dies_before:
            raise Died
        self.entries[entry] = json.dumps(value)
        self.written.append(entry)
        if self.writes == self.dies_after:
            raise Died


def run_of(store: Any, try_number: int = 1, *, is_mapped: bool = False) -> Any:
    """Return what a ledger asks of the run of a task."""
    return SimpleNamespace(
        store=store,
        try_number=try_number,
        is_mapped=is_mapped,
        map_index=0 if is_mapped else -1,
        is_first=try_number == 1,
        run_began=BEGAN,
        own_name=False,
        task_id=("dag", "run", "call_all"),
        asked_by="test",
    )


def listed(number: int, attempt: int = 1, *, ending: str = "00") -> ListedCall:
    """Return a call of a list; the last two digits of its number say how it ends."""
    recipient = f"{NUMBER[:-6]}{number:04}{ending}"
    return ListedCall(CallRequest(456, (("customer_phone", recipient),), f"key {number}"), attempt=attempt)


@dataclass
class ListTries:
    """The tries of a list, one call after the other, some of them prepared at a time.

    :param ledger: makes the one of a try.
    """

    sandbox: Sandbox
    ledger: Callable[[int], ListLedger]
    try_number: int = 0
    redial_on: frozenset[str] = frozenset()
    dies_at_send: int = 0
    _sends: int = field(default=0, init=False)

    def run(self, calls: Sequence[ListedCall], *, at_a_time: int = 2) -> dict[str, Placement | FormantError]:
        """One try, in a process of its own."""
        self.try_number += 1
        ledger, came = self.ledger(self.try_number), {}
        ledger.known([call.key for call in calls])
        for lot in _lots(calls, at_a_time):
            ledger.prepare(lot)
            for call in lot:
                try:
                    came[call.key] = self._place(call, ledger)
                except FormantError as error:
                    came[call.key] = error
                ledger.finish(call)
            ledger.note(())
        ledger.flush()
        return came

    def known(self, calls: Iterable[ListedCall]) -> dict[str, Known]:
        """What a further try knows."""
        return dict(self.ledger(self.try_number + 1).known([call.key for call in calls]))

    def rings(self, calls: Iterable[ListedCall]) -> list[int]:
        """How often the phone of each rang."""
        return [self.sandbox.rings[call.request.recipient] for call in calls]

    def _place(self, call: ListedCall, ledger: ListLedger) -> Placement:
        policy = Policy(None, lookup_timeout_s=0, redial_on=self.redial_on, try_number=call.attempt)
        callbacks = CallCallbacks(
            now=self.sandbox.now, sleep=self.sandbox.advance, check_before_send=self._before_send
        )
        with Tries(self.sandbox, call.request).client() as client:
            return CallPlacing(call.request, client, ledger.ledger_of(call), policy, callbacks).run()

    def _before_send(self) -> None:
        self._sends += 1
        if self._sends == self.dies_at_send:
            raise Died


def state_ledgers(store: StateStore, sandbox: Sandbox) -> Callable[[int], StateListLedger]:
    """Return what makes the ledger of a try in Airflow's store."""
    return lambda try_number: StateListLedger(run_of(store, try_number), now=sandbox.now)


def list_ledger_in(
    store: Store, state: StateStore | None, try_number: int = 1, *, was_deferred: bool = False, **fields: Any
) -> StoreListLedger:
    """Return the ledger of a process that has a call store.

    :param state: the task state store; ``None`` before Airflow 3.3.
    """
    run = run_of(state, try_number)
    airflow = None
    if state is not None:
        airflow = StateListLedger(run, was_deferred=was_deferred, over=name_of(store))
    config = SimpleNamespace(
        base_url="https://api.test", api_key="key", connect_timeout_s=2.0, read_timeout_s=5.0, store=object()
    )
    hook: Any = SimpleNamespace(get_store=lambda: store, get_config=lambda: config)
    told = tuple if airflow is None else airflow.keys
    call_store = call_store_of(hook, run, LIST_ENTRY, told=told)
    assert call_store is not None
    chosen = {"admission": Admission(), "pace": lambda _has_waited: None, **fields}
    return StoreListLedger(call_store, airflow=airflow, was_deferred=was_deferred, **chosen)


def _lots(calls: Sequence[ListedCall], size: int) -> Iterable[Sequence[ListedCall]]:
    return (calls[start : start + size] for start in range(0, len(calls), size))
