"""In a real Airflow: what a webhook has brought starts a DAG, and a triggerer that dies loses none of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from formant_provider.sandbox import Sandbox
from formant_provider.store.schema import intents
from formant_provider.store.store import Store, open_up
from support.databases import sqlite_database
from support.standalone import Standalone, wait_for
from support.stores import SECRET, connections_with
from support.versions import HAS_LOOPS, HAS_STATE_STORE
from support.webhook_events import NUMBER, store_events, webhook

pytestmark = [
    pytest.mark.standalone,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not HAS_STATE_STORE or HAS_LOOPS, reason="slow; one Airflow is enough"),
]

DAG_ID = "formant_events"
EXAMPLE = Path(__file__).parents[2] / "dags_examples" / f"{DAG_ID}.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Standalone, Store]]:
    folder = tmp_path_factory.mktemp("events")
    (folder / "dags").mkdir()
    shutil.copy(EXAMPLE, folder / "dags")
    with sqlite_database(folder) as database:
        connections = connections_with(database, Sandbox())
        store = open_up(database.engine(), "the test", SECRET)
        env = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
        env["AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD"] = (
            "10"  # how long a dead one keeps its own
        )
        with Standalone(folder / "dags", folder / "home", env) as airflow:
            yield airflow, store


def mark(store: Store) -> int | None:
    with store.reading() as conn:
        return conn.execute(text("select seq from formant_cursors where name like 'trigger:%'")).scalar()


def handled(airflow: Standalone) -> list[str]:
    """Return what tasks have returned, of all runs."""
    path = f"/dags/{DAG_ID}/dagRuns/~/taskInstances?limit=100"
    tasks = airflow.api("GET", path)["task_instances"]
    found = []
    for each in tasks:
        if each["task_id"] == "handle" and each["state"] == "success":
            where = (
                f"/dags/{DAG_ID}/dagRuns/{each['dag_run_id']}/taskInstances/handle/xcomEntries/return_value"
            )
            found.append(airflow.api("GET", f"{where}?map_index={each['map_index']}")["value"])
    return sorted(map(str, found))


def unpaused(airflow: Standalone) -> bool:
    return airflow.api("PATCH", f"/dags/{DAG_ID}", {"is_paused": False})["is_paused"] is False


def event(name: str, **changed: Any) -> dict[str, Any]:
    return webhook(name, conversation_id=name, trace_id=f"trace {name}", **changed)


def test_an_event_starts_a_dag_and_none_is_lost_when_the_triggerer_dies(
    place: tuple[Standalone, Store],
) -> None:
    """The task sees ids, status, reference and the chosen result; Airflow's database holds no number."""
    airflow, store = place
    with store.writing() as conn:
        conn.execute(insert(intents).values(**a_call("trace a", "LN-1")))
    wait_for(lambda: unpaused(airflow), "the DAG to be parsed", timeout_s=90)
    wait_for(lambda: mark(store) is not None, "the trigger to begin", timeout_s=90)
    store_events(store, event("a"))
    wait_for(lambda: handled(airflow) == ["LN-1: completed, pay"], "the event to be handled", timeout_s=60)
    wait_for(lambda: mark(store) == 1, "Airflow to say that it is stored", timeout_s=15)

    airflow.kill(airflow.component("triggerer"))
    store_events(store, event("b", results={"intent": "later"}), event("c", results={"intent": "never"}))
    airflow.start_component("triggerer")
    after = ["LN-1: completed, pay", "None: completed, later", "None: completed, never"]
    wait_for(lambda: len(handled(airflow)) >= len(after), "the others to be handled", timeout_s=120)
    assert handled(airflow) == after
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        held = [database.execute(f"select * from {name}").fetchall() for name in ("asset_event", "trigger")]  # noqa: S608
    assert "trace a" in str(held)
    assert not any(each in str(held) for each in (NUMBER[1:], "Asha", SECRET))


def a_call(trace_id: str, reference: str) -> dict[str, Any]:
    """Return the row of a call that the store knows."""
    named = {"kind": "call", "dag_id": "d", "run_id": "r", "task_id": "t", "state": "placed", "intent": "{}"}
    counted = dict.fromkeys(("agent_id", "map_index", "asked_at", "call_at", "try_number", "version"), 1)
    ids = {"id": trace_id, "trace_id": trace_id, "reference": reference}
    return {**ids, "knew_all": True, **named, **counted}
