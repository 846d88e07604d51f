"""Measures what a wait costs a real `airflow triggerer`: memory of its two processes, blocks of its loop.

Deferred tasks and their triggers are put into a metadata database of its own, and the triggerer waits for
their calls at the sandbox. Beside them stand triggers that do nothing but wait, which is what Airflow itself
takes. Memory is counted over the waits that come after the first thousand: those make Airflow's two processes
part with memory that they shared. Blocks are of Airflow's work and Python's garbage collection as well.

`--other FOLDER` measures another checkout too, in turns. Needs no key and no network. Leaves nothing behind.
The exit code is 0 when ours took at most 6 KB a wait more than Airflow itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import psutil  # comes with Airflow
from airflow.triggers.base import BaseTrigger, TriggerEvent
from columns import in_columns

if TYPE_CHECKING:
    from formant_provider.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
AGENT = 456
FIRST, THEN = 1000, 1000
RUN_ID = "manual__2026-01-01T00:00:00+00:00"
KINDS = {"bare": "a trigger that only waits", "ours": "ours"}
# The switch of Airflow for triggers that call nothing synchronous, as ours do not.
NO_PORTAL = {"AIRFLOW_DISABLE_GREENBACK_PORTAL": "true"}
MOST_KB = 6.0


# In the triggerer.


class OnlyWaits(BaseTrigger):
    """Waits for ever."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        return f"bench_triggerer.{type(self).__name__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait."""
        await asyncio.get_running_loop().create_future()
        yield TriggerEvent({})  # type: ignore[no-untyped-call]  # Airflow's


class Watchdog(OnlyWaits):
    """Writes down the most CPU that the event loop used at a stretch, ours and Airflow's together."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look every 5 ms."""
        longest_s, notes = 0.0, Path(os.environ["BENCH_NOTES"])
        while True:
            used_s, at = time.thread_time(), time.monotonic()
            while time.monotonic() - at < 0.25:
                await asyncio.sleep(0.005)
                now_s = time.thread_time()
                longest_s, used_s = max(longest_s, now_s - used_s), now_s
            with notes.open("a") as file:
                file.write(f"{longest_s}\n")
            longest_s = 0.0
        yield TriggerEvent({})  # type: ignore[no-untyped-call]  # Airflow's


# In a process of its own, with the checkout that is measured.


def seed(given: Path) -> None:
    """Make the metadata database, with tasks that are deferred. Their triggers lie in a table beside."""
    from airflow.utils.db import initdb

    initdb()
    plan = json.loads(given.read_text())
    _seed(plan["kind"], plan["calls"], datetime.fromisoformat(plan["since"]))
    with sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db") as database:
        database.execute("create table later as select * from trigger")
        database.execute("delete from trigger")


def _seed(kind: str, calls: list[dict[str, str]], since: datetime) -> None:
    from airflow.models import TaskInstance
    from airflow.models.dagrun import DagRun
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    with create_session() as session:
        task, version = _written_dag(session)
        run = DagRun("campaign", RUN_ID, run_type="manual", run_after=since, state="running")
        run.created_dag_version_id = version
        session.add(run)
        session.flush()
        for index, call in enumerate([{}, *calls]):
            path, arguments = Watchdog().serialize() if not call else _trigger(kind, call, since)
            trigger = Trigger(path, arguments)
            session.add(trigger)
            session.flush()
            instance = TaskInstance(task, version, run_id=RUN_ID, state="deferred", map_index=index)
            instance.trigger_id, instance.try_number = trigger.id, 1
            instance.trigger_timeout, instance.next_method = since + timedelta(hours=2), "execute_complete"
            session.add(instance)


def _written_dag(session: Any) -> tuple[Any, UUID]:
    from airflow.models import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG

    with DAG("campaign", schedule=None) as dag:
        EmptyOperator(task_id="call")
    data = DagSerialization.to_dict(dag)
    session.add(DagBundleModel(name="bench"))
    session.flush()
    session.add(DagModel(dag_id="campaign", bundle_name="bench", is_paused=False, fileloc="bench"))
    session.flush()
    SerializedDagModel.write_dag(LazyDeserializedDAG(data=data), bundle_name="bench", session=session)
    session.flush()
    version = DagVersion.get_latest_version("campaign", session=session)
    return DagSerialization.from_dict(data).get_task("call"), version.id


def _trigger(kind: str, call: dict[str, str], since: datetime) -> tuple[str, dict[str, Any]]:
    if kind == "bare":
        return OnlyWaits().serialize()
    from formant_provider.core.conversations.waiters import Watch
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.triggers.conversation import ConversationTrigger

    mark = FormantHook().fingerprints(AGENT).mark(call["phone"])
    watch = Watch(since, call["trace_id"], None, mark, until=since + timedelta(minutes=5))
    receipt = {"trace_id": call["trace_id"], "agent_id": AGENT, "placement": "placed", "status": "queued"}
    receipt |= {"idempotency_key": uuid5(UUID(int=0), call["phone"]).hex * 2, "reference": None}
    deadline = (since + timedelta(hours=1)).isoformat()
    return ConversationTrigger("formant_default", None, AGENT, watch.to_json(), deadline, receipt).serialize()


# This process.


@dataclass
class Measured:
    """What one triggerer took.

    :param kb: memory of a wait, of the process that has the database and of the one with the event loop.
    :param block_ms: the longest stretches of CPU while waits began, went on and ended.
    """

    kb: tuple[float, float]
    block_ms: dict[str, float] = field(default_factory=dict)


class Triggerer:
    """A real triggerer over a database of its own, and the API that its triggers ask."""

    def __init__(self, kind: str, root: Path, steps: int, settings: dict[str, str]) -> None:
        self.kind, self.steps = kind, steps
        self.home = Path(tempfile.mkdtemp(prefix="formant-bench-"))
        self.notes = self.home / "notes"
        path = os.pathsep.join([str(root), str(ROOT / "scripts")])
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self.env |= {"AIRFLOW_HOME": str(self.home), "PYTHONPATH": path, "BENCH_NOTES": str(self.notes)}
        self.env |= {"AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__TRIGGERER__CAPACITY": "20000"}
        self.env |= settings

    def measure(self) -> Measured:
        """Let waits begin, go on and end."""
        from formant_provider.sandbox import Sandbox

        with Sandbox(rate_limit=None, speed=1, record_appears="start") as sandbox:
            count = FIRST + self.steps * THEN
            self._seed(sandbox, count)
            log = self.home / "triggerer.log"
            command = [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"]
            with log.open("wb") as out:
                process = subprocess.Popen(command, env=self.env, stdout=out, stderr=out)
            try:
                return self._measure(sandbox, process.pid, count)
            finally:
                process.terminate()
                process.wait(60)
                shutil.rmtree(self.home)

    def _seed(self, sandbox: Sandbox, count: int) -> None:
        self.env["AIRFLOW_CONN_FORMANT_DEFAULT"] = sandbox.connection_json()
        calls = []
        for number in range(count):
            phone = f"+1415{number // 90 + 2000:04}{number % 90 + 10:02}0"
            calls.append({"phone": phone, "trace_id": sandbox.place(phone, agent_id=AGENT).trace_id})
        plan = {"kind": self.kind, "calls": calls, "since": sandbox.now().isoformat()}
        (self.home / "plan.json").write_text(json.dumps(plan))
        command = [sys.executable, __file__, "--seed", str(self.home / "plan.json")]
        subprocess.run(command, env=self.env, check=True, capture_output=True)

    def _measure(self, sandbox: Sandbox, pid: int, count: int) -> Measured:
        self._begin(FIRST + 1)
        before = _memory_kb(pid)
        self._longest_ms()
        self._begin(count + 1)
        after = _memory_kb(pid)
        each = tuple((now - then) / (count - FIRST) for then, now in zip(before, after, strict=True))
        measured = Measured((each[0], each[1]), {"begin": self._longest_ms()})
        time.sleep(40)  # a poll
        measured.block_ms["go on"] = self._longest_ms()
        if self.kind == "ours":
            sandbox.advance(200)
            self._until("select count(*) <= 1 from trigger")
            measured.block_ms["end"] = self._longest_ms()
        return measured

    def _begin(self, count: int) -> None:
        """Let so many wait, and be at rest."""
        with sqlite3.connect(self.home / "airflow.db", timeout=30) as database:
            there = database.execute("select count(*) from trigger").fetchone()[0]
            query = "insert into trigger select * from later where id not in (select id from trigger) limit ?"
            database.execute(query, [count - there])
        logs = self.home / "logs"
        deadline = time.monotonic() + 300
        while sum(1 for _ in logs.rglob("*.trigger.*")) < count:
            if time.monotonic() > deadline:
                raise TimeoutError((self.home / "triggerer.log").read_text()[-3000:])
            time.sleep(0.5)
        time.sleep(5)

    def _until(self, question: str) -> None:
        deadline = time.monotonic() + 300
        with sqlite3.connect(self.home / "airflow.db", timeout=30) as database:
            while not database.execute(question).fetchone()[0]:
                if time.monotonic() > deadline:
                    raise TimeoutError((self.home / "triggerer.log").read_text()[-3000:])
                time.sleep(0.5)

    def _longest_ms(self) -> float:
        """Return the longest stretch since this was asked last."""
        lines = self.notes.read_text().split() if self.notes.exists() else []
        self.notes.write_text("")
        return max((1000 * float(line) for line in lines), default=0.0)


def _memory_kb(pid: int) -> list[int]:
    """Return the memory of the triggerer's two processes; what they share is counted once."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return [process.memory_full_info().pss // 1024 for process in processes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--other", type=Path, help="another checkout, to be measured beside this one")
    parser.add_argument("--steps", type=int, default=1, help="thousands of waits, default %(default)s")
    parser.add_argument("--rounds", type=int, default=1, help="how often, default %(default)s")
    parser.add_argument("--seed", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.seed:
        seed(options.seed)
        return 0
    sides: list[tuple[str, str, Path, dict[str, str]]] = [
        (f"{name}{portal}", kind, ROOT, settings)
        for kind, name in KINDS.items()
        for portal, settings in (("", {}), (", without portals", NO_PORTAL))
    ]
    if options.other:
        sides.append((f"ours, as in {options.other.name}", "ours", options.other.resolve(), {}))
    return compare(sides, options.steps, options.rounds)


def compare(sides: list[tuple[str, str, Path, dict[str, str]]], steps: int, rounds: int) -> int:
    """Measure all sides in turns; 0 when ours kept to its bounds."""
    count = FIRST + steps * THEN
    print(f"{len(sides) * rounds} triggerers with {count} waits, one after the other ...\n", flush=True)
    found: dict[str, list[Measured]] = {name: [] for name, *_ in sides}
    for _ in range(rounds):
        for name, kind, root, settings in sides:
            found[name].append(Triggerer(kind, root, steps, settings).measure())
    rows = [_row(name, measured) for name, measured in found.items()]
    heads = ("memory a wait", "supervisor", "event loop", "both", "block: begin", "go on", "end")
    print(in_columns([heads, *rows]))
    own_kb = _kb(found["ours"], 2) - _kb(found[KINDS["bare"]], 2)
    print(f"\nOf what ours takes, {own_kb:.1f} KB are not Airflow's own.")
    return 0 if own_kb <= MOST_KB else 1


def _kb(measured: list[Measured], which: int) -> float:
    return statistics.median([*each.kb, sum(each.kb)][which] for each in measured)


def _row(name: str, measured: list[Measured]) -> tuple[str, ...]:
    blocks = []
    for phase in ("begin", "go on", "end"):
        found = [each.block_ms[phase] for each in measured if phase in each.block_ms]
        blocks.append(f"{statistics.median(found):.0f} ms" if found else "-")
    return (name, *(f"{_kb(measured, which):.1f} KB" for which in range(3)), *blocks)


if __name__ == "__main__":
    raise SystemExit(main())
