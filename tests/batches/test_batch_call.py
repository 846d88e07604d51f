"""A batch call is one upload of what can be called, wherever its contacts are."""

from __future__ import annotations

import csv
import gzip
import math
import re
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import task
from batches.batch_call import (
    AGENT,
    NUMBERS,
    ONE_RING_EACH,
    PEOPLE,
    WAIT,
    a_batch_call,
    people_file,
    place,
    posts,
    uploaded,
)

from formant_provider.api.errors import InputNotFound
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Sandbox
from support.object_store import ObjectStore, attached
from support.supervisor import FakeSupervisor
from support.task_run import make_dag, run_task
from support.versions import HAS_STATE_STORE, needs_state_store

MARKER = r" \[af-[0-9a-f]{16}\]"


def test_the_list_of_a_task_becomes_one_batch_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """One request rings everybody once, with their variables; ids and counts go downstream."""
    run = place(channel)
    assert run.state == "success", run.log_text
    (batch,) = sandbox.batches
    assert sandbox.rings == ONE_RING_EACH
    assert uploaded(sandbox) == PEOPLE
    assert len(sandbox.requests) == 1
    result = run.xcoms["return_value"]
    placed_at = result.pop("placed_at")
    assert placed_at.endswith("+00:00")
    assert result == {
        "batch_id": batch.batch_id,
        "name": batch.name,
        "agent_id": AGENT,
        "total_recipients": 3,
        "placement": "placed",
        "status": None,
        "reason": None,
        "map_index": -1,
        "reference": None,
        "contacts": {
            "total": 3, "accepted": 3, "rejected": 0, "by_reason": {}, "rewritten": 0,
            "completed": 0, "round_numbers": 0, "two_readings": 0, "phonenumbers": version("phonenumbers"),
        },
    }  # fmt: skip
    assert run.xcoms["batch_id"] == batch.batch_id
    assert set(run.xcoms) == {"return_value", "batch_id"}


def test_the_name_has_a_marker_behind_it(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The vendor sees the name that people gave, and what the batch call is found again by."""
    run = place(channel, name="March {{ ds }}")
    name = run.xcoms["return_value"]["name"]
    assert sandbox.batches[0].name == name
    assert re.fullmatch("March 2026-01-01" + MARKER, name)


def test_nothing_of_it_is_pushed_when_nothing_is_wanted(channel: FakeSupervisor) -> None:
    """do_xcom_push=False means that."""
    run = place(channel, do_xcom_push=False)
    assert (run.state, run.xcoms) == ("success", {})


def write_gzip(folder: Path) -> str:
    text = Path(people_file(folder / "people.csv")).read_bytes()
    (folder / "people.csv.gz").write_bytes(gzip.compress(text))
    return str(folder / "people.csv.gz")


def write_parquet(folder: Path) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(PEOPLE), folder / "people.parquet")
    return str(folder / "people.parquet")


SOURCES: dict[str, Any] = {
    "csv": lambda folder: people_file(folder / "people.csv"),
    "csv uri": lambda folder: f"file://{people_file(folder / 'people.csv')}",
    "csv all in quotes": lambda folder: people_file(folder / "people.csv", quoting=csv.QUOTE_ALL),
    "gzip": write_gzip,
    "parquet": write_parquet,
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_is_read_as_what_it_is(
    source: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """CSV, CSV in gzip and Parquet, by their content: the same people with the same variables."""
    run = place(channel, SOURCES[source](tmp_path))
    assert run.state == "success", run.log_text
    assert uploaded(sandbox) == PEOPLE
    assert sandbox.rings == ONE_RING_EACH


def test_a_file_may_be_in_an_object_store(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """The URI's connection leads to the store; templates in it are rendered."""
    with attached(ObjectStore()) as store:
        store.objects["bucket/2026-01-01/people.csv"] = Path(people_file(tmp_path / "x.csv")).read_bytes()
        run = place(channel, "s3://shop@bucket/{{ ds }}/people.csv")
    assert run.state == "success", run.log_text
    assert uploaded(sandbox) == PEOPLE


def test_delimiters_are_said(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """Another delimiter is refused with a hint, and taken when it is said."""
    path = people_file(tmp_path / "people.csv", delimiter=";")
    refused = place(channel, path)
    assert (refused.state, sandbox.requests) == ("failed", [])
    assert "delimiter=';'" in str(refused.error)
    assert place(channel, path, delimiter=";").state == "success"
    assert uploaded(sandbox) == PEOPLE


def test_contacts_may_come_from_an_upstream_task(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What a task returned is resolved by Airflow, and becomes the file."""
    with make_dag():

        @task
        def people() -> list[dict[str, str]]:
            return PEOPLE

        operator = a_batch_call(people())
        upstream = operator.dag.get_task("people")
    run_task(upstream, channel)
    assert run_task(operator, channel).state == "success"
    assert uploaded(sandbox) == PEOPLE
    assert operator.upstream_task_ids == {"people"}


@pytest.mark.usefixtures("sleeps")  # the looks for what others may have placed
def test_each_row_of_a_mapped_task_is_a_batch_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Rows with names of their own are batch calls of their own."""
    with make_dag():
        mapped = FormantCreateBatchCallOperator.partial(task_id="batch_call", agent_id=AGENT).expand_kwargs(
            [{"name": f"list {index}", "contacts": [person]} for index, person in enumerate(PEOPLE)]
        )
    runs = [run_task(mapped, channel, map_index=index) for index in range(3)]
    assert [run.state for run in runs] == ["success"] * 3
    assert len({run.xcoms["batch_id"] for run in runs}) == 3
    assert sandbox.rings == ONE_RING_EACH


@pytest.mark.usefixtures("sleeps")  # the looks for what others may have placed
@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("name", {"name": "the same"}),
        ("idempotency_key", {"name": "the same", "idempotency_key": "2026-03"}),
    ],
)
def test_two_rows_that_would_be_one_batch_call_are_refused(
    field: str, options: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The second would not be made, so its task fails and says which field to change."""
    common = {"task_id": "batch_call", "agent_id": AGENT, "retries": 3, **options}
    with make_dag():
        mapped = FormantCreateBatchCallOperator.partial(**common).expand(
            contacts=[[person] for person in PEOPLE[:2]]
        )
    first, second = (run_task(mapped, channel, map_index=index) for index in (0, 1))
    assert (first.state, second.state) == ("success", "failed")
    assert str(second.error).startswith(f"{field}: is the same in another row")
    assert posts(sandbox) == 1
    # The first one is not held up by what another row wants, where its receipt is remembered.
    again = run_task(mapped, channel, map_index=0, try_number=2)
    assert again.state == ("success" if HAS_STATE_STORE else "failed")
    assert posts(sandbox) == 1


@pytest.mark.usefixtures("sleeps")  # the looks for what others may have placed
@pytest.mark.parametrize("options", [{"name": "the same"}, {"name": "x", "idempotency_key": "2026-03"}])
def test_twins_that_cannot_see_one_another_find_the_batch_call(
    options: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Without XComs rows are not compared: each looks before it uploads, and nobody is called twice."""
    common = {"task_id": "batch_call", "agent_id": AGENT, "do_xcom_push": False, **options}
    with make_dag():
        mapped = FormantCreateBatchCallOperator.partial(**common).expand(contacts=[PEOPLE, PEOPLE])
    runs = [run_task(mapped, channel, map_index=index) for index in (0, 1)]
    assert [run.state for run in runs] == ["success", "success"]
    assert sandbox.rings == ONE_RING_EACH


def test_one_key_in_two_dags_is_one_batch_call(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A name of the user's own is looked for before anything is sent, however old it is."""
    runs = []
    for dag_id in ("one", "two"):
        with make_dag(dag_id):
            operator = a_batch_call(idempotency_key="2026-{{ 3 }}", name=dag_id)
        runs.append(run_task(operator, channel))
        sandbox.advance(86400 * 400)
    first, second = (run.xcoms["return_value"] for run in runs)
    assert first["batch_id"] == second["batch_id"]
    assert (first["placement"], second["placement"]) == ("placed", "found")
    assert second["contacts"] is None
    assert second["name"].startswith("one ")
    assert sandbox.rings == ONE_RING_EACH


def test_other_keys_agents_and_runs_are_other_batch_calls(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What is meant as another batch call is one."""
    for options in (
        {"idempotency_key": "a"},
        {"idempotency_key": "b"},
        {"idempotency_key": "a", "agent_id": 123},
    ):
        assert place(channel, **options).state == "success"
    for run_id in ("r1", "r2"):
        assert run_task(a_batch_call(task_id="other"), channel, run_id=run_id).state == "success"
    assert len(sandbox.batches) == 5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"agent_id": "{{ 'the best one' }}"}, "agent_id: "),
        ({"agent_id": None}, "agent_id: "),
        ({"name": ""}, "name: is blank"),
        ({"name": "None"}, "name: is blank"),
        ({"name": None}, "name: is missing"),
        ({"name": "x" * 80}, "name: has 80 characters; 78 are the most"),
        ({"name": "two\nlines"}, "name: must be one line"),
        ({"name": "March [af-0123456789abcdef]"}, "name: must not hold '[af-'"),
        ({"idempotency_key": " "}, "idempotency_key: is blank"),
        ({"contacts": {"customer_phone": NUMBERS[0]}}, "contacts: must be a URI"),
        ({"contacts": 7}, "contacts: must be a URI"),
        ({"contacts": None}, "contacts: must be a URI"),
        ({"contacts": "None"}, "contacts: is blank"),
        ({"contacts": "people.csv"}, "contacts: must be an absolute path"),
        ({"contacts": "/people/"}, "contacts: names no file with rows"),
        ({"contacts": "nowhere://x/y.csv"}, "contacts: Airflow has no storage for 'nowhere'"),
        ({"contacts": ["a"]}, "contacts: row 1: must be a mapping"),
        ({"contacts": [{"phone": "x"}]}, "contacts: has no column customer_phone"),
        (
            {"contacts": f"[{{'customer_phone': '{NUMBERS[0]}', 'site': 'https://x'}}]"},
            "contacts: must be an absolute",
        ),
        ({"suppress": "None"}, "suppress: is blank"),
        ({"suppress": "numbers.csv"}, "suppress: must be an absolute path"),
        ({"suppress": 5}, "suppress: must be"),
        ({"suppress": ["abc"]}, "suppress: 1 entry cannot be read"),
        ({"rejects_uri": "rejects.csv"}, "rejects_uri: must be an absolute path"),
        ({"rejects_uri": " "}, "rejects_uri: is blank"),
        ({"results_uri": "results.csv", **WAIT}, "results_uri: must be an absolute path"),
        ({"results_uri": "/results{{ '.txt' }}", **WAIT}, "results_uri: must end in one of .csv"),
        ({"results_uri": "/results.parquet{{ '.gz' }}", **WAIT}, "results_uri: must end in one of .csv"),
        ({"results_uri": "/folder.csv/", **WAIT}, "results_uri: must name a file"),
        ({"default_country": "XY"}, "default_country: "),
        ({"delimiter": '"'}, None),
        ({"required_variables": ["loan"]}, "required_variables: the contacts have no column loan"),
        ({"region": "{{ 'mars' }}"}, "region: "),
        ({"formant_conn_id": "wrong"}, "conn_type: "),
    ],
)
def test_bad_input_fails_at_once_and_sends_nothing(
    fields: dict[str, Any], reason: str | None, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """No request, no retry, and the field is named."""
    channel.connections["wrong"] = "http://:key@localhost"
    contacts = people_file(tmp_path / "people.csv") if "delimiter" in fields else PEOPLE
    run = run_task(a_batch_call(**{"contacts": contacts, "retries": 3, **fields}), channel)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException), run.log_text
    assert str(run.error).startswith(reason or "delimiter: ")
    assert "No batch call was placed by this try" in str(run.error)
    assert sandbox.requests == []
    assert NUMBERS[0] not in run.log_text


@needs_state_store
@pytest.mark.parametrize("field", ["contacts", "suppress"])
def test_a_missing_file_may_be_there_next_time(
    field: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The task fails so that Airflow retries it, and nothing was sent."""
    path = tmp_path / "later.csv"
    first = run_task(a_batch_call(**{field: str(path), "retries": 1}), channel)
    assert (first.state, type(first.error)) == ("up_for_retry", InputNotFound)
    assert f"{field}: {path}: No such file" in first.log_text
    assert sandbox.requests == []
    people_file(path)
    options = {field: str(path), "retries": 1}
    second = run_task(a_batch_call(**options), channel, try_number=2)
    # Who is on the list is everybody, so that nobody is left.
    assert second.state == ("success" if field == "contacts" else "failed"), second.log_text


INVALID: dict[str, list[Any]] = {
    "delimiter": ["", "::", None],
    "required_variables": ["customer_name"],
    "invalid_rows": ["ignore"],
    "results_fields": ["status", [], ["transcript"]],
    "lookup_timeout": [-1, "60"],
    "max_lateness": [0],
    "on_empty": ["succeed", None, True],
    "poll_interval": [0, timedelta(0)],
    "timeout": [-1, math.inf],
    "on_timeout": ["succeed"],
    "stall_timeout": [0],
    "min_success_rate": [-1, 100.5, True, "50"],
    "on_below_threshold": ["skip"],
}


@pytest.mark.parametrize("option", [(name, value) for name in INVALID for value in INVALID[name]], ids=str)
def test_an_invalid_option_breaks_the_dag_file(option: tuple[str, Any]) -> None:
    """It is refused where it is written, when the file is parsed."""
    name, value = option
    with pytest.raises(ValueError, match=name):
        a_batch_call(wait_for_completion=True, **{name: value})


@pytest.mark.parametrize("option", [{"results_uri": "/results.csv"}, {"min_success_rate": 50}], ids=str)
def test_what_is_known_at_the_end_alone_needs_the_wait(option: dict[str, Any]) -> None:
    """A report or a threshold without waiting would be forgotten in silence."""
    with pytest.raises(ValueError, match=f"{next(iter(option))} needs wait_for_completion=True"):
        a_batch_call(**option)
    assert a_batch_call(wait_for_completion=True, **option)
