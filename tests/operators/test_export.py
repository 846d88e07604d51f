"""An export: what is in the file, and what becomes of it when something goes wrong."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS
from formant_provider.operators.export import FormantExportConversationsOperator
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.tasks.storage.tables import COLUMNS, DEFAULT_COLUMNS
from support.object_store import ObjectStore, attached
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)  # where the data interval of a test's run ends
DAY = timedelta(days=1)
NUMBER = "+14155550100"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key="key-1234567", speed=0, start_at=NEW_YEAR - 2 * DAY, rate_limit=None) as sandbox:
        yield sandbox


def place(sandbox: Sandbox, *hours: float) -> None:
    """Place a call so many hours after the start of the data interval, each, and let a week pass."""
    for hour in hours:
        sandbox.place(NUMBER, scheduled_for=NEW_YEAR - DAY + timedelta(hours=hour))
    sandbox.advance(7 * 86400)


def an_operator(target: Any, **fields: Any) -> FormantExportConversationsOperator:
    fields = {"agent_id": 456, "output_uri": str(target), "retries": 3, **fields}
    return FormantExportConversationsOperator(task_id="export", **fields)


def export(channel: FakeSupervisor, target: Any, attempt: Any = None, **fields: Any) -> TaskRun:
    return run_task(an_operator(target, **fields), channel, **(attempt or {}))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def count(sandbox: Sandbox, endpoint: str) -> int:
    return sum(seen.endpoint == endpoint for seen in sandbox.requests)


def test_the_conversations_of_the_data_interval_become_rows(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """One line each, the oldest first, with all columns but the transcript; XCom has the counts."""
    sandbox.place("+14155550103", scheduled_for=NEW_YEAR - DAY + timedelta(hours=5))
    place(sandbox, -1, 3, 0, 23, 24)
    run = export(channel, f"file://{tmp_path}/calls/{{{{ data_interval_start | ds }}}}.jsonl")
    assert run.state == "success", run.log_text
    path = tmp_path / "calls" / "2025-12-31.jsonl"
    found = rows(path)
    assert [row["started_at"][11:16] for row in found] == ["00:00", "03:00", "05:00", "23:00"]
    assert list(found[0]) == list(DEFAULT_COLUMNS)
    assert found[2] == {
        "conversation_id": sandbox.calls[0].conversation_id,
        "agent_id": 456,
        "status": "failed",
        "contact_number": "*******0103",
        "trace_id": sandbox.calls[0].trace_id,
        "start_timestamp": 1767157200000,
        "end_timestamp": 1767157203000,
        "started_at": "2025-12-31T05:00:00.000Z",
        "ended_at": "2025-12-31T05:00:03.000Z",
        "duration_seconds": None,
        "failure_reason": "call setup failed",
        "results": None,
    }
    assert run.xcoms["return_value"] == {
        "output_uri": f"file://{path}",
        "count": 4,
        "by_status": {"completed": 3, "failed": 1},
        "unfinished": 0,
        "undated": 0,
        "size": path.stat().st_size,
        "start": "2025-12-31T00:00:00+00:00",
        "end": "2026-01-01T00:00:00+00:00",
    }
    assert (count(sandbox, LIST_CONVERSATIONS), count(sandbox, GET_CONVERSATION)) == (1, 4)


def test_nothing_private_is_shown(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """Numbers, if they are asked for, and results are in the file, and in no log, XCom or rendered field."""
    place(sandbox, 3)
    run = export(channel, tmp_path / "x.jsonl", fields=list(COLUMNS), recipients="full")
    shown = f"{run.log_text} {run.xcoms} {run.rendered_fields}"
    assert NUMBER in (tmp_path / "x.jsonl").read_text()
    for private in (NUMBER.strip("+"), "payment_confirmed", "good time"):
        assert private not in shown


def test_the_columns_are_those_that_were_asked_for(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """In their order; without the number there is no number, and what the list tells costs no detail."""
    place(sandbox, 3)
    export(channel, tmp_path / "x.jsonl", fields=["status", "ended_at", "conversation_id", "status"])
    assert [list(row) for row in rows(tmp_path / "x.jsonl")] == [["status", "ended_at", "conversation_id"]]
    assert NUMBER not in (tmp_path / "x.jsonl").read_text()
    assert count(sandbox, GET_CONVERSATION) == 0


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_the_same_interval_gives_the_same_bytes(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path, name: str
) -> None:
    """A cleared task writes the file anew, whatever was there, and whatever came in since."""
    place(sandbox, *range(24))
    first = export(channel, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"something else")
    place(sandbox, 24 * 8 - 1)
    second = export(channel, tmp_path / name)
    assert (tmp_path / name).read_bytes() == content
    assert first.xcoms == second.xcoms
    plain = gzip.decompress(content) if name.endswith(".gz") else content
    assert len(plain.splitlines()) == 24


def test_a_parquet_file_has_one_schema_for_ever(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Types are explicit, so a night without calls has the same ones; nested values are JSON text."""
    parquet = pytest.importorskip("pyarrow.parquet")
    fields = {"file_format": "parquet", "fields": list(COLUMNS)}
    empty = export(channel, tmp_path / "empty.parquet", **fields)
    place(sandbox, *range(24))
    full = export(channel, tmp_path / "full.parquet", **fields)
    assert (empty.xcoms["return_value"]["count"], full.xcoms["return_value"]["count"]) == (0, 24)
    nothing, table = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("empty", "full"))
    assert nothing.schema == table.schema
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        name: {"text": "string", "json": "string", "integer": "int64", "moment": "timestamp[ms, tz=UTC]"}[
            kind
        ]
        for name, kind in COLUMNS.items()
    }
    row = table.slice(3, 1).to_pylist()[0]
    assert row["started_at"] == NEW_YEAR - DAY + timedelta(hours=3)
    assert json.loads(row["results"])["intent"] == "payment_confirmed"
    assert len(json.loads(row["transcript"])) == 3


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_odd_values_of_the_api_break_no_export(tmp_path: Path, file_format: Any) -> None:
    """What is not of its column's kind is left empty or written as text; no record is lost for it."""
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    start = int((NEW_YEAR - DAY).timestamp() * 1000)
    odd = {
        "conversation_id": "c1", "agent_id": "four", "status": "half \ud800", "contact_number": 4155550100,
        "start_timestamp": float(start), "end_timestamp": 10**19, "duration_seconds": 1.5,
        "failure_reason": ["no text"], "results": ["a", {"b": "\ud800"}], "transcript": "BOT: hello",
    }  # fmt: skip
    bare = {"conversation_id": "c2", "start_timestamp": start + 1}

    def answer(seen: Seen) -> Answer:
        page = {"data": [bare, odd], "has_more": False}
        return Answer(body=page if "?" in seen.path else {"data": odd if seen.path.endswith("c1") else bare})

    with ScriptedServer(answer) as server:
        connection = {"conn_type": "formant", "host": server.base_url, "password": "k"}
        channel = FakeSupervisor({"formant_default": connection})
        run = export(channel, tmp_path / "x", file_format=file_format, fields=list(COLUMNS))
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["unfinished"] == 2
    if file_format == "jsonl":
        first, second = rows(tmp_path / "x")
        assert (first["agent_id"], first["ended_at"], first["duration_seconds"]) == (None, None, 1)
        assert first["results"] == ["a", {"b": "?"}]
        assert second["started_at"] == "2025-12-31T00:00:00.001Z"
        assert second["status"] is None


def test_a_night_without_calls_gives_a_file_without_rows(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Downstream finds a file for every interval, and a count of 0."""
    run = export(channel, tmp_path / "x.jsonl")
    assert (tmp_path / "x.jsonl").read_bytes() == b""
    assert (run.xcoms["return_value"]["count"], run.xcoms["return_value"]["by_status"]) == (0, {})


def test_calls_that_are_not_over_are_counted_and_warned_of(channel: FakeSupervisor, tmp_path: Path) -> None:
    """A record that still changes is in the file; the log says to run the interval again."""
    now = pendulum.now("UTC")
    with Sandbox(speed=0, start_at=now, rate_limit=None, record_appears="start") as sandbox:
        sandbox.place(NUMBER)
        channel.connections["formant_default"] = sandbox.connection_uri()
        run = export(channel, tmp_path / "x.jsonl", start=now.subtract(hours=1), end=now.add(minutes=1))
    assert run.xcoms["return_value"]["unfinished"] == run.xcoms["return_value"]["count"] == 1
    assert "a later run for the same interval has them" in run.log_text


def test_start_and_end_take_the_place_of_the_data_interval(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Each by itself, as a template or a datetime."""
    place(sandbox, 1, 10, 20)
    later = "{{ data_interval_start.add(hours=9) }}"
    assert export(channel, tmp_path / "a.csv", start=later).xcoms["return_value"]["count"] == 2
    end = NEW_YEAR - timedelta(hours=10)
    assert export(channel, tmp_path / "b.csv", start=later, end=end).xcoms["return_value"]["count"] == 1
    assert export(channel, tmp_path / "c.csv", end=end).xcoms["return_value"]["count"] == 2


def test_every_field_is_a_template(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """Values from the context are understood in all six."""
    place(sandbox, 1)
    with make_dag(user_defined_macros={"folder": tmp_path, "me": "formant_default"}):
        operator = an_operator(
            "{{ folder }}/{{ ds }}.jsonl", agent_id="{{ 400 + 56 }}", start="{{ data_interval_start }}",
            end="{{ data_interval_end.isoformat() }}", formant_conn_id="{{ me }}", region="{{ 'in' }}",
        )  # fmt: skip
    assert set(operator.template_fields) == {
        "agent_id", "output_uri", "start", "end", "formant_conn_id", "region"
    }  # fmt: skip
    run = run_task(operator, channel)
    assert run.state == "success", run.log_text
    assert len(rows(tmp_path / "2026-01-01.jsonl")) == 1


def test_an_object_store_gets_the_file(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The URI's connection leads to the store."""
    place(sandbox, 1)
    with attached(ObjectStore()) as store:
        run = export(channel, "s3://shop@bucket/calls/{{ ds }}.jsonl")
    assert run.xcoms["return_value"]["output_uri"] == "s3://shop@bucket/calls/2026-01-01.jsonl"
    assert json.loads(store.objects["bucket/calls/2026-01-01.jsonl"])["status"] == "completed"


TESTS = Path(__file__).parents[1]


@pytest.fixture
def night(sandbox: Sandbox) -> Sandbox:
    """A sandbox with 24 conversations in the data interval."""
    place(sandbox, *range(24))
    return sandbox


def assert_refused(run: TaskRun, reason: str) -> None:
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert reason in str(run.error)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"agent_id": "none"}, "agent_id: must be an integer"),
        ({"agent_id": 0}, "agent_id: must be above 0"),
        ({"output_uri": " "}, "output_uri: is blank"),
        ({"output_uri": "calls.jsonl"}, "output_uri: must be an absolute path"),
        ({"output_uri": "/calls/"}, "output_uri: must name a file"),
        ({"output_uri": "nowhere://bucket/x.csv"}, "output_uri: Airflow has no storage"),
        ({"start": datetime(2026, 1, 1)}, "start: has no time zone"),
        ({"start": "yesterday"}, "start: is not ISO 8601"),
        ({"end": "None"}, "end: is not ISO 8601"),
        ({"start": NEW_YEAR, "end": NEW_YEAR - DAY}, "end: lies before start"),
        ({"start": NEW_YEAR, "end": NEW_YEAR}, "CronDataIntervalTimetable"),
        ({"region": "mars"}, "region"),
    ],
    ids=str,
)
def test_bad_input_fails_at_once(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    """No request, no file, no retry, and the field is named."""
    assert_refused(export(channel, **{"target": tmp_path / "x.jsonl", **fields}), reason)
    assert (sandbox.requests, list(tmp_path.iterdir())) == ([], [])


def test_a_run_without_a_data_interval_says_what_to_do(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Runs by asset, and by hand without a date, have none: that is an error and no empty file."""
    run = export(channel, tmp_path / "x.csv", attempt={"logical_date": None})
    assert_refused(run, "start: is not given, and this DAG run has no data interval; give start and end")
    assert (sandbox.requests, list(tmp_path.iterdir())) == ([], [])
    given = {"start": NEW_YEAR - DAY, "end": NEW_YEAR}
    assert export(channel, tmp_path / "x.csv", attempt={"logical_date": None}, **given).state == "success"


INVALID: dict[str, list[Any]] = {
    "fields": ["status", [], ["status", "mood"]],
    "file_format": ["xlsx"],
    "recipients": ["some", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in INVALID for value in INVALID[name]])
def test_an_invalid_option_breaks_the_dag_file(name: str, value: Any) -> None:
    """It is refused where it is written, when the file is parsed."""
    with pytest.raises(ValueError, match=name):
        FormantExportConversationsOperator(task_id="x", agent_id=1, output_uri="/x.csv", **{name: value})


def test_parquet_without_pyarrow_says_what_to_install() -> None:
    """The library is an extra: its lack is a clear refusal before anything is asked for."""
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from support.airflow_home import use_own_airflow_home; use_own_airflow_home()\n"
        "from formant_provider.operators import export\n"
        "Export = export.FormantExportConversationsOperator\n"
        "Export(task_id='x', agent_id=1, output_uri='/x', file_format='parquet').execute({})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "AirflowFailException: file_format: parquet needs pyarrow" in done.stderr
    assert "pip install 'airflow-provider-formant[parquet]'" in done.stderr


def test_the_rate_limit_is_waited_for(
    channel: FakeSupervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty requests a minute are enough for a long export: it waits as long as the API says, and goes on."""
    pauses: list[float] = []
    with Sandbox(speed=0, start_at=NEW_YEAR - 2 * DAY, rate_limit=50) as sandbox:
        monkeypatch.setattr("time.sleep", lambda seconds: (pauses.append(seconds), sandbox.advance(seconds)))
        for minute in range(0, 1440, 12):
            sandbox.place("+14155550100", scheduled_for=NEW_YEAR - DAY + timedelta(minutes=minute))
        sandbox.advance(7 * 86400)
        channel.connections["formant_default"] = sandbox.connection_uri()
        run = export(channel, tmp_path / "x.jsonl")
        statuses = [seen.status for seen in sandbox.requests]
    assert run.state == "success", run.log_text
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 120
    assert (statuses.count(200), statuses.count(429)) == (122, 2)
    assert all(50 < pause <= 61 for pause in pauses)


@pytest.mark.parametrize("seconds", [600, 3000])
def test_a_long_wait_is_borne(
    night: Sandbox, channel: FakeSupervisor, sleeps: list[float], tmp_path: Path, seconds: int
) -> None:
    """An export waits for times that a call would not hold its worker for, up to an hour."""
    night.inject(LIST_CONVERSATIONS, Fault.RATE_LIMIT, retry_after=seconds)
    assert export(channel, tmp_path / "x.csv").state == "success"
    assert len(sleeps) == 1
    assert seconds <= sleeps[0] <= seconds + 1


@pytest.mark.parametrize("endpoint", [LIST_CONVERSATIONS, GET_CONVERSATION])
def test_an_api_that_stays_down_leaves_the_older_file(
    night: Sandbox, channel: FakeSupervisor, tmp_path: Path, endpoint: str
) -> None:
    """The task fails so that Airflow retries it, and no part of a new file is to be seen."""
    (tmp_path / "x.jsonl").write_text("old")
    night.inject(endpoint, Fault.ERROR_500_BEFORE, times=8)
    run = export(channel, tmp_path / "x.jsonl")
    assert run.state == "up_for_retry"
    assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]
    assert (tmp_path / "x.jsonl").read_text() == "old"
    assert export(channel, tmp_path / "x.jsonl").state == "success"


def test_a_detail_that_is_not_there_loses_no_row(
    night: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A 404 on a detail leaves what the list told."""
    night.inject(GET_CONVERSATION, Fault.NOT_FOUND, times=2)
    assert export(channel, tmp_path / "x.csv").xcoms["return_value"]["count"] == 24


def test_records_without_a_time_are_told_of(tmp_path: Path) -> None:
    """They are in no file, so their number is in the log and in XCom."""
    page = {"data": [{"conversation_id": f"c{number}", "status": "completed"} for number in range(3)]}
    with ScriptedServer(Answer(body=page)) as server:
        connection = {"conn_type": "formant", "host": server.base_url, "password": "k"}
        run = export(FakeSupervisor({"formant_default": connection}), tmp_path / "x.csv")
    assert (run.xcoms["return_value"]["count"], run.xcoms["return_value"]["undated"]) == (0, 3)
    assert "3 records do not say when they began" in run.log_text


def test_a_wrong_key_is_not_retried(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """A refusal that a retry cannot mend fails at once, and says what to check."""
    channel.connections["formant_default"] = sandbox.connection_uri().replace("key-1234567", "another")
    assert_refused(export(channel, tmp_path / "x.csv"), "Check the API key")
