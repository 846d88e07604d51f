"""The DAG file of ``test_process_deaths.py``, and one played case of it.

Each case is a DAG with a sandbox and a connection of its own, all three by the same name. So the cases of a
row run at the same time, and no fault strikes the wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import CALL
from formant_provider.sandbox.request_log import SeenRequest
from support.databases import Database
from support.standalone import Standalone, wait_for
from support.stores import connections_with, sqlite_store

KEY = "key-1234567"
PHONE, NO_RECORD = "+14155550111", "+14155550108"
PEOPLE = ("+14155550120", "+14155550121", "+14155550122")
HOLD_S = 110.0
GATE = "DEATHS_GATE"

DAGS = f"""
import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, task

from formant_provider.operators.call import FormantCreateCallOperator


def is_victim(context):
    return context["ti"].try_number == 1 and context["ti"].map_index in (-1, 1)


def stay(context, *_):
    if is_victim(context):
        time.sleep({HOLD_S})


def wait_at_the_gate(context, *_):
    gate = Path(os.environ["{GATE}"])
    while is_victim(context) and not (gate / "open").exists():
        (gate / "reached").touch()
        time.sleep(0.1)


def told(phone):
    return {{"customer_phone": phone, "customer_name": "Asha"}}


def case(name, phone="{PHONE}", people=None, **options):
    common = dict(
        task_id="call",
        agent_id=456,
        formant_conn_id=name,
        retries=2,
        retry_delay=timedelta(0),
        **options,
    )
    with DAG(name, schedule=None):
        if people:
            FormantCreateCallOperator.partial(**common).expand(parameters=people)
        else:
            FormantCreateCallOperator(parameters=told(phone), **common)


def reordered():
    with DAG("cleared_mapped", schedule=None):

        @task(show_return_value_in_logs=False)
        def people(ti):
            return [told(phone) for phone in {PEOPLE}[:: 1 if ti.try_number == 1 else -1]]

        FormantCreateCallOperator.partial(
            task_id="call", agent_id=456, formant_conn_id="cleared_mapped", retries=2
        ).expand(parameters=people())


people = [told(phone) for phone in {PEOPLE}]
case("before_plain")
case("before_mapped", people=people)
case("before_resumed", deferrable=True, max_inline_wait=1)
case("before_counted", deferrable=True, max_inline_wait=1, lookup_timeout=0)
case("between_plain")
case("between_mapped", people=people)
case("between_no_record", "{NO_RECORD}", lookup_timeout=1)
case("receipt_plain", post_execute=stay)
case("receipt_mapped", people=people, post_execute=stay)
case("cleared_plain")
reordered()
case("before_stored")
case("between_stored")
case("receipt_stored", post_execute=stay)
case("cleared_stored")
case("twin_stored")
case("twin_before_intent", pre_execute=wait_at_the_gate)
case("twin_before_answer")
case("twin_no_record", "{NO_RECORD}", lookup_timeout=0)
"""

# Each case, and whether its API counts the key of a refused request as used: the vendor does not say.
CASES = {
    "before_plain": False,
    "before_mapped": True,
    "before_resumed": False,
    "before_counted": True,
    "between_plain": True,
    "between_mapped": False,
    "between_no_record": False,
    "receipt_plain": False,
    "receipt_mapped": True,
    "cleared_plain": False,
    "cleared_mapped": False,
    # Those whose connection names a call store, which all of them share.
    "before_stored": True,
    "between_stored": True,
    "receipt_stored": False,
    "cleared_stored": False,
    "twin_stored": True,
    "twin_before_intent": False,
    "twin_before_answer": True,
    "twin_no_record": False,
}


@dataclass(frozen=True)
class Played:
    """One run of a case: what to do to it, and what came of it."""

    airflow: Standalone
    sandbox: Sandbox
    name: str
    run_id: str
    call_store: Database

    @property
    def is_stored(self) -> bool:
        """Whether its connection names a call store."""
        return is_stored(self.name)

    @property
    def task_url(self) -> str:
        return f"/dags/{self.name}/dagRuns/{self.run_id}/taskInstances/call"

    def wait(self) -> None:
        """Wait until the run has succeeded."""
        assert self.airflow.wait_for_run(self.name, self.run_id, timeout_s=90) == "success", self.name

    # What is done to it

    def held_phone(self, fault: Fault) -> str:
        """Wait until the fault holds somebody's POST; return whose."""

        def held() -> str | None:
            bodies = [seen.body for seen in self.sandbox.requests if seen.fault == fault]
            return phone_of(bodies[0]) if bodies else None

        return wait_for(held, f"{self.name} to meet {fault}", timeout_s=90)

    def kill_held(self, fault: Fault, phones: Sequence[str]) -> None:
        """SIGKILL the process whose POST the fault holds, and nothing else."""
        phone = self.held_phone(fault)
        (index,) = (index for index, each in self.indexed(phones) if each == phone)
        self.airflow.kill([self.pid(index)])

    def kill_once_receipted(self, map_index: int) -> None:
        """SIGKILL a process that has pushed its ids, and so has written its receipt."""
        what = f"the receipt of {self.name}"
        wait_for(lambda: self.xcom("trace_id", map_index), what, timeout_s=60)
        self.airflow.kill([self.pid(map_index)])

    def clear(self, task_ids: Sequence[str]) -> None:
        self.airflow.clear(self.name, self.run_id, task_ids)

    # What came of it

    @staticmethod
    def indexed(phones: Sequence[str]) -> list[tuple[int, str]]:
        """The map index of each person; a plain task has -1."""
        return list(enumerate(phones, start=0 if len(phones) > 1 else -1))

    def pid(self, map_index: int = -1) -> int:
        """The process that runs the task's code."""
        return self.airflow.task_pid(self.name, self.run_id, "call", map_index)

    def task(self, map_index: int = -1) -> dict[str, Any]:
        return self.airflow.task(self.name, self.run_id, "call", map_index)

    def tries(self, map_index: int = -1) -> int:
        return int(self.task(map_index)["try_number"])

    def xcom(self, key: str, map_index: int = -1) -> Any:
        path = f"{self.task_url}/xcomEntries/{key}?deserialize=true&map_index={map_index}"
        return self.airflow.api("GET", path)["value"]

    def logs(self, map_index: int = -1) -> list[str]:
        """The log of every try."""
        numbers = range(1, self.tries(map_index) + 1)
        where = (self.name, self.run_id, "call")
        return [self.airflow.task_log(*where, number, map_index) for number in numbers]

    def state_store(self, map_index: int = -1) -> str:
        """All that Airflow keeps for the task from try to try, as the API serves it."""
        return json.dumps(self.airflow.api("GET", f"{self.task_url}/state-store?map_index={map_index}"))

    def posts(self, phone: str) -> list[SeenRequest]:
        """The requests for calls to this person that reached the API."""
        posts = [seen for seen in self.sandbox.requests if seen.endpoint == CALL]
        return [seen for seen in posts if phone_of(seen.body) == phone]

    def lookups(self) -> list[SeenRequest]:
        return [seen for seen in self.sandbox.requests if seen.endpoint != CALL]

    def trace_id(self, phone: str) -> str:
        """The API's own id of the one call to this person."""
        (trace_id,) = (call.trace_id for call in self.sandbox.calls if call.customer_phone == phone)
        return trace_id


@dataclass(frozen=True)
class Deaths:
    """A real Airflow, and one sandbox for each case.

    :param call_store: the database of the cases that have one.
    :param gate: the folder in which ``wait_at_the_gate`` says that it waits, and is told to go on.
    """

    airflow: Standalone
    sandboxes: Mapping[str, Sandbox]
    gate: Path
    call_store: Database

    def play(self, names: Iterable[str], fault: Fault | None = None, **options: Any) -> list[Played]:
        """Start a run of each case; the fault meets one POST of each."""
        for name in names:
            if fault:
                self.sandboxes[name].inject(CALL, fault, **options)
        return [
            Played(self.airflow, self.sandboxes[name], name, self.airflow.trigger(name), self.call_store)
            for name in names
        ]


@contextmanager
def airflow_with_all_cases(folder: Path) -> Iterator[Deaths]:
    """Start everything; nothing of it is left afterwards."""
    (folder / "dags").mkdir()
    (folder / "gate").mkdir()
    (folder / "dags" / "deaths.py").write_text(DAGS)
    env = {
        GATE: str(folder / "gate"),
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    }
    with ExitStack() as stack:
        sandboxes = {name: stack.enter_context(_sandbox(name)) for name in CASES}
        call_store = stack.enter_context(sqlite_store())
        for name, sandbox in sandboxes.items():
            env |= _connections(name, sandbox, call_store)
        airflow = stack.enter_context(Standalone(folder / "dags", folder / "home", env))
        yield Deaths(airflow, sandboxes, folder / "gate", call_store)


def _sandbox(name: str) -> Sandbox:
    # A call of 142 s is over after two.
    return Sandbox(api_key=KEY, rate_limit=None, call_speed=60, failed_request_uses_key=CASES[name])


def _connections(name: str, sandbox: Sandbox, call_store: Database) -> dict[str, str]:
    given: dict[str, Any] = {
        name: json.loads(sandbox.connection_json()) | {"extra": {"read_timeout": HOLD_S}}
    }
    if is_stored(name):
        given = connections_with(call_store, sandbox, read_timeout=HOLD_S)
        given[name] = given.pop("formant_default")
    return {f"AIRFLOW_CONN_{each.upper()}": json.dumps(fields) for each, fields in given.items()}


def is_stored(name: str) -> bool:
    """Whether the connection of a case names a call store."""
    return name.endswith("_stored")


def phone_of(body: Any) -> str:
    """The recipient in a request."""
    return str(next(item["value"] for item in body["parameters"] if item["name"] == "customer_phone"))
