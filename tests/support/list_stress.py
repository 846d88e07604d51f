"""A call list whose workers die, over an API and a database that fail; then everything is counted.

What the sandbox has seen is the truth: whom it was asked to call, and how often.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psutil import Process

from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.numbers import ending_of
from support.list_worker import Came, ListTask
from support.processes import ended

CREATE_CALL = "POST /v1/call"
# So long a try may do nothing until it is killed all the same.
IDLE_S = 90.0


def people(count: int, endings: Sequence[str] = ("10",), *, first: int = 0) -> list[str]:
    """Return numbers of so many people, 80,000 at most; ``endings``, in turn, are their last digits."""
    return [f"+1415{20_000 + at}{endings[at % len(endings)]}" for at in range(first, first + count)]


@dataclass
class World:
    """A list, and all that it is worked off with. What is changed here holds for the next try.

    :param numbers: whom to call, in the order of the rows.
    :param fields: further fields of the operator.
    :param calls: what the operator is given as its list; ``None``: the numbers.
    :param database: that of the call store, if there is one.
    """

    sandbox: Sandbox
    folder: Path
    numbers: list[str]
    fields: dict[str, Any] = field(default_factory=dict)
    connections: Mapping[str, Any] | None = None
    name: str = "list"
    calls: Any = None
    database: Any = None

    def __post_init__(self) -> None:
        connections = self.connections or {"formant_default": self.sandbox.connection_uri()}
        self.task = ListTask(self.operator, self.folder / self.name, connections)
        self.everybody = set(self.numbers)

    @property
    def results(self) -> Path:
        """The file of what came of each row."""
        return self.folder / f"{self.name}.csv"

    def operator(self) -> FormantCallListOperator:
        """Return the operator as it is in the DAG file now."""
        calls = self.calls or [{"customer_phone": number, "name": "Asha"} for number in self.numbers]
        fields = {"agent_id": 456, "poll_interval": 0.3, "retries": 1000, "recipients": "full", **self.fields}
        return FormantCallListOperator(
            task_id=self.name, calls=calls, results_uri=str(self.results), **fields
        )

    def run(self, **kills: Any) -> Kills:
        """Work off the list to its end; the arguments are those of :class:`Kills`."""
        run = Kills(self, **kills)
        run.run()
        return run

    def rows(self) -> list[dict[str, str]]:
        """Return what the results say."""
        return list(csv.DictReader(self.results.open()))

    def wrong(
        self, *, attempts: int = 1, after: Collection[str] = (), called: Collection[str] | None = None
    ) -> list[str]:
        """Return one sentence for each thing that must not be.

        :param attempts: how often a person is called whose calls end in one of ``after``.
        :param called: who of the list is to be called; the others may have been, before. ``None``: all.
        """
        rows, wrong = self.rows(), []
        if [row["customer_phone"] for row in rows] != self.numbers:
            wrong.append(f"{len(rows)} results for {len(self.numbers)} rows, or in another order")
        keys = Counter(call.request.idempotency_key for call in self.sandbox.calls)
        wrong += [f"a key was accepted {times} times" for times in keys.values() if times != 1]
        calls = defaultdict(list)
        for call in self.sandbox.calls:
            calls[call.customer_phone].append(call.trace_id)
        self.everybody |= set(self.numbers)
        wrong += [f"{number} was called, and in no list" for number in calls.keys() - self.everybody]
        wrong += [
            f"{number} was called {len(calls[number])} times"
            for number in calls
            if len(calls[number]) > attempts
        ]
        for row in rows:
            wrong += _wrong_of_row(row, calls[row["customer_phone"]], attempts, after, called)
        return wrong

    def figures(self) -> str:
        """Say what the sandbox was asked."""
        requests = self.sandbox.requests
        posts = Counter(seen.status for seen in requests if seen.endpoint == CREATE_CALL)
        others = Counter(seen.endpoint for seen in requests if seen.endpoint != CREATE_CALL)
        return f"{len(self.sandbox.calls):,} calls; POSTs {dict(posts)}; {dict(others)}"


def _wrong_of_row(
    row: Mapping[str, str],
    traces: Sequence[str],
    attempts: int,
    after: Collection[str],
    called: Collection[str] | None,
) -> list[str]:
    number = row["customer_phone"]
    if called is not None and number not in called:
        return []
    status = ending_of(number).status
    times = attempts if status in after else 1
    wrong = []
    if len(traces) != times:
        wrong.append(f"{number} was called {len(traces)} times, not {times}: {row}")
    elif row["status"] != status:
        wrong.append(f"{number} has status {row['status']}, not {status}: {row}")
    told = [each["trace_id"] for each in json.loads(row["attempt_list"])]
    if told != list(traces):
        wrong.append(f"{number} has attempts {told}, not {traces}")
    return wrong


@dataclass
class Kills:
    """Runs a list to its end, and kills its worker at random moments.

    :param most: how many kills there are.
    :param calls: a kill comes after so many further calls, on average; or after a second, on average.
    :param meanwhile: called after each kill with their number.
    :param attempt: further circumstances of each try.
    :param revives: instead of being killed, processes stand still until the next try has begun to call, and
        go on beside it.
    """

    world: World
    most: int = 0
    calls: float = 40.0
    random: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - no secret
    meanwhile: Callable[[int], None] = lambda _: None
    timeout_s: float = 900.0
    attempt: dict[str, Any] = field(default_factory=dict)
    revives: bool = False
    watches_memory: bool = False
    kills: int = field(default=0, init=False)
    errors: Counter[str] = field(default_factory=Counter, init=False)
    seconds: float = field(default=0.0, init=False)
    came: Came | None = field(default=None, init=False)
    _revived: list[int] = field(default_factory=list, init=False)
    _standing: list[int] = field(default_factory=list, init=False)
    _memory: list[float] = field(default_factory=list, init=False)

    def run(self) -> None:
        """Start tries until one is no failure that is tried again."""
        began, task = time.monotonic(), self.world.task
        while True:
            pid = task.start(**self.attempt)
            is_killed = self._watch(pid, self._moment(), began + self.timeout_s)
            self.seconds = time.monotonic() - began
            if is_killed:
                self.kills += 1
                self.meanwhile(self.kills)
                continue
            while self._revived:
                ended(self._revived.pop())
            came = task.came()
            assert came is not None, "the process of a try ended without a word"
            if came.state != "up_for_retry":
                self.came = came
                return
            self.errors[came.error] += 1
            assert self.errors.total() < 30, came.error

    @property
    def memory_mb(self) -> list[float]:
        """The memory of its process, in MB, several times a second."""
        return self._memory

    def memory(self) -> list[int]:
        """Return the most memory of its process in each tenth of the time, in MB."""
        size = max(len(self._memory) // 10, 1)
        return [round(max(self._memory[at : at + size])) for at in range(0, len(self._memory), size)]

    def _moment(self) -> Callable[[float], bool]:
        """Return what says, by the seconds since its start, when a process is killed."""
        if self.kills >= self.most:
            return lambda _: False
        if self.random.random() < 0.3:
            seconds = self.random.expovariate(1)
            return lambda lasted_s: lasted_s > seconds
        enough = len(self.world.sandbox.calls) + self.random.expovariate(1 / self.calls)
        return lambda lasted_s: lasted_s > IDLE_S or len(self.world.sandbox.calls) >= enough

    def _watch(self, pid: int, is_time: Callable[[float], bool], deadline: float) -> bool:
        """Wait for a process; return whether it was killed."""
        began = time.monotonic()
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            is_late = time.monotonic() > deadline
            if is_late or is_time(time.monotonic() - began):
                self._strike(pid, signal.SIGSTOP if self.revives and not is_late else signal.SIGKILL)
                assert not is_late, f"the list is not done in time: {dict(self.errors)}"
                return True
            if self.watches_memory:
                self._memory.append(Process(pid).memory_info().rss / 1e6)
            time.sleep(0.2 if self.watches_memory else 0.005)
            if self._standing and time.monotonic() - began > 2.5:
                self._revive()
        self._revive()
        code = ended(pid)
        assert code == 0, f"the process of a try ended with {code}"
        return False

    def _strike(self, pid: int, what: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, what)
        if what is signal.SIGKILL:
            ended(pid)
        else:
            self._standing.append(pid)

    def _revive(self) -> None:
        """Let processes go on that stand still; wait for those that had gone on before."""
        while self._standing:
            pid = self._standing.pop()
            os.kill(pid, signal.SIGCONT)
            self._revived.append(pid)
