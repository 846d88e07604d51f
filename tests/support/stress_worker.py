"""One of many processes that place calls over one store at once, and may be killed at any moment.

It is a worker with a list of tasks. Each task asks for one call and is tried until it has a result, which is
written to a file. A process that was killed is started again with the next try number, and goes on where the
file ends, as Airflow gives a task whose worker died to another one.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import FormantError, NotAdmitted, StoreUnavailable
from formant_provider.api.models import CallRequest
from formant_provider.core.calls.facts import CallCallbacks, Policy
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.placement import CallPlacing
from formant_provider.core.caps import CapRule
from formant_provider.core.keys import key_for_name
from formant_provider.store.admission import Admission
from formant_provider.store.engines import create
from formant_provider.store.intents import Asked
from formant_provider.store.ledger import StoreLedger
from formant_provider.store.store import Store, open_up

AGENT = 456
WHERE = "connection 'stress'"
PAUSE_S = 0.2


@dataclass(frozen=True)
class Job:
    """What all processes of a run are told.

    :param tasks: of each process.
    :param groups: so many processes share those of their calls that are shared.
    :param share: of ten tasks, how many ask for a call that others ask for as well.
    :param calls_each: how many calls one person is called with.
    :param cap: how many calls within how many seconds one person may get.
    """

    database: str
    secret: str
    api: str
    api_key: str
    folder: str
    tasks: int = 500
    groups: int = 4
    share: int = 3
    calls_each: int = 1
    cap: tuple[int, float] | None = None
    on_capped: str = "skip"
    lease_s: float = 30.0
    lookup_s: float = 10.0
    limits: dict[str, Any] = field(default_factory=dict)

    def name_of(self, process: int, task: int) -> str:
        """Return which call a task asks for."""
        is_shared = task % 10 < self.share
        return f"group-{process // self.groups}-{task}" if is_shared else f"{process}-{task}"

    def person_of(self, process: int, task: int) -> str:
        """Return whom a task calls: somebody of its own, or with others of its process and group."""
        owner = process - process % self.groups if task % 10 < self.share else process
        kind = 0 if task % 10 < self.share else 1
        person = task // (10 * self.calls_each) * 10 + task % 10
        # The sandbox answers by the last two digits: of a number ending in 08 no record ever appears.
        number = (kind * 1000 + owner) * 1000 + person // 50 * 100 + 50 + person % 50
        return f"+1415{number:07d}"[:12]

    @property
    def rule(self) -> CapRule | None:
        return CapRule(self.cap[0], timedelta(seconds=self.cap[1])) if self.cap else None

    def results_of(self, process: int) -> Path:
        return Path(self.folder) / f"{process}.jsonl"


class Process:
    """One of the processes, from its start to its end."""

    def __init__(self, job: Job, number: int, try_number: int) -> None:
        self.job, self.number, self.try_number = job, number, try_number
        self.store = _opened(job)
        self.waited_s = 0.0

    def run(self) -> None:
        """Do every task that has no result yet."""
        path = self.job.results_of(self.number)
        done = len(path.read_text().splitlines()) if path.exists() else 0
        config = ClientConfig(self.job.api, self.job.api_key)
        with path.open("a", buffering=1) as file, FormantClient(config) as client:
            for task in range(done, self.job.tasks):
                file.write(json.dumps(self._until_done(client, task)) + "\n")

    def _until_done(self, client: FormantClient, task: int) -> dict[str, Any]:
        """Try a task again and again, as its retries do; return its result."""
        name, person = self.job.name_of(self.number, task), self.job.person_of(self.number, task)
        key = key_for_name(name=name, agent_id=AGENT, recipient=person)
        told: dict[str, Any] = {"task": task, "key": key, "person": person, "errors": []}
        self.waited_s = 0.0
        while True:
            try:
                placed = self._placing(client, task, key, person).run()
            except NotAdmitted as error:
                return {**told, "result": error.reason, "waited_s": self.waited_s}
            except FormantError as error:
                told["errors"].append(f"{type(error).__name__}: {error}")
                if error.is_final:
                    return {**told, "result": "failed", "waited_s": self.waited_s}
                self.try_number += 1
                time.sleep(PAUSE_S)
            else:
                trace_id = placed.receipt.trace_id if placed.receipt else None
                return {**told, "result": str(placed.result), "trace_id": trace_id, "waited_s": self.waited_s}

    def _placing(self, client: FormantClient, task: int, key: str, person: str) -> CallPlacing:
        task_id = f"call-{self.number}-{task}"
        asked = Asked(key, AGENT, person, "dag", "run", task_id, try_number=self.try_number)
        job = self.job
        ledger = StoreLedger(
            self.store,
            Intent,
            asked,
            Admission(job.rule, job.on_capped, **job.limits),
            now=_now,
            sleep=self._wait,
            lease=timedelta(seconds=job.lease_s),
            guesses=self.try_number == 1,
        )
        call = CallRequest(AGENT, (("customer_phone", person),), key)
        policy = Policy(taken_since=None, lookup_timeout_s=self.job.lookup_s)
        return CallPlacing(call, client, ledger, policy, CallCallbacks(_now, time.sleep))

    def _wait(self, seconds: float) -> None:
        self.waited_s += seconds
        time.sleep(seconds)


def _opened(job: Job) -> Store:
    """Open the store, again and again while it is down, as retries do."""
    engine = create(job.database)
    while True:
        with suppress(StoreUnavailable):
            return open_up(engine, WHERE, job.secret)
        time.sleep(PAUSE_S)


def _now() -> datetime:
    return datetime.now(UTC)


def command(job: Job, process: int, try_number: int) -> list[str]:
    """Return the command that starts a process."""
    return [sys.executable, __file__, json.dumps(asdict(job)), str(process), str(try_number)]


if __name__ == "__main__":
    Process(Job(**json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])).run()
