"""Many processes place calls over one store and are killed at random; then everything is counted.

What the sandbox has seen is the truth: whom it was asked to call, when, and how often.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from json import loads
from pathlib import Path
from typing import Any

from sqlalchemy import select

from formant_provider.sandbox import Sandbox
from formant_provider.store.schema import chain, events
from formant_provider.store.store import Store
from support.stress_worker import Job, command

ROOT = Path(__file__).parents[2]
CREATE_CALL = "POST /v1/call"


@dataclass
class Stress:
    """One run.

    :param kill_every_s: seconds between two kills, on average.
    :param most_kills: how many there are in all.
    :param meanwhile: called once when half of all tasks are done.
    """

    job: Job
    processes: int
    kill_every_s: float
    most_kills: int
    random: random.Random
    meanwhile: Callable[[], None] | None = None
    kills: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    said: list[str] = field(default_factory=list, init=False)
    _running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)
    _tries: Counter[int] = field(default_factory=Counter, init=False)

    def run(self, timeout_s: float = 900) -> None:
        """Start all processes, kill some of them again and again, and return when all tasks are done."""
        began = time.monotonic()
        for process in range(self.processes):
            self._start(process)
        next_kill = time.monotonic() + 1.0
        try:
            while self._running:
                assert time.monotonic() - began < timeout_s, f"not done after {timeout_s} s"
                time.sleep(0.05)
                self._reap()
                done = self._done_share()
                # The last ones are let finish: who looks for its call starts anew after each kill.
                if self.kills < self.most_kills and done < 0.95 and time.monotonic() > next_kill:
                    self._kill_one()
                    next_kill = time.monotonic() + self.random.expovariate(1 / self.kill_every_s)
                if self.meanwhile and done > 0.4:
                    self.meanwhile, meanwhile = None, self.meanwhile
                    meanwhile()
        finally:
            for worker in self._running.values():
                worker.kill()
                worker.wait()
        self.seconds = time.monotonic() - began

    def results(self) -> list[dict[str, Any]]:
        """Return the result of each task of each process."""
        return [loads(line) for process in range(self.processes) for line in self._lines(process)]

    def _start(self, process: int) -> None:
        self._tries[process] += 1
        # A worker counts tries on when the store fails it, so one that was killed leaves some room.
        number = 1000 * (self._tries[process] - 1) + 1
        with (Path(self.job.folder) / f"{process}.log").open("ab") as log:
            self._running[process] = subprocess.Popen(
                command(self.job, process, number),
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
                stdout=log,
                stderr=log,
            )

    def _reap(self) -> None:
        for process, worker in list(self._running.items()):
            if worker.poll() is None:
                continue
            del self._running[process]
            if worker.returncode != 0:
                if worker.returncode != -signal.SIGKILL:
                    self.said.append((Path(self.job.folder) / f"{process}.log").read_text()[-2000:])
                    time.sleep(0.2)
                self._start(process)

    def _kill_one(self) -> None:
        # One that has ended is hit as often as any: otherwise the last ones would be killed all the time.
        worker = self._running.get(self.random.randrange(self.processes))
        if worker is not None:
            worker.send_signal(signal.SIGKILL)
            self.kills += 1

    def _done_share(self) -> float:
        done = sum(len(self._lines(process)) for process in range(self.processes))
        return done / (self.processes * self.job.tasks)

    def _lines(self, process: int) -> list[str]:
        path = self.job.results_of(process)
        return path.read_text().splitlines() if path.exists() else []


@dataclass
class Counted:
    """What came of a run.

    :param results: how many tasks ended how.
    :param wrong: one sentence for each thing that must not be.
    """

    results: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    events: int = 0
    longest_wait_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


def count(stress: Stress, sandbox: Sandbox, store: Store) -> Counted:
    """Check that each call was placed once, that each task knows its ids, and that the chain is whole."""
    counted, job = Counted(), stress.job
    counted.wrong += [f"a process ended with an error: {text}" for text in stress.said]
    _count_results(counted, stress, sandbox)
    posts = [seen for seen in sandbox.requests if seen.endpoint == CREATE_CALL]
    counted.posts = Counter(str(seen.status) for seen in posts)
    keys = Counter(call.request.idempotency_key for call in sandbox.calls)
    counted.calls = keys.total()
    counted.wrong += [f"{key} was accepted {times} times" for key, times in keys.items() if times != 1]
    counted.events = _check_chain(counted, store)
    counted.wrong += off_cap(stress, sandbox)
    if counted.longest_wait_s > job.lease_s + 1:
        counted.wrong.append(f"a process waited for {counted.longest_wait_s:.1f} s")
    return counted


def most_in_a_window(moments: Iterable[datetime], per: timedelta) -> int:
    """Return how many moments lie in one window of this length, at most."""
    known, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(known):
        while moment - known[first] >= per:
            first += 1
        most = max(most, last - first + 1)
    return most


def off_cap(stress: Stress, sandbox: Sandbox) -> list[str]:
    """Return who was called more often than the cap allows, or less often than it would have."""
    rule, times, asked = stress.job.rule, defaultdict(list), defaultdict(set)
    if rule is None:
        return []
    for call in sandbox.calls:
        times[call.customer_phone].append(call.starts_at)
    for told in stress.results():
        asked[told["person"]].add(told["key"])
    most = {person: most_in_a_window(times[person], rule.per) for person in asked}
    return [
        f"{person} was called {calls} times in a window, and {len(asked[person])} calls were asked for"
        for person, calls in most.items()
        if calls != min(rule.calls, len(asked[person]))
    ]


def _count_results(counted: Counted, stress: Stress, sandbox: Sandbox) -> None:
    traces = {call.request.idempotency_key: call.trace_id for call in sandbox.calls}
    results, job = stress.results(), stress.job
    if len(results) != stress.processes * job.tasks:
        counted.wrong.append(f"{len(results)} results")
    for told in results:
        counted.results[told["result"]] += 1
        counted.errors.update(told["errors"])
        counted.longest_wait_s = max(counted.longest_wait_s, told["waited_s"])
        has_ids = told["result"] in {"placed", "found"}
        if has_ids and told["trace_id"] != traces.get(told["key"]):
            counted.wrong.append(f"{told} has other ids than its call")
        if told["result"] == "unconfirmed" and job.calls_each > 1:
            continue  # its process has died, and another call to the same person may be its as well
        if not has_ids and (told["result"] != "capped" or told["key"] in traces):
            counted.wrong.append(f"{told}, and the sandbox has {traces.get(told['key'])}")


def _check_chain(counted: Counted, store: Store) -> int:
    with store.reading() as conn:
        links = conn.execute(select(events).order_by(events.c.seq)).all()
        end = conn.execute(select(chain.c.seq, chain.c.hash, chain.c.base_hash)).one()
    if [link.seq for link in links] != list(range(1, end.seq + 1)):
        counted.wrong.append(f"the chain has {len(links)} events, and ends at {end.seq}")
    hashes = [end.base_hash, *(link.hash for link in links)]
    for link, (before, own) in zip(links, pairwise(hashes), strict=True):
        if store.digests.chained(before, link.seq, link.at, link.kind, link.subject, link.payload) != own:
            counted.wrong.append(f"event {link.seq} does not follow from the one before")
    if hashes[-1] != end.hash:
        counted.wrong.append("the end of the chain is another one than its last event")
    return len(links)
