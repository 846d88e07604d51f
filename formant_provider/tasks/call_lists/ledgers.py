"""Where a call list is written down: in the call store of its connection, or in Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pendulum

if TYPE_CHECKING:
    from formant_provider.core.call_lists.ledger import ListLedger
    from formant_provider.core.contacts.people import People
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.pace import Pace
    from formant_provider.store.store import Store
    from formant_provider.tasks.call_lists.state_ledger import StateListLedger
    from formant_provider.tasks.call_store import CallStore
    from formant_provider.tasks.capping import CapOptions
    from formant_provider.tasks.run import TaskRun

# For its turn a call waits so long in its thread; for longer, the list goes on with others, or rests.
_WAITS_IN_THREAD_S = 20.0


@dataclass(frozen=True)
class Ledgers:
    """The ledger of a list, and what its store knows besides.

    :param airflow: what is written in Airflow; ``None`` before Airflow 3.3.
    :param store: ``None`` without a call store.
    :param knows_all: whether nobody can have placed a call of this run of which the store does not know.
    :param turns_at_once: how many calls may wait for their turn at once; ``None`` where there are no turns.
    :param was_deferred: whether this try was deferred before.
    """

    ledger: ListLedger
    airflow: StateListLedger | None
    store: Store | None = None
    knows_all: bool = False
    turns_at_once: int | None = None
    was_deferred: bool = False

    def has_begun(self) -> bool:
        """Tell whether calls may have been placed before this wake, whoever was on the list then.

        :raises SendAborted: it cannot be read.
        """
        return self.was_deferred if self.airflow is None else self.airflow.has_begun

    def begin(self) -> None:
        """Let a further try find that this one has begun, and called nobody as long as no more is there.

        :raises SendAborted: it cannot be written, or the task is not this process's any more.
        """
        if self.airflow is not None:
            self.airflow.keys()

    def people(self) -> People | None:
        """Return who knows the do-not-call list of the store; ``None`` without a store."""
        if self.store is None:
            return None
        from formant_provider.store.reservation import Asking

        return Asking(self.store, None, lambda: pendulum.now("UTC"))  # the cap is asked when each is called


def ledgers_of(hook: FormantHook, run: TaskRun, cap: CapOptions, *, was_deferred: bool) -> Ledgers:
    """Return where a list is written down.

    :raises InvalidInput: there is no call store, and this Airflow has no task state store.
    :raises SendAborted: the call store does not answer.
    """
    from formant_provider.tasks.call_lists.store_ledger import name_of

    store = hook.get_store()
    airflow = _in_airflow(run, was_deferred, None if store is None else name_of(store))
    if store is not None:
        return _over_store(hook, run, cap, airflow, was_deferred=was_deferred)
    if airflow is None:
        from formant_provider.api.errors import InvalidInput

        raise InvalidInput(
            "formant_conn_id",
            "names a connection without a call store, and Airflow before 3.3 cannot remember a list either:"
            " set store_conn_id of the connection, or use Airflow 3.3 or later",
        )
    return Ledgers(airflow, airflow)


def _in_airflow(run: TaskRun, was_deferred: bool, over: str | None) -> StateListLedger | None:
    from formant_provider.tasks.call_lists.state_ledger import StateListLedger

    return None if run.store is None else StateListLedger(run, was_deferred, run.taken_since, over)


def _over_store(
    hook: FormantHook,
    run: TaskRun,
    cap: CapOptions,
    airflow: StateListLedger | None,
    *,
    was_deferred: bool,
) -> Ledgers:
    from formant_provider.store.admission import Admission
    from formant_provider.tasks.call_lists.chunks import LIST_ENTRY
    from formant_provider.tasks.call_lists.store_ledger import StoreListLedger
    from formant_provider.tasks.call_store import call_store_of

    told = airflow.keys if airflow is not None else tuple
    store = call_store_of(hook, run, LIST_ENTRY, told=told)
    if store is None:
        raise LookupError("The connection names a call store, and then names none")
    admission = Admission(cap.in_force(hook), cap.on_capped)
    ledger = StoreListLedger(store, admission, partial(_pace, hook, store), airflow, was_deferred)
    per_minute = store.limits.calls_per_minute
    turns = None if per_minute is None else max(1, round(per_minute / 60))
    return Ledgers(ledger, airflow, store.store, store.knows_all, turns, was_deferred)


def _pace(hook: FormantHook, store: CallStore, has_waited: bool) -> Pace | None:
    return store.pace(hook, max_inline_wait_s=_WAITS_IN_THREAD_S, was_deferred=has_waited)
