"""What a task knows of its DAG run, and of the other rows of its list.

Most of it bounds what it cannot know: when somebody else can have asked for the same call at the earliest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

KEY_XCOM = "idempotency_key"
TRACE_XCOM = "trace_id"
RESULT_ENTRY = "formant_result"


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


def is_its_own(context: Context) -> bool:
    """Whether the task is still this process's own, as far as Airflow tells.

    A process that Airflow has given up may live on beside the one that took over. Only a write to the state
    store tells it so; what it pushed as an XCom would take the place of the other one's.
    """
    store: Any = context.get("task_state_store")
    try:
        if store is not None:
            store.set(RESULT_ENTRY, {"try_number": context["ti"].try_number})
    except Exception:
        return False
    return True


def was_cleared(context: Context) -> bool:
    """Whether the run was cleared before, all of it or tasks of it."""
    dag_run: Any = context["dag_run"]
    return (getattr(dag_run, "clear_number", None) or 0) > 0


def in_loop(context: Context, key: str) -> str:
    """Return the key of this iteration, if the task is in a loop (Airflow 3.4)."""
    from formant_provider.core.keys import key_for_iteration

    loop: Any = context.get("loop")
    return key if loop is None else key_for_iteration(key=key, iteration=loop.index)


def taken_since(context: Context, *, own_name: bool) -> datetime | None:
    """Return when somebody else can have sent the key of this call before we do; ``None``: nobody can.

    A name of the user's may have been used anywhere, within the vendor's 24 hours. A key of the task's own
    holds the DAG run, so nobody sent it before the run began; but another row of a mapped list may be the
    same person's, or may have been before the list changed.
    """
    import pendulum

    ti: Any = context["ti"]
    if not own_name and ti.map_index < 0:
        return None
    now = pendulum.now("UTC")
    a_day_ago = now - timedelta(hours=24)
    # The run began by the scheduler's clock, of which this worker's may be behind.
    began = min(run_began(context), now - timedelta(seconds=1))
    return a_day_ago if own_name else max(a_day_ago, began)


def look_since(context: Context) -> datetime | None:
    """Return when another row of this mapped task can have placed our call, and nothing tells of it any more.

    The ledger knows a call by its position, and the vendor forgets a key: ``None`` while it does not.
    """
    import pendulum

    from formant_provider.core.keys import KEY_PROTECTS

    ti: Any = context["ti"]
    began = run_began(context)
    return began if ti.map_index >= 0 and began + KEY_PROTECTS <= pendulum.now("UTC") else None


def own_traces(context: Context, *, own_name: bool) -> Collection[str]:
    """Return trace ids of calls that rows of this mapped task have placed in this run.

    One of them that is with the same person is the same call, unless rows have names of their own. What is
    not among them may be as well: Airflow deletes a row's XComs when it starts again.
    """
    from airflow.providers.common.compat.sdk import XCom

    ti: Any = context["ti"]
    if ti.map_index < 0 or own_name:
        return ()
    found: Any = []
    with suppress(Exception):  # it can only help
        found = XCom.get_all(key=TRACE_XCOM, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id) or []
    return {trace_id for trace_id in found if trace_id}


def batch_taken_since(context: Context, *, own_name: bool) -> datetime | None:
    """Return when somebody whom the ledger does not know of can have placed our batch call; ``None``: nobody.

    As with a call, but for a name of the user's the vendor knows no end. An earlier try can have, if somebody
    has deleted what it wrote down.
    """
    ti: Any = context["ti"]
    if own_name:
        return datetime.fromtimestamp(0, UTC)
    return run_began(context) if ti.map_index >= 0 or ti.try_number > 1 else None


def announce(context: Context, key: str, content: str, files: Mapping[str, str]) -> None:
    """Let the other rows of a mapped list see which batch call this one asks for, if the task may push XComs.

    :param content: tells campaigns of the same name apart.
    :param files: what it writes, by the name of the field.
    """
    ti: Any = context["ti"]
    if ti.map_index >= 0 and ti.task.do_xcom_push:
        ti.xcom_push(key=KEY_XCOM, value={"key": key, "content": content, "files": dict(files)})


def file_of_another(context: Context, key: str, files: Mapping[str, str]) -> str | None:
    """Return the field whose file another row of the mapped list writes as well; ``None`` if there is none.

    A row of the same key is the same campaign, which has moved in the list.
    """
    others = [row["files"] for row in _announced(context) if row.get("key") != key and "files" in row]
    taken = {uri for row in others for uri in row.values()}
    return next((field for field, uri in files.items() if uri in taken), None)


def has_twin(context: Context, key: str, content: str) -> bool:
    """Whether another row of the mapped list asks for a batch call of the same name with other contacts.

    What a row announced before the list was cleared is there until that row starts again. So the same
    contacts at another position are no twin: they have moved.
    """
    rows = _announced(context)
    return any(row.get("key") == key and row.get("content") != content for row in rows)


def _announced(context: Context) -> list[dict[str, Any]]:
    from airflow.providers.common.compat.sdk import XCom

    ti: Any = context["ti"]
    announced = XCom.get_all(key=KEY_XCOM, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id) or []
    return [row for row in announced if isinstance(row, dict)]
