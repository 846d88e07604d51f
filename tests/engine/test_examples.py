"""Every example DAG runs in the real Airflow engine against the sandbox."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ParamValidationError
from engine.conftest import KEY

from formant_provider.sandbox import Sandbox
from support.airflow_home import use_own_airflow_home
from support.databases import sqlite_database
from support.engine import DagResult, run_dag_file, run_dag_source
from support.stores import connections_with
from support.versions import HAS_STATE_STORE

pytestmark = pytest.mark.engine

EXAMPLES = Path(__file__).parents[2] / "dags_examples"
RINGS = {
    "formant_one_call": {"+14155550100": 1},
    "formant_scheduled_call": {"+14155550110": 1},
    "formant_mapped_calls": {"+14155550120": 2, "+14155550121": 2, "+14155550122": 2},
    "formant_india_region": {"+919876543210": 1},
    "formant_read_ids": {
        "+14155550130": 1,
        "+14155550139": 1,
        "+14155550131": 1,
        "+14155550132": 1,
        "+14155550133": 1,
    },
    "formant_nightly_export": {},
    "formant_transcription": {"+14155550190": 1},
    "formant_call_and_branch": {"+14155550140": 1},
    "formant_batch_call": {"+14155550150": 1, "+14155550101": 1, "+14155550152": 1},
    "formant_call_list": {"+14155550180": 1, "+14155550101": 3},
    "formant_call_list_decorated": {"+14155550183": 1, "+14155550184": 1, "+14155550103": 1},
    "formant_decorated_call": {"+14155550150": 1, "+14155550151": 1, "+14155550152": 1},
    "formant_on_call": {"+14155550160": 1},
    "formant_suppression": {"+14155550171": 1},
    "formant_events": {},
    "formant_asset": {"+14155550190": 1},
}
# Run in test_approval.py, where somebody answers, and in test_loop.py, on an Airflow that has loops.
ELSEWHERE = {"formant_approval", "formant_until_reached"}
# It is meant to fail, and rings from a callback.
FAILS = "formant_on_call"
# Its connection names a call store. A list needs one where Airflow cannot remember it.
STORED = {"formant_suppression", "formant_call_list_decorated"}
STORED |= set() if HAS_STATE_STORE else {"formant_call_list"}
LISTS = {"formant_call_list": 500_000, "formant_call_list_decorated": 500_000}
# These place no call whose trace id would be passed on.
UNTRACED = {"formant_batch_call", FAILS, *LISTS}
# Where a task waits for a call, the call is over at once; elsewhere the clock keeps step with ours.
SPEED = {"formant_call_and_branch": 500_000, "formant_batch_call": 500_000, "formant_transcription": 500_000}


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox with the time that the example needs."""
    name = request.getfixturevalue("example") if "example" in request.fixturenames else None
    speeds = {"speed": SPEED.get(name, 1), "call_speed": LISTS.get(name, 1)}
    with Sandbox(api_key=KEY, rate_limit=None, **speeds) as sandbox:
        yield sandbox


@pytest.fixture
def env(env: dict[str, str], sandbox: Sandbox, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The environment of an Airflow that reaches the sandbox, and a call store if the example needs one."""
    name = request.getfixturevalue("example") if "example" in request.fixturenames else None
    if name not in STORED:
        yield env
        return
    with sqlite_database(tmp_path) as database:
        connections = connections_with(database, sandbox)
        yield {f"AIRFLOW_CONN_{name.upper()}": json.dumps(connections[name]) for name in connections}


@pytest.fixture(params=RINGS)
def example(request: pytest.FixtureRequest) -> str:
    """The name of one example after the other."""
    return str(request.param)


CONF = {
    "formant_india_region": {"customer_phone": "+919876543210"},
    "formant_nightly_export": {"folder": str(use_own_airflow_home() / "exported")},
    "formant_transcription": {"folder": str(use_own_airflow_home() / "transcription")},
    "formant_batch_call": {"folder": str(use_own_airflow_home() / "batch_call")},
    "formant_call_list": {
        "folder": str(use_own_airflow_home() / "call_list"),
        "opens": "00:00",
        "closes": "24:00",
    },
    "formant_call_list_decorated": {"folder": str(use_own_airflow_home() / "surveys")},
}
# What would take hours, or a minute, takes a moment.
SOONER = {
    "formant_call_list": {'"2h"': '"1s"', "agent_id=456,": "agent_id=456, poll_interval=0.2,"},
    "formant_call_list_decorated": {"timedelta(seconds=10)": "0.2"},
}


def run_example(name: str, env: dict[str, str], **instead: str) -> DagResult:
    options: dict[str, Any] = {"env": env, "run_conf": CONF.get(name)}
    if name not in SOONER:
        return run_dag_file(EXAMPLES / f"{name}.py", name, **options)
    source = (EXAMPLES / f"{name}.py").read_text()
    for given, sooner in {**SOONER[name], **instead}.items():
        assert source.count(given) == 1, given
        source = source.replace(given, sooner)
    folder = Path(CONF[name]["folder"])
    folder.mkdir(exist_ok=True)
    return run_dag_source(source, folder, name, **options)


def test_no_example_rings_a_number_that_may_be_somebody_s(sandbox: Sandbox, env: dict[str, str]) -> None:
    """Numbers in the files are reserved for fiction; without one the run fails before anything is sent."""
    for path in EXAMPLES.glob("*.py"):
        for number in re.findall(r"\+[0-9]{7,}", path.read_text()):
            assert re.fullmatch(r"\+141555501[0-9]{2}", number), path.name
    with pytest.raises((ParamValidationError, ValueError), match="customer_phone"):  # ValueError on 3.2
        run_dag_file(EXAMPLES / "formant_india_region.py", "formant_india_region", env=env)
    assert sandbox.requests == []


def test_every_example_is_listed_here() -> None:
    """An example that is added is run."""
    assert sorted(ELSEWHERE.union(RINGS)) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_examples_are_short() -> None:
    """An example is read in a minute: under 60 lines."""
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 60, path.name


def test_an_example_rings_whom_it_says_each_once(example: str, sandbox: Sandbox, env: dict[str, str]) -> None:
    """The run ends as it should, the sandbox counts the rings, no number is in logs, fields or receipts."""
    result = run_example(example, env)
    assert result.state == ("failed" if example == FAILS else "success"), result.log_text
    assert sandbox.rings == RINGS[example]
    # At debug level Airflow logs its own traffic, orders to mask something among it.
    log = "\n".join(line for line in result.masked_log_text.splitlines() if not line.startswith("debug "))
    calls = {key: task for key, task in result.tasks.items() if task.xcoms.get("trace_id")}
    assert len(calls) == (0 if example in UNTRACED else sum(RINGS[example].values()))
    assert not any(number.strip("+") in log for number in RINGS[example])
    for key, task in calls.items():
        left = f"{task.rendered_fields} {task.xcoms} {task.state_store}"
        for number in RINGS[example]:
            assert number.strip("+") not in left, key


def test_mapped_examples_use_both_ways_of_mapping(sandbox: Sandbox, env: dict[str, str]) -> None:
    """`expand` and `expand_kwargs` each make one call per row; a number there is 2 intents, 2 agents."""
    run_example("formant_mapped_calls", env)
    keys = [seen.body["idempotency_key"] for seen in sandbox.requests]
    assert len(set(keys)) == 6
    assert [seen.body["agent_id"] for seen in sandbox.requests] == [456] * 3 + [789] * 3


def test_the_mapped_example_says_what_came_of_each_loan(sandbox: Sandbox, env: dict[str, str]) -> None:
    """Results are joined by reference: a row that is refused has its own, and moves no other's."""
    source = (EXAMPLES / "formant_mapped_calls.py").read_text().replace("+14155550121", "+1415")
    folder = use_own_airflow_home() / "mapped"
    folder.mkdir(exist_ok=True)
    result = run_dag_source(source, folder, "formant_mapped_calls", env=env)
    outcomes = {"LN-1": "scheduled", "LN-2": "refused", "LN-3": "scheduled"}
    assert result["by_loan"].xcoms["return_value"] == outcomes
    assert sandbox.rings == {"+14155550120": 2, "+14155550122": 2}


def test_a_next_task_reads_the_ids(sandbox: Sandbox, env: dict[str, str]) -> None:
    """call.output and call.output["trace_id"] reach a downstream task, results of mapped calls too."""
    result = run_example("formant_read_ids", env)
    rows = result["list_calls"].xcoms["return_value"]
    placed = {call.trace_id for call in sandbox.calls}
    assert {row["trace_id"] for row in rows} == placed
    assert len(placed) == 5
    now, later, *each = rows
    assert (now["status"], now["scheduled_for"], now["conversation_id"]) == ("initiated", None, None)
    assert later["status"] == "scheduled"
    assert later["scheduled_for"].endswith("Z")
    assert later["conversation_id"]
    assert [row["call"] for row in each] == ["call_each [0]", "call_each [1]", "call_each [2]"]


def test_the_scheduled_example_calls_33_hours_after_its_interval(
    sandbox: Sandbox, env: dict[str, str]
) -> None:
    """The time of the call is counted from the end of the data interval: the next day at nine."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    path = EXAMPLES / "formant_scheduled_call.py"
    result = run_dag_file(path, "formant_scheduled_call", env=env, logical_date=midnight)
    (call,) = sandbox.calls
    assert call.starts_at == midnight + timedelta(days=1, hours=9)
    receipt = result["call_tomorrow_at_nine"].xcoms["return_value"]
    assert receipt["scheduled_for"] == call.starts_at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("ending", "way"), [("40", "note_the_promise"), ("01", "write_a_letter"), ("08", "write_a_letter")]
)
def test_the_branch_goes_the_way_of_the_outcome(ending: str, way: str, tmp_path: Path) -> None:
    """A talk, no answer, and a call that is not over in time each lead to their own task."""
    source = (EXAMPLES / "formant_call_and_branch.py").read_text()
    source = source.replace("+14155550140", f"+141555501{ending}").replace("hours=2", "seconds=0.5")
    with Sandbox(api_key=KEY, speed=500_000, rate_limit=None) as sandbox:
        env = {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
        result = run_dag_source(source, tmp_path, "formant_call_and_branch", env=env)
    assert result.state == "success", result.log_text
    ways = ("note_the_promise", "hand_to_a_person", "write_a_letter")
    assert [name for name in ways if result[name].state == "success"] == [way]
    assert sandbox.rings.total() == 1


def test_the_batch_call_reports_who_was_reached_and_who_was_rejected(example_sandbox: Sandbox) -> None:
    """The report has a row for each of the contacts, the rejects one for the number that is none."""
    env = {"AIRFLOW_CONN_FORMANT_DEFAULT": example_sandbox.connection_uri()}
    result = run_example("formant_batch_call", env)
    assert result["summarize"].xcoms["return_value"] == "2 of 3 were reached"
    folder = Path(CONF["formant_batch_call"]["folder"])
    with (folder / "results.csv").open(newline="") as file:
        rows = [(row["reference"], row["status"], row["reason"]) for row in csv.DictReader(file)]
    assert rows == [
        ("L-1", "completed", ""), ("L-2", "no_answer", ""), ("L-3", "completed", ""),
        ("L-4", "rejected", "impossible_number"),
    ]  # fmt: skip
    assert (folder / "rejects.csv").read_text().splitlines()[1].startswith("4,impossible_number,")
    assert not (folder / "results.csv.recipients").exists()


@pytest.fixture
def example_sandbox() -> Iterator[Sandbox]:
    """A sandbox in which every call is over at once."""
    with Sandbox(api_key=KEY, speed=500_000, rate_limit=None) as sandbox:
        yield sandbox


@pytest.mark.parametrize("example", ["formant_transcription"], indirect=True)
def test_the_recording_is_transcribed_once(example: str, sandbox: Sandbox, env: dict[str, str]) -> None:
    """What was recorded is what is submitted, and what was said is in the file alone."""
    result = run_example(example, env)
    (job,) = sandbox.transcriptions
    stored = result["store"].xcoms["return_value"]
    assert job.request.size == stored["sizes"]["recording"]
    transcribed = result["transcribe"].xcoms["return_value"]
    written = json.loads(Path(transcribed["output_uri"]).read_text())
    assert (written["job_id"], written["audio"]) == (job.job_id, stored["recording"])
    assert written["text"] not in str(result.tasks)


@pytest.mark.parametrize("example", ["formant_suppression"], indirect=True)
def test_who_is_on_the_do_not_call_list_is_skipped(
    example: str, sandbox: Sandbox, env: dict[str, str]
) -> None:
    """The first row asked by letter; the second is called."""
    result = run_example(example, env)
    assert [result["call", row].state for row in range(2)] == ["skipped", "success"]
    assert result["wrote_a_letter"].xcoms["return_value"]["changed"] == 1
    assert sandbox.rings == RINGS[example]


@pytest.mark.parametrize("example", ["formant_call_list"], indirect=True)
def test_the_call_list_reports_on_each_row(example: str, env: dict[str, str]) -> None:
    """Who was reached, who was not, and who has no number are in the file, and on the page."""
    run_example(example, env, **{"+14155550101": "+14155550104"})
    folder = Path(CONF[example]["folder"])
    with (folder / "called.csv").open(newline="") as file:
        rows = [
            [row[name] for name in ("reference", "status", "reason", "attempts")]
            for row in csv.DictReader(file)
        ]
    assert rows == [
        ["L-1", "completed", "", "1"],
        ["L-2", "unreachable", "not_named", "1"],
        ["L-3", "rejected", "impossible_number", "0"],
    ]
    assert "<svg" in (folder / "called.html").read_text()


@pytest.mark.parametrize("example", ["formant_call_list_decorated"], indirect=True)
def test_the_agents_of_a_list_are_compared(example: str, sandbox: Sandbox, env: dict[str, str]) -> None:
    """What is passed on says of how many each agent has called, and reached."""
    result = run_example(example, env)
    agents = [seen.body["agent_id"] for seen in sandbox.requests if seen.method == "POST"]
    assert set(agents) == {456, 789}
    compared = result["compare"].xcoms["return_value"]
    called = {int(agent_id): int(text.split(" of ")[1]) for agent_id, text in compared.items()}
    assert called == {agent_id: agents.count(agent_id) for agent_id in agents}
    assert sum(int(text.split(" of ")[0]) for text in compared.values()) == 2
