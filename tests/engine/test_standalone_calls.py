"""A whole Airflow, as somebody runs it: API server, scheduler, workers, and a connection made in the UI."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from formant_provider.check.findings import State
from formant_provider.check.triggerer import check_triggerer
from formant_provider.sandbox import Sandbox
from support.standalone import Standalone, wait_for

pytestmark = [pytest.mark.standalone, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
KEY = "key-1234567"
NUMBERS = ("4155550100", "4155550120", "4155550121", "4155550122")
MAPPED = ("formant_mapped_calls", "remind")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with Standalone(EXAMPLES, tmp_path_factory.mktemp("home")) as airflow:
        yield airflow


def form(sandbox: Sandbox, **fields: Any) -> dict[str, Any]:
    """What the connection form posts when its extra fields are left as they are."""
    extra = {"region": "global", "connect_timeout": None, "read_timeout": None}
    return {
        "connection_id": "formant_default",
        "conn_type": "formant",
        "host": sandbox.base_url,
        "password": KEY,
        "extra": json.dumps(extra),
        **fields,
    }


def test_the_form_offers_key_region_and_timeouts(airflow: Standalone) -> None:
    """The UI is told of a connection type FormantAI: masked key, region as a drop-down, two timeouts."""
    answer = airflow.session.get(f"{airflow.base_url}/ui/connections/hook_meta", timeout=30)
    (ours,) = (hook for hook in answer.json() if hook["connection_type"] == "formant")
    assert ours["hook_name"] == "FormantAI"
    assert ours["standard_fields"]["password"]["title"] == "API key (required)"
    assert ours["extra_fields"]["region"]["schema"]["enum"] == ["global", "in"]
    assert {"connect_timeout", "read_timeout"} <= set(ours["extra_fields"])


def test_the_test_button_tries_the_key_and_rings_nobody(airflow: Standalone, sandbox: Sandbox) -> None:
    """The button says whether the key is accepted, and where it was refused."""
    good = airflow.api("POST", "/connections/test", form(sandbox))
    bad = airflow.api("POST", "/connections/test", form(sandbox, password="wrong-key"))
    assert (good["status"], bad["status"]) == (True, False)
    assert f"{sandbox.base_url} refused the API key" in bad["message"]
    assert {seen.method for seen in sandbox.requests} == {"GET"}


@pytest.fixture(scope="module")
def runs(airflow: Standalone, sandbox: Sandbox) -> dict[str, str]:
    """Run two examples with the connection made in the UI."""

    def is_there() -> bool:
        try:
            airflow.api("POST", "/connections", form(sandbox))
        except requests.HTTPError as error:
            if error.response.status_code != 409:
                raise  # SQLite was busy: asked again
        return True

    wait_for(is_there, "the connection to be made", timeout_s=30)
    started = {dag_id: airflow.trigger(dag_id) for dag_id in ("formant_one_call", "formant_mapped_calls")}
    states = {
        dag_id: airflow.wait_for_run(dag_id, run_id, timeout_s=120) for dag_id, run_id in started.items()
    }
    assert set(states.values()) == {"success"}
    return started


def test_calls_are_placed_with_a_connection_made_in_the_ui(
    airflow: Standalone, runs: dict[str, str], sandbox: Sandbox
) -> None:
    """Workers of a real Airflow place the calls, plain and mapped, and XCom holds the ids."""
    assert sandbox.rings["+14155550100"] == 1
    assert sandbox.rings["+14155550120"] == 2
    trace_id = airflow.xcom("formant_one_call", runs["formant_one_call"], "call", "trace_id")
    assert trace_id in {call.trace_id for call in sandbox.calls}


def everything_about(airflow: Standalone, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    task = airflow.task(dag_id, run_id, task_id, map_index)
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
    log = airflow.task_log(dag_id, run_id, task_id, map_index=map_index)
    assert "The call was placed: status" in log
    assert "***" in json.dumps(task["rendered_fields"]["parameters"])
    return f"{log} {json.dumps(task)} {json.dumps(airflow.api('GET', path))}"


@pytest.mark.parametrize(("dag_id", "task_id", "map_index"), [("formant_one_call", "call", -1), (*MAPPED, 1)])
def test_nothing_private_is_shown_to_those_who_see_the_task(
    dag_id: str, task_id: str, map_index: int, airflow: Standalone, runs: dict[str, str]
) -> None:
    """Log, rendered fields, task instance and XCom, as the API server serves them, hold nothing private."""
    text = everything_about(airflow, dag_id, runs[dag_id], task_id, map_index)
    for private in (KEY, *NUMBERS, "Asha", "Rahul"):
        assert private not in text


def test_clearing_a_call_does_not_ring_again(
    airflow: Standalone, runs: dict[str, str], sandbox: Sandbox
) -> None:
    """A cleared task hands the ids of its first life on again, without asking the API."""
    run_id = runs["formant_one_call"]
    before = airflow.xcom("formant_one_call", run_id, "call")
    posts = len(sandbox.calls)
    airflow.clear("formant_one_call", run_id, ["call"])
    airflow.wait_for_task_state("formant_one_call", run_id, "call", {"failed", "success"})
    assert airflow.wait_for_run("formant_one_call", run_id) == "success"
    assert airflow.task("formant_one_call", run_id, "call")["try_number"] == 2
    assert airflow.xcom("formant_one_call", run_id, "call") == before
    assert len(sandbox.calls) == posts
    assert sandbox.rings["+14155550100"] == 1


def checked(airflow: Standalone) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run the check beside this Airflow, unable to reach its API server; return state and text by subject."""
    nowhere = "http://127.0.0.1:9"
    hidden = {
        "AIRFLOW__API__BASE_URL": nowhere,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{nowhere}/execution/",
    }
    command = [sys.executable, "-m", "formant_provider.check", "--json"]
    done = subprocess.run(command, env=airflow.env | hidden, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["findings"]
    return done.returncode, {finding["subject"]: (finding["state"], finding["text"]) for finding in found}


# Last in this file: it leaves Airflow without a triggerer.
def test_the_check_sees_a_triggerer_that_lives_and_one_that_has_died(
    airflow: Standalone, runs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the API server, and by the database where that does not answer; the connection is that of the UI."""
    assert runs
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", airflow.base_url)
    assert check_triggerer().text == "one is alive."
    airflow.kill(airflow.component("triggerer"))
    wait_for(lambda: check_triggerer().state is State.PROBLEM, "the triggerer to be missed", timeout_s=60)
    status, found = checked(airflow)
    assert status == 1
    assert found["API key"][0] == "ok"
    state, text = found["triggerer"]
    assert state == "problem"
    assert text.startswith("none is alive; the last heartbeat was at 20")
