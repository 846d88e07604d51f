"""What a task knows of its DAG run, and of the other rows of its list.

Most of it bounds what it cannot know: when somebody else can have asked for the same call at the earliest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum

if TYPE_CHECKING:
    from airflow.sdk import Context

KEY_XCOM = "idempotency_key"
TRACE_XCOM = "trace_id"
RESULT_ENTRY = "formant_result"
# How much later than a run its loops may be made, by clocks that differ.
_MADE_WITHIN = timedelta(seconds=10)


@dataclass(frozen=True)
class TaskRun:
    """One run of a task, read from Airflow's context.

    :param context: as Airflow gives it to a task.
    :param own_name: whether the user named the call (``idempotency_key``). Such a name may be used anywhere;
        the key of a call without one holds the DAG run and the task.
    """

    context: Context
    own_name: bool = False

    @property
    def task_id(self) -> tuple[str, str, str]:
        """DAG, run and task."""
        return self._ti.dag_id, self._ti.run_id, self._ti.task_id

    @property
    def try_number(self) -> int:
        """Which try of the task this is, from 1 on."""
        return int(self._ti.try_number)

    @property
    def has_tries_left(self) -> bool:
        """Whether Airflow tries again when this try fails."""
        return self.try_number <= self.max_tries

    @property
    def max_tries(self) -> int:
        """How many tries may be followed by another: the same in all retries, and more after a clear."""
        return int(self._ti.max_tries)

    @property
    def map_index(self) -> int:
        """The row of a mapped task; -1 of another."""
        index = self._ti.map_index
        return -1 if index is None else int(index)

    @property
    def is_mapped(self) -> bool:
        """Whether the task is a row of a mapped one."""
        return self.map_index >= 0

    @property
    def loop(self) -> Any:
        """The loop that the task is in; ``None`` outside of one, and before Airflow 3.4."""
        return self.context.get("loop")

    @property
    def may_follow_another(self) -> bool:
        """Whether another task instance of this run may have asked for the same call before this one.

        A mapped list may come back in another order. A clear of a loop's gate replaces all later iterations,
        and their new task instances begin with the first try and an empty state store.
        """
        return self.is_mapped or (self.loop is not None and self.was_cleared)

    @property
    def store(self) -> Any:
        """The task state store; ``None`` before Airflow 3.3."""
        return self.context.get("task_state_store")

    @property
    def run_began(self) -> datetime:
        """When this DAG run can have asked for anything at the earliest; a clear does not move it."""
        dag_run: Any = self.context["dag_run"]
        moments: list[datetime] = [dag_run.run_after, dag_run.start_date]
        return min(moment for moment in moments if moment is not None)

    @property
    def asked_by(self) -> str:
        """Who started this run: a user's name, or the kind of the run, such as ``scheduled``."""
        dag_run: Any = self.context["dag_run"]
        return str(getattr(dag_run, "triggering_user_name", None) or getattr(dag_run, "run_type", ""))

    @property
    def was_cleared(self) -> bool:
        """Whether the run was cleared before, all of it or tasks of it."""
        return (getattr(self.context["dag_run"], "clear_number", None) or 0) > 0 or self._is_replacement

    @property
    def _is_replacement(self) -> bool:
        """Whether a clear has made this iteration of a loop anew, even one that Airflow does not count.

        With ``reset_dag_runs=false`` it does not. But what follows a cleared gate is in a region of its own,
        whose id, a UUID of version 7, begins with when it was made. The first is as old as the run; those of
        mapped tasks are made with each iteration, and tell nothing.
        """
        region: Any = getattr(self._ti, "region_id", None)
        began = self.context["dag_run"].start_date
        if self.loop is None or self.is_mapped or began is None or getattr(region, "version", None) != 7:
            return False
        made = datetime.fromtimestamp((region.int >> 80) / 1000, UTC)
        return made > began + _MADE_WITHIN

    @property
    def is_first(self) -> bool:
        """Whether this is its first try, and none of another row came before it that was cleared since."""
        return self.try_number == 1 and not self.was_cleared

    def is_current(self) -> bool:
        """Tell whether the task is still this process's own, as far as Airflow tells.

        A process that Airflow has given up may live on beside the one that took over. Only a write to the
        state store tells it so; what it pushed as an XCom would take the place of the other one's.
        """
        try:
            if self.store is not None:
                self.store.set(RESULT_ENTRY, {"try_number": self.try_number})
        except Exception:
            return False
        return True

    def earliest_send(self, began: datetime) -> datetime:
        """Return when a task without a ledger can have sent at the earliest, in a process that began then."""
        return began if self.try_number == 1 else self.run_began

    def key_in_loop(self, key: str) -> str:
        """Return the key of this iteration, if the task is in a loop (Airflow 3.4) and its name is Airflow's.

        A name of the user's means the same call in each iteration.
        """
        from formant_provider.core.keys import key_for_iteration

        loop = None if self.own_name else self.loop
        return key if loop is None else key_for_iteration(key=key, iteration=loop.index)

    @property
    def taken_since(self) -> datetime | None:
        """When somebody else can have sent the key of this call before we do; ``None``: nobody can.

        A name of the user's may have been used anywhere, within the vendor's 24 hours. A key of the task's
        own holds the DAG run, so nobody sent it before the run began; but another row of a mapped list may be
        the same person's, or may have been before the list changed, and an iteration of a loop may have run
        before.
        """
        if not self.own_name and not self.may_follow_another:
            return None
        now = pendulum.now("UTC")
        a_day_ago = now - timedelta(hours=24)
        # The run began by the scheduler's clock, of which this worker's may be behind.
        began = min(self.run_began, now - timedelta(seconds=1))
        return a_day_ago if self.own_name else max(a_day_ago, began)

    @property
    def batch_taken_since(self) -> datetime | None:
        """The same of a batch call, of which the ledger may not know.

        For a name of the user's the vendor knows no end. An earlier try can have placed it, if somebody has
        deleted what it wrote down.
        """
        if self.own_name:
            return datetime.fromtimestamp(0, UTC)
        return self.run_began if self.may_follow_another or self.try_number > 1 else None

    @property
    def look_since(self) -> datetime | None:
        """When another task instance of this task can have placed our call, of which nothing tells any more.

        The ledger knows a call by its position, and the vendor forgets a key: ``None`` while it does not.
        """
        from formant_provider.core.keys import KEY_PROTECTS

        began = self.run_began
        # In a loop that nobody has cleared, what was placed before are the calls of other iterations.
        is_asked_again = self.is_mapped if self.loop is None else self.was_cleared
        return began if is_asked_again and began + KEY_PROTECTS <= pendulum.now("UTC") else None

    def own_traces(self) -> Collection[str]:
        """Return trace ids of calls that rows of this mapped task have placed in this run.

        One of them that is with the same person is the same call, unless rows have names of their own. What
        is not among them may be as well: Airflow deletes a row's XComs when it starts again. In a loop each
        iteration calls the person: of them these ids are no evidence.
        """
        if not self.is_mapped or self.own_name or self.loop is not None:
            return ()
        found: Any = []
        with suppress(Exception):  # it can only help
            found = self._pushed_by_rows(TRACE_XCOM)
        return {trace_id for trace_id in found if trace_id}

    def publish_key(self, key: str, content: str, files: Mapping[str, str]) -> None:
        """Let the other rows of a mapped list see which batch call this one asks for, if it may push XComs.

        ``content`` tells batch calls of the same name apart; ``files`` are what it writes, by field.
        """
        if self.is_mapped and self._ti.task.do_xcom_push:
            self._ti.xcom_push(key=KEY_XCOM, value={"key": key, "content": content, "files": dict(files)})

    def has_duplicate(self, key: str, content: str) -> bool:
        """Whether another row of the mapped list asks for a batch call of the same name with other contacts.

        What a row published before the list was cleared is there until that row starts again. So the same
        contacts at another position are no duplicate: they have moved.
        """
        return any(row.get("key") == key and row.get("content") != content for row in self._published())

    def file_of_another(self, key: str, files: Mapping[str, str]) -> str | None:
        """Return the field whose file another row of the mapped list writes as well; ``None``: there is none.

        A row of the same key is the same batch call, which has moved in the list.
        """
        others = [row["files"] for row in self._published() if row.get("key") != key and "files" in row]
        taken = {uri for row in others for uri in row.values()}
        return next((field for field, uri in files.items() if uri in taken), None)

    @property
    def _ti(self) -> Any:
        return self.context["ti"]

    def _published(self) -> list[dict[str, Any]]:
        return [row for row in self._pushed_by_rows(KEY_XCOM) if isinstance(row, dict)]

    def _pushed_by_rows(self, key: str) -> Collection[Any]:
        from airflow.providers.common.compat.sdk import XCom

        dag_id, run_id, task_id = self.task_id
        return XCom.get_all(key=key, dag_id=dag_id, task_id=task_id, run_id=run_id) or []
