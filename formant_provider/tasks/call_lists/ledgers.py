"""Where a call list is written down: in the call store of its connection, or in Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pendulum

if TYPE_CHECKING:
    from formant_provider.core.call_lists.ledger import ListLedger
    from formant_provider.core.contacts.people import People
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.store import Store
    from formant_provider.tasks.capping import CapOptions
    from formant_provider.tasks.run import TaskRun


@dataclass(frozen=True)
class Ledgers:
    """The ledger of a list, and what its store knows besides.

    :param store: ``None`` without a call store.
    :param knows_all: whether nobody can have placed a call of this run of which the ledger does not know.
    """

    ledger: ListLedger
    store: Store | None = None
    knows_all: bool = False

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
    from formant_provider.api.errors import InvalidInput
    from formant_provider.tasks.call_lists.state_ledger import StateListLedger

    if run.store is None:
        raise InvalidInput(
            "formant_conn_id",
            "names a connection without a call store, and Airflow before 3.3 cannot remember a list either:"
            " set store_conn_id of the connection, or use Airflow 3.3 or later",
        )
    return Ledgers(StateListLedger(run, was_deferred, run.taken_since))
