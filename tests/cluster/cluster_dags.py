"""The DAG file of the tests over a cluster: a DAG for each case, with a connection and a sandbox by its name.

Numbers are put together when a task runs, so that they are in no file and in no database unless somebody
leaks them. A name that ends in ``_stored`` has a connection with a call store.
"""

from __future__ import annotations

LISTS = "CLUSTER_LISTS"

_BEGIN = f"""
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.call_list import FormantCallListOperator

LISTS = Path(os.environ["{LISTS}"])
PATIENT = dict(retries=4, retry_delay=30)  # as tasks have to be that are to outlive an outage
WAITS = dict(wait_for_completion=True, poll_interval=2, timeout=900)


def phone_of(index):
    return "+1415" + "555" + f"{{index // 80:02d}}{{10 + index % 80}}"


def told(index):
    return {{"customer_phone": "{{{{ phone_of(%d) }}}}" % index, "customer_name": "Asha"}}


def case(name, people=1, retries=2, retry_delay=2, **options):
    common = dict(
        task_id="call",
        agent_id=456,
        formant_conn_id=name,
        retries=retries,
        retry_delay=timedelta(seconds=retry_delay),
        **options,
    )
    with DAG(name, schedule=None, user_defined_macros={{"phone_of": phone_of}}):
        if people > 1:
            people = [told(index) for index in range(people)]
            FormantCreateCallOperator.partial(**common).expand(parameters=people)
        else:
            FormantCreateCallOperator(parameters=told(0), **common)


def a_list(name, retries=2, retry_delay=2, **options):
    with DAG(name, schedule=None):
        FormantCallListOperator(
            task_id="call",
            agent_id=456,
            calls=str(LISTS / f"{{name}}.csv"),
            formant_conn_id=name,
            poll_interval=2,
            concurrency=2,
            retries=retries,
            retry_delay=timedelta(seconds=retry_delay),
            **options,
        )
"""

_CASES = """
for store in ("", "_stored"):
    case("killed" + store)
    a_list("killed_list" + store)
    case("twice" + store, deferrable=False, **WAITS)
    a_list("twice_list" + store)
    case("suspended" + store)
    a_list("suspended_list" + store)
    for outage in ("redis", "database", "api"):
        case(f"{outage}_calls" + store, people=6, **PATIENT)
        case(f"{outage}_waits" + store, people=4, deferrable=True, **PATIENT, **WAITS)
        a_list(f"{outage}_list" + store, **PATIENT)
case("some_waits", people=20, deferrable=True, **WAITS)
case("cleared_waits", people=10, deferrable=True, **WAITS)
a_list("marked_list")
a_list("deleted_list")
"""

# A task parses its file: that of two hundred tasks is a small one.
_MANY = """
case("many_waits", people=200, deferrable=True, **WAITS)
"""
FILES = {"cases.py": _BEGIN + _CASES, "many.py": _BEGIN + _MANY}

OUTAGES = ("redis", "database", "api")
STORED = "_stored"

# How many people each case has.
_PEOPLE = {
    "killed": 1,
    "killed_list": 120,
    "twice": 1,
    "twice_list": 20,
    "suspended": 1,
    "suspended_list": 120,
    **{f"{outage}_calls": 6 for outage in OUTAGES},
    **{f"{outage}_waits": 4 for outage in OUTAGES},
    **{f"{outage}_list": 120 for outage in OUTAGES},
}
PEOPLE = {f"{name}{store}": count for name, count in _PEOPLE.items() for store in ("", STORED)} | {
    "many_waits": 200,
    "some_waits": 20,
    "cleared_waits": 10,
    "marked_list": 120,
    "deleted_list": 120,
}

# A call lasts 142 s, divided by this: two seconds, unless a case is about long ones, or ends them itself.
_CALL_SPEED = {"twice": 4, "twice_list": 4, "many_waits": 0.1, "some_waits": 0.1, "cleared_waits": 0.1}
ALL_OVER_S = 1500
"""After so many seconds the longest of these calls is over."""


def call_speed(name: str) -> float:
    """Return how many times sooner the calls of a case end."""
    return _CALL_SPEED.get(name.removesuffix(STORED), 60)


def phone_of(index: int) -> str:
    """Return the number of a person, as the DAGs do."""
    return f"+1415555{index // 80:02d}{10 + index % 80}"


def list_of(name: str) -> str:
    """Return the file of a call list."""
    rows = [f"{phone_of(index)},Asha" for index in range(PEOPLE[name])]
    return "\n".join(["customer_phone,customer_name", *rows, ""])
