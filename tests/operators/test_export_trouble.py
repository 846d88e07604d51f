from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.api.client import GET_CONVERSATION, LIST_CONVERSATIONS
from formant_provider.operators.export import FormantExportConversationsOperator
from formant_provider.sandbox import Fault, Sandbox
from support.scripted_server import Answer, ScriptedServer
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TESTS = Path(__file__).parents[1]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key="key-1234567", speed=0, start_at=NEW_YEAR - 2 * DAY, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def night(sandbox: Sandbox) -> Sandbox:
    """A sandbox with 24 conversations in the data interval."""
    for hour in range(24):
        sandbox.place("+14155550100", scheduled_for=NEW_YEAR - DAY + timedelta(hours=hour))
    sandbox.advance(7 * 86400)
    return sandbox


def export(channel: FakeSupervisor, target: Any, attempt: Any = None, **fields: Any) -> TaskRun:
    fields = {"agent_id": 456, "output_uri": str(target), "retries": 3, **fields}
    operator = FormantExportConversationsOperator(task_id="export", **fields)
    return run_task(operator, channel, **(attempt or {}))


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


@pytest.mark.parametrize(
    "option",
    [
        {"fields": "status"},
        {"fields": []},
        {"fields": ["status", "mood"]},
        {"file_format": "xlsx"},
        {"recipients": "some"},
        {"recipients": None},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_meant_breaks_the_dag_file(option: dict[str, Any]) -> None:
    """It is refused where it is written, when the file is parsed."""
    with pytest.raises(ValueError, match=next(iter(option))):
        FormantExportConversationsOperator(task_id="x", agent_id=1, output_uri="/x.csv", **option)


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
