"""What the real provider of OpenLineage tells of real runs: files, columns, counts, and ids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from formant_provider.sandbox import Sandbox
from formant_provider.tasks.storage.uris import dataset_name
from support.versions import HAS_STATE_STORE

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not HAS_STATE_STORE, reason="slow; one Airflow is enough"),
]

DAG_SOURCE = """
from airflow.sdk import DAG, Asset
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.operators.export import FormantExportConversationsOperator

with DAG("lineage", schedule=None):
    batch = FormantCreateBatchCallOperator(
        task_id="batch", agent_id=456, name="b", contacts="{folder}/people.csv", wait_for_completion=True,
        poll_interval=0.1, results_uri="{folder}/batch.csv", recipients="none",
    )
    calls = FormantCallListOperator(
        task_id="list", agent_id=456, calls="{folder}/people.csv", poll_interval=0.1,
        results_uri="{folder}/list.csv", result_columns={"intent": "results.intent"},
    )
    export = FormantExportConversationsOperator(
        task_id="export", agent_id=456, output_uri="file://{folder}/export.jsonl",
        start="2020-01-01T00:00:00Z", end="2099-01-01T00:00:00Z", fields=["conversation_id", "status"],
    )
    call = FormantCreateCallOperator(
        task_id="call", agent_id=456, parameters={"customer_phone": "+14155550131"},
        outlets=[Asset("formant://agents/456")],
    )
    hidden = FormantCreateBatchCallOperator(
        task_id="hidden", agent_id=456, name="b", contacts="file://{folder}/+14155550120.csv",
        outlets=[Asset("formant://agents/456")],
    )
    batch >> calls >> export >> call >> hidden
"""

RUN = """
import json, os, sys
from pathlib import Path
from support.airflow_home import use_own_airflow_home

use_own_airflow_home()
os.environ.update(json.loads(sys.argv[2]))
from support.engine import run_dag_source

folder = Path(sys.argv[1])
result = run_dag_source(folder.joinpath("source").read_text(), folder, "lineage")
assert result.state == "success", result.log_text[-5000:]
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What was told when each task had ended, and under ``private`` all that was told."""
    pytest.importorskip("airflow.providers.openlineage")
    folder = tmp_path_factory.mktemp("lineage")
    (folder / "people.csv").write_text("customer_phone,customer_name\n+14155550100,Asha\n+14155550120,Asha\n")
    (folder / "+14155550120.csv").write_text("customer_phone\n+14155550120\n")
    (folder / "source").write_text(DAG_SOURCE.replace("{folder}", str(folder)))
    events = folder / "events.jsonl"
    with Sandbox(api_key="key-1234567", speed=500, rate_limit=None) as sandbox:
        airflow = {
            "AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri(),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(events), "append": True}
            ),
        }
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", RUN, str(folder), json.dumps(airflow)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=280)
        assert done.returncode == 0, done.stderr[-5000:]
        base_url = sandbox.base_url
    lines = events.read_text()
    complete = [event for event in map(json.loads, lines.splitlines()) if event["eventType"] == "COMPLETE"]
    by_task = {event["job"]["name"].removeprefix("lineage."): event for event in complete}
    return {**by_task, "place": {"folder": str(folder), "base_url": base_url, "all": lines}}


def files(datasets: list[dict[str, Any]], folder: str) -> list[tuple[str, str]]:
    return [(each["namespace"], each["name"].removeprefix(f"{folder}/")) for each in datasets]


def columns(event: dict[str, Any]) -> list[str]:
    return [field["name"] for field in event["outputs"][0]["facets"]["schema"]["fields"]]


def test_a_batch_call_tells_its_files_and_its_id(told: dict[str, dict[str, Any]]) -> None:
    """The contacts are read, the results are written, and the batch call is the external query."""
    event, folder = told["batch"], told["place"]["folder"]
    assert files(event["inputs"], folder) == [("file", "people.csv")]
    assert files(event["outputs"], folder) == [("file", "batch.csv")]
    assert columns(event)[:3] == ["row_number", "status", "reason"]
    assert event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 2
    query = event["run"]["facets"]["externalQuery"]
    assert query["externalQueryId"].isdigit()
    assert query["source"] == told["place"]["base_url"]


def test_a_list_tells_its_files_and_the_columns_that_the_file_has(told: dict[str, dict[str, Any]]) -> None:
    """The columns are those of the file, in its order, each with what it holds."""
    event, folder = told["list"], Path(told["place"]["folder"])
    assert files(event["inputs"], str(folder)) == [("file", "people.csv")]
    assert files(event["outputs"], str(folder)) == [("file", "list.csv")]
    assert columns(event) == (folder / "list.csv").read_text().splitlines()[0].split(",")
    types = {f["name"]: f["type"] for f in event["outputs"][0]["facets"]["schema"]["fields"]}
    assert (types["attempts"], types["started_at"], types["intent"]) == ("integer", "moment", "text")
    assert event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 2


def test_an_export_tells_its_file(told: dict[str, dict[str, Any]]) -> None:
    """With the columns that were asked for, the number of rows, and the size."""
    event, folder = told["export"], told["place"]["folder"]
    assert files(event["outputs"], folder) == [("file", "export.jsonl")]
    assert columns(event) == ["conversation_id", "status"]
    statistics = event["outputs"][0]["outputFacets"]["outputStatistics"]
    size = Path(folder, "export.jsonl").stat().st_size
    assert (statistics["rowCount"], statistics["size"]) == (4, size)


def test_an_agents_asset_is_a_dataset(told: dict[str, dict[str, Any]]) -> None:
    """A task without files tells of its outlets, where an agent's asset has a name of its own."""
    assert [(each["namespace"], each["name"]) for each in told["call"]["outputs"]] == [
        ("formant", "agents/456")
    ]


def test_a_file_whose_address_holds_a_number_is_told_in_no_way(told: dict[str, dict[str, Any]]) -> None:
    """Neither by this package, nor by Airflow, which would tell of each file that its own path opens."""
    assert told["hidden"].get("inputs", []) == []
    assert [each["name"] for each in told["hidden"]["outputs"]] == ["agents/456"]


def test_nothing_private_is_told(told: dict[str, dict[str, Any]]) -> None:
    """Neither a number nor a parameter's value, nor the key."""
    assert told["batch"]["job"]["name"] == "lineage.batch"
    for private in ("14155550100", "14155550120", "14155550131", "Asha", "key-1234567"):
        assert private not in told["place"]["all"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://conn@bucket/a/b.csv", ("s3://bucket", "a/b.csv")),
        ("s3a://key:secret@bucket/a.csv", ("s3://bucket", "a.csv")),
        ("s3://bucket/a.csv?X-Amz-Signature=4f1c&X-Amz-Expires=60", ("s3://bucket", "a.csv")),
        ("https://files.example/a.csv?sig=4f1c#top", ("https://files.example", "a.csv")),
        ("gs://bucket", ("gs://bucket", "/")),
        ("s3://bucket-123456789012/2026/03/18/a.csv", ("s3://bucket-123456789012", "2026/03/18/a.csv")),
        (
            "/data/20260318T1000/1773828000/1773828000123.csv",
            ("file", "/data/20260318T1000/1773828000/1773828000123.csv"),
        ),
        ("/data/202603181000/20260318100000.csv", ("file", "/data/202603181000/20260318100000.csv")),
        ("/data/run#1/a?b.csv", ("file", "/data/run#1/a?b.csv")),
        ("/data/a.csv", ("file", "/data/a.csv")),
        ("/data/a#1?.csv", ("file", "/data/a#1?.csv")),
        ("file:///data/a.csv", ("file", "/data/a.csv")),
        ("/calls/+14155550100.csv", None),
        ("s3://bucket/%2B14155550100.csv", None),
        ("/calls/14155550100.csv", None),
        ("s3://bucket/0014155550100/a.csv", None),
        ("s3://bucket/4155550100.wav", None),
        ("s3://bucket/call_919876543210.wav", None),
        ("customer_phone\n+14155550100", None),
        ("None", None),
        (None, None),
    ],
)
def test_a_file_has_the_name_that_other_tools_give_it(address: str | None, name: object) -> None:
    """Without connection, key and password; what may hold a number, or is no address, has none."""
    assert dataset_name(address) == name
