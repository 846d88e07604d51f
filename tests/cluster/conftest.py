"""An Airflow of many processes, and a local FormantAI for each case: ``make test-celery``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from cluster.cluster_dags import ALL_OVER_S, FILES, LISTS, PEOPLE, STORED, call_speed, list_of, phone_of

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from support.cluster import Cluster, put_connections
from support.databases import Database
from support.standalone import wait_for
from support.stores import connections_with

KEY = "key-1234567"


@dataclass(frozen=True)
class Played:
    """One run of a case."""

    airflow: Cluster
    sandbox: Sandbox
    name: str
    run_id: str

    @property
    def is_mapped(self) -> bool:
        return not self.is_list and PEOPLE[self.name] > 1

    @property
    def is_list(self) -> bool:
        return self.name.removesuffix(STORED).endswith("_list")

    @property
    def indexes(self) -> list[int]:
        """The map indexes of its task."""
        return list(range(PEOPLE[self.name])) if self.is_mapped else [-1]

    @property
    def rings(self) -> Mapping[str, int]:
        """How often each phone rang."""
        return self.sandbox.rings

    def tasks(self) -> list[dict[str, Any]]:
        """Every row of its task, as the REST API describes it."""
        path = f"/dags/{self.name}/dagRuns/{self.run_id}/taskInstances?order_by=map_index&limit=100&offset="
        found: list[dict[str, Any]] = []
        while page := self.airflow.api("GET", f"{path}{len(found)}")["task_instances"]:
            found += page
        return found

    def states(self) -> list[str]:
        return [task["state"] for task in self.tasks()]

    def pid(self) -> int:
        """The process that runs the code of its task."""
        return int(self.airflow.task(self.name, self.run_id, "call")["pid"])

    def worker(self) -> str:
        """The worker that runs its task."""
        return self.airflow.worker_of(self.name, self.run_id, "call")

    def result(self, map_index: int = -1) -> Any:
        path = f"/dags/{self.name}/dagRuns/{self.run_id}/taskInstances/call/xcomEntries/return_value"
        return self.airflow.api("GET", f"{path}?deserialize=true&map_index={map_index}")["value"]

    def end_calls(self) -> None:
        """Let all its calls be over."""
        self.sandbox.advance(ALL_OVER_S)

    def clear(self) -> None:
        self.airflow.clear(self.name, self.run_id, ["call"])

    def mark(self, state: str) -> None:
        """Mark its task, as the button in the UI does."""
        path = f"/dags/{self.name}/dagRuns/{self.run_id}/taskInstances/call"
        self.airflow.api("PATCH", path, {"new_state": state})

    def delete(self) -> None:
        """Delete its run, which Airflow does with none that is running."""
        path = f"/dags/{self.name}/dagRuns/{self.run_id}"
        self.airflow.api("PATCH", path, {"state": "failed"})
        self.airflow.api("DELETE", path)

    # Waiting

    def wait_for_rings(self, count: int = 1) -> None:
        """Wait until so many people were called."""
        wait_for(lambda: len(self.rings) >= count, f"{count} rings of {self.name}", timeout_s=180)

    def wait_for_fault(self, fault: Fault) -> None:
        """Wait until a request for a call meets the fault."""
        met = lambda: any(seen.fault == fault for seen in self.sandbox.requests)  # noqa: E731
        wait_for(met, f"{self.name} to meet {fault}", timeout_s=120)

    def wait_for_states(self, *wanted: str) -> None:
        """Wait until all rows of the task are in one of the states."""

        def reached() -> bool:
            states = self.states()
            return len(states) == len(self.indexes) and set(states) <= set(wanted)

        wait_for(reached, f"all of {self.name} to be {wanted}", timeout_s=900)

    def wait_for_try(self, number: int) -> None:
        """Wait until a further try of its task runs."""

        def runs() -> bool:
            (task,) = self.tasks()
            return task["try_number"] >= number and task["state"] in {"running", "success"}

        wait_for(runs, f"try {number} of {self.name}", timeout_s=180)

    def wait(self, timeout_s: float = 600) -> None:
        """Wait until the run has succeeded."""
        state = self.airflow.wait_for_run(self.name, self.run_id, timeout_s)
        ends = [(task["map_index"], task["state"], task["try_number"]) for task in self.tasks()]
        assert state == "success", (self.name, state, ends)

    # What is promised

    def assert_everybody_was_called_once(self) -> None:
        """Each person has one ring, the task knows of it, and the ids are those of the person's call."""
        everybody = {phone_of(index): 1 for index in range(PEOPLE[self.name])}
        assert self.rings == everybody, self.name
        if self.is_list:
            result = self.result()
            told = {name: result[name] for name in ("status", "rows", "reached", "calls")}
            count = PEOPLE[self.name]
            assert told == {"status": "finished", "rows": count, "reached": count, "calls": count}, self.name
            return
        ids = {call.customer_phone: call.trace_id for call in self.sandbox.calls}
        for index in self.indexes:
            result = self.result(index)
            assert result["placement"] in {"placed", "found"}, (self.name, index, result["placement"])
            assert result["trace_id"] == ids[phone_of(max(index, 0))], (self.name, index)


@dataclass(frozen=True)
class Cases:
    """The cluster, and the API of each case."""

    airflow: Cluster
    sandboxes: Mapping[str, Sandbox]

    def play(self, names: Collection[str]) -> list[Played]:
        """Start a run of each."""
        return [
            Played(self.airflow, self.sandboxes[name], name, self.airflow.trigger(name)) for name in names
        ]

    def hold_answers(self, names: Collection[str], seconds: float, times: int = 1) -> None:
        """Let the API of cases accept the next calls, and answer after so long."""
        for name in names:
            self.sandboxes[name].inject(CALL, Fault.HANG_AFTER, seconds=seconds, times=times)


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "dags").mkdir()
    (folder / "lists").mkdir()
    for file, text in FILES.items():
        (folder / "dags" / file).write_text(text)
    for name in PEOPLE:
        (folder / "lists" / f"{name}.csv").write_text(list_of(name))
    with ExitStack() as stack:
        airflow = Cluster(folder / "dags", folder / "home", {LISTS: str(folder / "lists")})
        sandboxes = {name: stack.enter_context(_sandbox(name)) for name in PEOPLE}
        stack.enter_context(airflow)
        put_connections(airflow, _connections(sandboxes, airflow.postgres.create()))
        yield Cases(airflow, sandboxes)


@pytest.fixture
def healthy(cases: Cases) -> Cases:
    """The cluster, as soon as all of it answers: the test before may have killed something."""
    cases.airflow.wait_until_healthy()
    return cases


def _sandbox(name: str) -> Sandbox:
    return Sandbox(api_key=KEY, rate_limit=None, call_speed=call_speed(name))


def _connections(sandboxes: Mapping[str, Sandbox], call_store: Database) -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    for name, sandbox in sandboxes.items():
        made[name] = json.loads(sandbox.connection_json())
        if name.endswith(STORED):
            with_store = connections_with(call_store, sandbox, is_set_up="calls_db" not in made)
            made |= {name: with_store["formant_default"], "calls_db": with_store["calls_db"]}
    return made
