"""Everything that this provider reads from storage and writes to it, over real stores."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import timedelta
from typing import Any

import pyarrow.parquet
import pytest

from formant_provider.sandbox import Sandbox
from support.processes import until
from support.real_stores import RealStore
from support.storage_tasks import BATCH_CALL, CALL_LIST, EXPORT, STORAGE, Airflow, as_csv

REACHED, NO_ANSWER = "+14155550110", "+14155550101"
PEOPLE = [(f"+1415555{at:04d}", f"person {at}") for at in range(110, 140)]
HEADER = ("customer_phone", "name")
ONE_RING_EACH = {number: 1 for number, _ in PEOPLE}


def rows_of(name: str, content: bytes) -> list[dict[str, Any]]:
    """Read a file of rows, by other libraries than those that wrote it."""
    if name.endswith(".parquet"):
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
        return rows
    text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
    if ".csv" in name:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


def test_a_conversation_lies_there_in_three_files(airflow: Airflow, store: RealStore) -> None:
    """Recording, transcript and record are objects, each whole, and XCom says where."""
    conversation_id = airflow.a_conversation()
    ended = airflow.run(STORAGE, conversation_id=conversation_id, folder_uri=store.uri("calls"))
    assert ended.state == "success", ended.log
    folder = f"calls/{conversation_id}"
    files = [f"{folder}/{name}" for name in ("record.json", "recording.wav", "transcript.json")]
    assert sorted(store.names()) == files
    assert store.read(files[1]) == airflow.recording(conversation_id)
    assert json.loads(store.read(files[0]))["status"] == "completed"
    assert {turn["role"] for turn in json.loads(store.read(files[2]))} == {"agent", "human"}
    assert ended.result["recording"] == store.uri(files[1])
    assert store.unfinished() == 0


@pytest.mark.parametrize("name", ["day.jsonl.gz", "day.csv", "day.parquet"])
def test_an_export_replaces_the_one_before(
    name: str, airflow: Airflow, store: RealStore, sandbox: Sandbox
) -> None:
    """Each conversation is one row, and nothing is left of a longer object of that name."""
    store.put(f"exports/{name}", b"x" * 20_000_000)
    calls = [sandbox.place(number) for number, _ in PEOPLE]
    until(lambda: all(call.over(sandbox.now()) for call in calls))
    now = sandbox.now()
    span = {"start": str(now - timedelta(hours=1)), "end": str(now + timedelta(hours=1))}
    fields = {"agent_id": 456, "fields": ["status", "trace_id"], **span}
    ended = airflow.run(EXPORT, output_uri=store.uri(f"exports/{name}"), **fields)
    assert ended.state == "success", ended.log
    assert store.names() == [f"exports/{name}"]
    content = store.read(f"exports/{name}")
    traces = [row["trace_id"] for row in rows_of(name, content)]
    assert sorted(traces) == sorted(call.trace_id for call in calls)
    assert (len(content), len(traces)) == (ended.result["size"], len(PEOPLE))


def test_a_call_list_is_read_and_reported_on(airflow: Airflow, store: RealStore, sandbox: Sandbox) -> None:
    """The list, results, progress and page lie in the store; everybody is called once."""
    store.put("lists/people.csv", as_csv([HEADER, *PEOPLE, ("nobody", "wrong")]))
    store.put("lists/left_out.csv", as_csv([["customer_phone"], [PEOPLE[0][0]]]))
    fields = {
        "agent_id": 456,
        "calls": store.uri("lists/people.csv"),
        "suppress": store.uri("lists/left_out.csv"),
        "poll_interval": 0.2,
        "results_uri": store.uri("out/results.csv"),
        "progress_uri": store.uri("out/progress.csv"),
        "summary_uri": store.uri("out/page.html"),
    }
    ended = airflow.run(CALL_LIST, **fields)
    assert ended.state == "success", ended.log
    assert sandbox.rings == {number: 1 for number, _ in PEOPLE[1:]}
    rows = rows_of("results.csv", store.read("out/results.csv"))
    statuses = [row["status"] for row in rows]
    assert statuses == ["rejected", *["completed"] * 29, "rejected"]
    assert b"</html>" in store.read("out/page.html")
    assert {"out/page.html", "out/results.csv"} <= set(store.names())


def test_a_batch_call_is_read_from_a_folder_and_reported_on(
    airflow: Airflow, store: RealStore, sandbox: Sandbox
) -> None:
    """All parts of a folder are called once, and report, page and rejects lie there, with nothing beside."""
    store.put("in/_SUCCESS", b"")
    store.put("in/part-0.csv", as_csv([HEADER, *PEOPLE[:15]]))
    store.put("in/part-1.csv.gz", gzip.compress(as_csv([HEADER, *PEOPLE[15:], ("nobody", "wrong")])))
    fields = {
        "agent_id": 456,
        "name": "March",
        "contacts": store.uri("in/"),
        "invalid_rows": "reject",
        "rejects_uri": store.uri("out/rejects.csv"),
        "results_uri": store.uri("out/results.jsonl.gz"),
        "summary_uri": store.uri("out/page.html"),
        "wait_for_completion": True,
        "poll_interval": 0.5,
    }
    ended = airflow.run(BATCH_CALL, **fields)
    assert ended.state == "success", ended.log
    assert sandbox.rings == ONE_RING_EACH
    rows = rows_of("results.jsonl.gz", store.read("out/results.jsonl.gz"))
    assert [row["status"] for row in rows] == [*["completed"] * 30, "rejected"]
    (reject,) = rows_of("rejects.csv", store.read("out/rejects.csv"))
    assert reject["part"] == "part-1.csv.gz"
    written = [name for name in store.names() if name.startswith("out/")]
    assert written == ["out/page.html", "out/rejects.csv", "out/results.jsonl.gz"]
