"""Every failure of the upload of a batch call, in every kind of task, through the engine: no second call.

One run of a DAG plays one row: a plain task, three lists of a mapped one, and a task that waits in the
triggerer. Each has a sandbox of its own, whose first upload is struck.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.listeners import hookimpl
from airflow.sdk.listener import get_listener_manager
from sqlalchemy import select

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH, BATCHES
from formant_provider.store.schema import intents
from formant_provider.store.store import open_up
from formant_provider.store.verify import verify
from formant_provider.tasks.ledger import BATCHES_ENTRY
from support.databases import Database
from support.engine import DagResult, TaskId, run_dag_source
from support.stores import SECRET, sqlite_store
from support.versions import needs_state_store

pytestmark = [pytest.mark.engine, needs_state_store]

KEY = "key-1234567"
NAME = "Asha-the-private"
COLUMNS = ("plain", "mapped", "deferrable")
ALONE = ("plain", "deferrable")
# Two people for each list; each list is a batch call.
LISTS = [[f"+14155550{number}", f"+14155550{number + 1}"] for number in (120, 130, 140)]

DAG = """
from airflow.sdk import DAG

from formant_provider.operators.batch import FormantCreateBatchCallOperator as BatchCall

OPTIONS = {options!r}


def contacts(numbers):
    return [{{"customer_phone": number, "customer_name": "{name}"}} for number in numbers]


with DAG("batch_calls", schedule=None):
    BatchCall(
        task_id="plain", formant_conn_id="plain", name="one", contacts=contacts({lists!r}[0]), **OPTIONS
    )
    BatchCall.partial(task_id="mapped", formant_conn_id="mapped", **OPTIONS).expand_kwargs(
        [{{"name": f"list {{i}}", "contacts": contacts(numbers)}} for i, numbers in enumerate({lists!r})]
    )
    BatchCall(
        task_id="deferrable",
        formant_conn_id="deferrable",
        name="one",
        contacts=contacts({lists!r}[0]),
        wait_for_completion=True,
        poll_interval=0.1,
        deferrable=True,
        **OPTIONS,
    )
"""


@dataclass(frozen=True)
class Row:
    """One failure, and how the batch call that it strikes ends.

    :param strikes: faults, how often each, and where; the first request of a kind meets the first of them.
    :param placement: ``None``: the task is parked.
    :param posts: uploads that reach the API.
    :param down: nobody listens until the first try is over.
    :param forgotten: what the first try wrote into the state store is deleted.
    :param columns: a row of a mapped task looks at the list before it uploads, so that a fault of the list
        strikes it there.
    """

    name: str
    placement: str | None
    strikes: Sequence[tuple[Fault, int, str]] = ()
    posts: int = 1
    tries: int = 1
    rings: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    down: bool = False
    forgotten: bool = False
    columns: Sequence[str] = COLUMNS

    def __str__(self) -> str:
        return self.name


def once(fault: Fault, times: int = 1) -> list[tuple[Fault, int, str]]:
    return [(fault, times, BATCH)]


LOST_TRY = [*once(Fault.DROP_AFTER), (Fault.ERROR_503_BEFORE, 4, BATCHES)]
DROPPED = once(Fault.DROP_BEFORE)
LAGS = {"batch_list_lag_reads": 1}
WISHED = {"resubmit_if_missing": True}
ROWS = (
    Row("500 after it was accepted", "found", once(Fault.ERROR_500_AFTER)),
    Row("503 after it was accepted", "found", once(Fault.ERROR_503_AFTER)),
    Row("dropped after it was accepted", "found", once(Fault.DROP_AFTER)),
    Row("no answer after it was accepted", "found", once(Fault.HANG_AFTER)),
    Row("an answer that cannot be read", "found", once(Fault.GARBAGE)),
    Row("answer lost, and the list fails for the first try", "found", LOST_TRY, tries=2, columns=ALONE),
    Row("what was written down deleted as well", "found", LOST_TRY, tries=2, forgotten=True, columns=ALONE),
    Row("answer lost, and a wish to upload again", "found", once(Fault.DROP_AFTER), options=WISHED),
    Row("answer lost, and the list lags behind", None, once(Fault.DROP_AFTER), settings=LAGS),
    Row("500 before it was accepted", None, once(Fault.ERROR_500_BEFORE), rings=0),
    Row("503 before it was accepted", None, once(Fault.ERROR_503_BEFORE), rings=0),
    Row("dropped before it was accepted", None, once(Fault.DROP_BEFORE), rings=0),
    Row("no answer before it was accepted", None, once(Fault.HANG_BEFORE), rings=0),
    Row("dropped before, with a wish to upload again", "placed", DROPPED, 2, 2, options=WISHED),
    Row("429 with a time to wait", "placed", once(Fault.RATE_LIMIT), posts=2),
    Row("429 without headers for the first try", "placed", once(Fault.RATE_LIMIT_NO_HEADERS, 4), 5, 2),
    Row("too many calls at once", "placed", once(Fault.CONCURRENCY_LIMIT), posts=2),
    Row("API down for the first try", "placed", tries=2, down=True),
)  # fmt: skip


class Scene:
    """One row, played."""

    def __init__(self, row: Row, database: Database | None) -> None:
        self.row, self.database = row, database
        self.sandboxes = {
            column: Sandbox(api_key=KEY, speed=1800, rate_limit=None, **row.settings) for column in COLUMNS
        }
        self.struck: dict[str, TaskId] = {}
        self.result: DagResult

    def play(self, folder: Path) -> None:
        """Run the DAG to its end."""
        options = {"agent_id": 456, "retries": 1, "lookup_timeout": 0, **self.row.options}
        source = DAG.format(options=options, lists=LISTS, name=NAME)
        sleep = time.sleep
        with ExitStack() as stack, pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.02)))
            for sandbox in self.sandboxes.values():
                stack.enter_context(sandbox)
                for fault, times, endpoint in self.row.strikes:
                    sandbox.inject(endpoint, fault, times=times)
            env = {f"AIRFLOW_CONN_{column.upper()}": self._connection(column) for column in COLUMNS}
            if self.database is not None:
                env["AIRFLOW_CONN_CALLS_DB"] = json.dumps(self.database.connection)
            stack.enter_context(heard_by(self))
            self.result = run_dag_source(source, folder, "batch_calls", env=env)

    def _connection(self, column: str) -> str:
        # An upload is waited for ten times as long as any other answer.
        extra: dict[str, Any] = {"store_conn_id": "calls_db", "store_secret": SECRET} if self.database else {}
        extra["read_timeout"] = 0.15 if any("hang" in fault for fault, _, _ in self.row.strikes) else 30
        return json.dumps(json.loads(self.sandboxes[column].connection_json()) | {"extra": extra})

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        """Begin a try; the first one of each column is struck."""
        task_id, is_first = task_instance.task_id, task_instance.task_id not in self.struck
        if is_first:
            self.struck[task_id] = (task_id, task_instance.map_index)
            if self.row.down:
                self.sandboxes[task_id].stop()
        elif self.row.forgotten and task_instance.try_number == 2:
            task_instance.get_template_context()["task_state_store"].clear()

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        """A fault lasts no longer than the try."""
        if self.row.down:
            self.sandboxes[task_instance.task_id].start()


@contextmanager
def heard_by(listener: object) -> Iterator[None]:
    """Register a listener with Airflow for a while."""
    manager = get_listener_manager()
    manager.add_listener(listener)
    try:
        yield
    finally:
        manager.pm.unregister(listener)


@pytest.mark.parametrize("is_stored", [False, True], ids=["", "call store"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_nobody_is_rung_twice(row: Row, is_stored: bool, tmp_path: Path) -> None:
    """Rings, states, tries, uploads and ids are those of the row, and no failure shows what is private.

    With a call store they are the same, and its chain of events is whole.
    """
    with sqlite_store() if is_stored else nullcontext() as database:
        scene = Scene(row, database)
        scene.play(tmp_path)
        assert_as_promised(scene)
        if database is not None:
            assert verify(open_up(database.engine(), "the test", SECRET)).count == 0


def assert_as_promised(scene: Scene) -> None:
    assert "error calling listener" not in scene.result.log_text
    assert set(scene.struck) == set(COLUMNS)
    for column in scene.row.columns:
        assert_column(scene, column, scene.sandboxes[column])
    log = scene.result.masked_log_text.splitlines()
    shown = "\n".join(line for line in log if not line.startswith("debug "))
    shown += str(scene.result.tasks)
    for private in (KEY, NAME, *(number.lstrip("+") for numbers in LISTS for number in numbers)):
        assert private not in shown


def assert_column(scene: Scene, column: str, sandbox: Sandbox) -> None:
    row, struck = scene.row, scene.struck[column]
    lists = LISTS if column == "mapped" else LISTS[:1]
    hit = max(struck[1], 0)
    expected = {
        number: row.rings if index == hit else 1 for index, numbers in enumerate(lists) for number in numbers
    }
    assert sandbox.rings == {number: rings for number, rings in expected.items() if rings}
    assert sum(request.endpoint == BATCH for request in sandbox.requests) == row.posts + len(lists) - 1
    batches = {batch.name: batch.batch_id for batch in sandbox.batches}
    for index in range(len(lists)):
        task = (column, index if column == "mapped" else -1)
        result, is_struck = scene.result[task], task == struck
        placement = row.placement if is_struck else "placed"
        state = ("success" if placement else "failed", row.tries if is_struck else 1)
        assert (result.state, result.try_number) == state, (task, scene.result.masked_log_text)
        if placement is None:
            assert_parked(scene, task)
            continue
        receipt = result.xcoms["return_value"]
        assert receipt["placement"] == placement, task
        assert batches[receipt["name"]] == receipt["batch_id"] == result.xcoms["batch_id"]
        if column == "deferrable":
            assert (receipt["metrics"]["success_count"], receipt["total_recipients"]) == (2, 2)


def assert_parked(scene: Scene, task: TaskId) -> None:
    """The log names the marker to look for, and what is written down holds the doubt."""
    result, marker = scene.result, "[af-"
    if scene.database is None:
        ((key, known),) = result[task].state_store[BATCHES_ENTRY]["calls"].items()
        assert (known["sent"], known["receipt"]) == ("unclear", None)
        marker = f"[af-{key.replace('-', '')[:16]}]"
    else:
        wanted = select(intents.c.state).where(intents.c.task_id == task[0], intents.c.map_index == task[1])
        with scene.database.engine().connect() as conn:
            assert conn.execute(wanted).scalars().all() == ["unclear"]
    lines = [
        line for line in result.log_text.splitlines() if marker in line and "Look in the FormantAI" in line
    ]
    assert lines
    assert all("A batch call may have been placed" in line for line in lines)
    assert not result[task].xcoms.get("batch_id")
