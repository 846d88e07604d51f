"""The ledger in Airflow, of a call or a batch call: the task state store (3.3 and later), or a stand-in.

Airflow deletes a task's XComs before every try, so they cannot carry the intent. The task state store does:
it survives retries, killed workers and, on 3.3, clears. Its entries lie in Airflow's database as plain text
for everyone who may see the task, so they hold ids and times alone.

The store is kept per task and *position* in a mapped list, and lists come back in another order. The entry's
name therefore holds the key of the call, which follows the person: what lies there for somebody else is not
even read.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from formant_provider.api.errors import NotSent
from formant_provider.api.intent import BatchIntent, Intent, RememberedT, Sent

if TYPE_CHECKING:
    from airflow.sdk import Context

    from formant_provider.api.intent import Ledger

ENTRY_PREFIX = "formant_call:"
BATCH_ENTRY_PREFIX = "formant_batch:"
KEY_XCOM = "idempotency_key"


def ledger_for(context: Context, key: str, doubt_since: datetime | None = None) -> Ledger[Intent]:
    """Return the ledger of the call named ``key``, as durable as this Airflow allows.

    :param doubt_since: when this try, before it was deferred, may have sent the call, aware.
    """
    return _ledger(context, Intent, ENTRY_PREFIX, key, doubt_since)


def batch_ledger_for(context: Context, key: str) -> Ledger[BatchIntent]:
    """Return the ledger of the batch call named ``key``. Its task is never deferred between two sends."""
    return _ledger(context, BatchIntent, BATCH_ENTRY_PREFIX, key, doubt_since=None)


def _ledger(
    context: Context, kind: type[RememberedT], prefix: str, key: str, doubt_since: datetime | None
) -> Ledger[RememberedT]:
    ti: Any = context["ti"]
    if doubt_since is None and ti.try_number > 1:
        doubt_since = run_began(context)
    assumed = kind(key, doubt_since, sent=Sent.UNCLEAR) if doubt_since else None
    store: Any = context.get("task_state_store")
    if store is None:
        return ForgetfulLedger(assumed)
    # A row that another person had in the last try knows nothing of what this person's row did then.
    knows_all = ti.map_index < 0 and not _clears_forget()
    return TaskStateLedger(store, f"{prefix}{key}", kind, ti.try_number, None if knows_all else assumed)


def _clears_forget() -> bool:
    """Whether clearing a task deletes its state, as Airflow 3.4 does and 3.3 does not."""
    major, minor, *_ = importlib.metadata.version("apache-airflow-core").split(".")
    return (int(major), int(minor)) >= (3, 4)


def run_began(context: Context) -> datetime:
    """Return when this DAG run can have asked for anything at the earliest; a clear does not move it."""
    dag_run: Any = context["dag_run"]
    moments: list[datetime] = [dag_run.run_after, dag_run.start_date]
    return min(moment for moment in moments if moment is not None)


def earliest_send(context: Context, began: datetime) -> datetime:
    """Return when a task without a ledger can have sent at the earliest.

    :param began: when this process began; a first try cannot have sent before.
    """
    return began if context["ti"].try_number == 1 else run_began(context)


class TaskStateLedger(Generic[RememberedT]):
    """Keeps the intent in Airflow's task state store, for ever.

    :param store: ``context["task_state_store"]``.
    :param entry: name of the entry.
    :param kind: what its value is read as.
    :param try_number: of the task.
    :param assumed: what has to be assumed of earlier sends when the entry does not tell; ``None`` when the
        entry always tells.
    """

    def __init__(
        self,
        store: Any,
        entry: str,
        kind: type[RememberedT],
        try_number: int,
        assumed: RememberedT | None,
    ) -> None:
        self._store = store
        self._entry = entry
        self._kind = kind
        self._try_number = try_number
        self._assumed = assumed

    def read(self) -> RememberedT | None:
        """Return what an earlier try wrote.

        A process that is no longer the task's own reads ``None`` here, whatever there is: Airflow tells it
        of its state only when it writes.

        :raises NotSent: the store does not answer, or holds something that this version cannot read.
        """
        try:
            entry = self._store.get(self._entry, default=None)
        except Exception as error:
            raise NotSent(f"Airflow's task state store could not be read ({type(error).__name__})") from error
        if entry is None:
            return self._assumed
        known, written_in_try = self._parse(entry)
        gap = written_in_try < self._try_number - 1
        if gap and self._assumed is not None and known.receipt is None:
            return replace(known, sent=Sent.UNCLEAR)  # in between, this was another row's
        return known

    def write(self, intent: RememberedT) -> None:
        """Remember; committed in Airflow's database when it returns.

        :raises NotSent: it was not written. Most often a newer try of this task has taken over.
        """
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        entry = intent.to_json() | {"try_number": self._try_number}
        try:
            self._store.set(self._entry, entry, retention=NEVER_EXPIRE)
        except Exception as error:
            raise NotSent(
                "The intent to call could not be written to Airflow's task state store"
                f" ({type(error).__name__}); perhaps a newer try of this task has taken over"
            ) from error

    def _parse(self, entry: Any) -> tuple[RememberedT, int]:
        try:
            return self._kind.from_json(entry), int(entry["try_number"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise NotSent(
                f"The entry {self._entry} of the task state store cannot be read ({type(error).__name__});"
                " see whether this call was placed, then correct or delete it"
            ) from error


class ForgetfulLedger(Generic[RememberedT]):
    """Stands in where Airflow has no task state store: a later try assumes that an earlier one has sent.

    Then the vendor's key alone keeps the phone from ringing twice, for 24 hours; after that, and with a batch
    call, a later try looks and does not send.

    :param assumed: what has to be assumed of earlier sends; ``None`` when there can be none.
    """

    def __init__(self, assumed: RememberedT | None) -> None:
        self._intent = assumed

    def read(self) -> RememberedT | None:
        """Return what this process wrote, or what has to be assumed."""
        return self._intent

    def write(self, intent: RememberedT) -> None:
        """Remember for as long as this process lives."""
        self._intent = intent


def taken_since(context: Context, *, own_name: bool) -> datetime | None:
    """Return when somebody else can have sent the key of this call before we do; ``None``: nobody can.

    A name of the user's may have been used anywhere, within the vendor's 24 hours. A key of the task's own
    holds the DAG run, so nobody sent it before the run began; but another row of a mapped list may be the
    same person's.
    """
    import pendulum

    ti: Any = context["ti"]
    if not own_name and ti.map_index < 0:
        return None
    a_day_ago = pendulum.now("UTC") - timedelta(hours=24)
    return a_day_ago if own_name else max(a_day_ago, run_began(context))


def batch_taken_since(context: Context, *, own_name: bool) -> datetime | None:
    """Return when somebody else can have placed our batch call at the earliest; ``None``: nobody can.

    As with a call, but for a name of the user's the vendor knows no end.
    """
    if own_name:
        return datetime.fromtimestamp(0, UTC)
    ti: Any = context["ti"]
    return None if ti.map_index < 0 else run_began(context)


def announce(context: Context, key: str) -> None:
    """Let the other rows of a mapped list see which call this one asks for, if the task may push XComs."""
    ti: Any = context["ti"]
    if ti.map_index >= 0 and ti.task.do_xcom_push:
        ti.xcom_push(key=KEY_XCOM, value=key)


def is_ours_alone(context: Context, key: str) -> bool:
    """Whether no other row of the mapped list asks for the same call."""
    from airflow.providers.common.compat.sdk import XCom

    ti: Any = context["ti"]
    announced = XCom.get_all(key=KEY_XCOM, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id) or []
    return list(announced).count(key) == 1
