"""The call store of a task's connection, and the ledger that lies in it.

A store knows a call by its person, in every task, run and Airflow that has it; so with one nothing has to be
assumed of other rows, earlier tries or deleted entries. Only of runs that are older than the store, or than
what was purged from it, it knows no more than there is in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pendulum

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation
    from formant_provider.api.store_config import StoreConfig
    from formant_provider.core.conversations.over import Going
    from formant_provider.core.ledger import IntentT
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.admission import Admission
    from formant_provider.store.beside import BeforeStore
    from formant_provider.store.intents import Asked
    from formant_provider.store.ledger import StoreLedger
    from formant_provider.store.pace import Pace
    from formant_provider.store.store import Store
    from formant_provider.tasks.run import TaskRun

log = logging.getLogger(__name__)

# What a send may take besides the two timeouts of the connection.
_MARGIN_S = 15


@dataclass(frozen=True)
class CallStore:
    """The store of a task.

    :param knows_all: whether nobody can have placed a call of this run of which the store does not know. The
        run is younger than the store, and this is its first try, or its tries have asked the store from the
        first one on: else the connection may have named no store, or another one, or this one was restored.
    :param began: since when it has to know of them, aware.
    :param account: digest of the account that the connection leads to.
    :param limits: what the connection says of the store.
    """

    store: Store
    run: TaskRun
    lease: timedelta
    knows_all: bool
    began: datetime
    account: str
    limits: StoreConfig

    def pace(self, hook: FormantHook, *, max_inline_wait_s: float, was_deferred: bool) -> Pace | None:
        """Return in whose turn a call is placed; ``None`` when the connection sets no limit.

        :param hook: asks which calls are over, when there may be no more of them.
        :param max_inline_wait_s: for how long a worker may be held.
        :param was_deferred: whether the task continues after a wait.
        """
        from formant_provider.store.pace import Pace

        limits = self.limits.calls_per_minute, self.limits.max_concurrent_calls
        if limits == (None, None):
            return None
        return Pace(
            self.account,
            *limits,
            max_inline_wait_s=max_inline_wait_s,
            has_waited=was_deferred or self.run.try_number > 1 or self.run.was_cleared,
            ended=partial(_over, hook),
        )

    def ledger(
        self,
        kind: type[IntentT],
        asked: Asked,
        admission: Admission,
        before: BeforeStore[IntentT],
        pace: Pace | None = None,
        *,
        has_untold: bool = True,
    ) -> StoreLedger[IntentT]:
        """Return the ledger of a call, or batch call.

        :param before: the one of a task without a store, in Airflow.
        :param has_untold: whether an earlier try may have sent the call and told neither of the two.
        """
        from formant_provider.store.beside import Beside
        from formant_provider.store.intents import BATCH_CALL, kind_of
        from formant_provider.store.ledger import StoreLedger

        is_first = self.knows_all and self.run.try_number == 1
        # What Airflow does not know, a store does that knows all: nothing has to be assumed.
        ledger = before.beside_a_store() if self.knows_all else before
        return StoreLedger(
            self.store,
            kind,
            replace(asked, account=self.account, knew_all=self.knows_all),
            admission,
            now=lambda: pendulum.now("UTC"),
            sleep=time.sleep,
            lease=self.lease,
            guesses=is_first and kind_of(asked) != BATCH_CALL,
            beside=None if is_first else Beside(ledger, self.began, self.run.try_number if has_untold else 1),
            relies_since=self.began if self.knows_all else None,
            pace=pace,
        )


def call_store_of(
    hook: FormantHook,
    run: TaskRun,
    entry: str,
    *,
    began: datetime | None = None,
    told: Callable[[], Collection[str]] | None = None,
) -> CallStore | None:
    """Return the store of a task's connection; ``None`` when it names none.

    :param entry: the one of Airflow's task state store, of a task without a call store.
    :param began: since when the store has to know all; ``None`` means what matters to a call of this run.
    :param told: returns the keys of the calls of which Airflow knows; ``None`` means those of the entry.
    :raises InvalidInput: it cannot be used.
    :raises SendAborted: its database does not answer.
    """
    from formant_provider.tasks.ledger import keys_in

    store, config = hook.get_store(), hook.get_config()
    if store is None or config.store is None:
        return None
    account = store.digests.account(config.base_url, config.api_key)
    lease = timedelta(seconds=config.connect_timeout_s + config.read_timeout_s + _MARGIN_S)
    now = pendulum.now("UTC")
    began = began or _earliest(run, now)
    knows_all = store.knows_since(began, now=now) and _asks_from_the_start(
        store, run, told or partial(keys_in, run, entry), has_one_process=told is None
    )
    return CallStore(store, run, lease, knows_all, began, account, config.store)


def _asks_from_the_start(
    store: Store, run: TaskRun, told: Callable[[], Collection[str]], *, has_one_process: bool
) -> bool:
    """Whether all earlier tries of this position have asked the store, as far as can be told.

    :param has_one_process: whether no other process of the same try can have sent something before.
    """
    from formant_provider.store.positions import knew_all, knows

    if run.is_first and (has_one_process or not told()):
        return True
    return knew_all(store, (*run.task_id, run.map_index)) and knows(store, told())


def _over(hook: FormantHook, going: list[Going], settled: set[str]) -> list[Conversation]:
    """Ask the API which calls are over. Who waits goes on waiting if it does not answer."""
    from formant_provider.api.errors import FormantError
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.conversations.over import over

    try:
        with hook.get_conn(RetryPolicy(max_attempts=1)) as client:
            return over(client, going, settled)
    except FormantError as error:
        log.warning("%s. It is not known which calls are over.", error)
        return []


def _earliest(run: TaskRun, now: datetime) -> datetime:
    """Return when somebody can have placed a call of this run, at the earliest, so that it still matters."""
    return min(run.run_began, now - timedelta(hours=24)) if run.own_name else run.run_began


def asked_for(run: TaskRun, *, key: str, agent_id: int, recipient: str | None, reference: object) -> Asked:
    """Return what is asked for by this task."""
    from formant_provider.store.intents import Asked

    dag_id, run_id, task_id = run.task_id
    return Asked(
        key,
        agent_id,
        recipient,
        dag_id,
        run_id,
        task_id,
        map_index=run.map_index,
        try_number=run.try_number,
        reference=None if reference is None else str(reference),
        asked_by=run.asked_by,
    )


def record_in_store(hook: FormantHook, write: Callable[[Store], object]) -> None:
    """Let the call store know how a call ended. What hinders it fails no task whose call is over."""
    if not hook.has_store:
        return
    from formant_provider.api.errors import FormantError

    try:
        store = hook.get_store()
        if store is not None:
            write(store)
    except Exception as error:
        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        log.warning("%s. The call store does not know how this call ended.", what)
