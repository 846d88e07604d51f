"""One conversation as files, and how little memory that and an export take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.api.client import GET_CONVERSATION, GET_RECORDING
from formant_provider.operators.storage import FormantConversationToObjectStorageOperator
from formant_provider.sandbox import Fault, Sandbox
from support.object_store import ObjectStore, attached
from support.scripted_server import Answer, ScriptedServer, Seen
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
NUMBER, TALKS, NO_ANSWER, UNKNOWN = "+14155550100", "+14155550100", "+14155550101", "+14155550107"
FILES = ["record.json", "recording.wav", "transcript.json"]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key="key-1234567", speed=0, start_at=NOON, rate_limit=None, recording_bytes=9_000) as it:
        yield it


def talk(sandbox: Sandbox, number: str = TALKS, after: timedelta = timedelta(hours=1)) -> str:
    """Place a call and let time pass; return the id of its conversation."""
    call = sandbox.place(number)
    sandbox.advance(after.total_seconds())
    return call.conversation_id


@pytest.fixture
def passing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, each of which passes on the sandbox's clock."""
    asked: list[float] = []
    monkeypatch.setattr("time.sleep", lambda seconds: (asked.append(seconds), sandbox.advance(seconds)))
    return asked


def an_operator(conversation_id: Any, folder: Any, **fields: Any) -> Any:
    return FormantConversationToObjectStorageOperator(
        task_id="store", conversation_id=conversation_id, folder_uri=str(folder), **fields
    )


def store(channel: FakeSupervisor, conversation_id: Any, folder: Any, **fields: Any) -> TaskRun:
    return run_task(an_operator(conversation_id, folder, **fields), channel)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def count(sandbox: Sandbox, endpoint: str) -> int:
    return sum(seen.endpoint == endpoint for seen in sandbox.requests)


def test_all_there_is_becomes_files(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """Recording, transcript and record lie in the conversation's folder, and XCom says where."""
    conversation_id = talk(sandbox)
    run = store(channel, conversation_id, f"file://{tmp_path}")
    assert run.state == "success", run.log_text
    folder = tmp_path / conversation_id
    assert names(tmp_path) == FILES
    recording = (folder / "recording.wav").read_bytes()
    assert recording == b"".join(sandbox.recording(conversation_id).chunks())
    transcript = json.loads((folder / "transcript.json").read_text())
    assert {turn["role"] for turn in transcript} == {"agent", "human"}
    assert "हाँ" in (folder / "transcript.json").read_text()
    record = json.loads((folder / "record.json").read_text())
    assert (record["status"], record["contact_number"], record["started_at"]) == (
        "completed", "*******0100", "2026-03-18T12:00:00.000Z",
    )  # fmt: skip
    assert "transcript" not in record
    uri = f"file://{folder}"
    assert run.xcoms == {
        "return_value": {
            "conversation_id": conversation_id,
            "status": "completed",
            "recording": f"{uri}/recording.wav",
            "transcript": f"{uri}/transcript.json",
            "record": f"{uri}/record.json",
            "sizes": {name.split(".")[0]: (folder / name).stat().st_size for name in FILES},
        }
    }
    assert len(sandbox.requests) == 2


def test_nothing_private_is_shown(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """Number and transcript are in the files, and in no log, XCom or rendered field."""
    run = store(channel, talk(sandbox), tmp_path)
    shown = f"{run.log_text} {run.xcoms} {run.rendered_fields}"
    assert NUMBER.strip("+") not in shown
    assert "good time" not in shown


def test_a_further_try_writes_the_same_again(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A task that is cleared or retried leaves the same files, and no others."""
    conversation_id = talk(sandbox)
    first = store(channel, conversation_id, tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / conversation_id).iterdir()}
    (tmp_path / conversation_id / "recording.wav").write_bytes(b"broken")
    second = store(channel, conversation_id, tmp_path)
    assert first.xcoms == second.xcoms
    assert {path.name: path.read_bytes() for path in (tmp_path / conversation_id).iterdir()} == before


@pytest.mark.parametrize(
    ("include", "written"),
    [
        (["recording"], ["recording.wav"]),
        (["transcript"], ["transcript.json"]),
        (("record", "transcript", "record"), ["record.json", "transcript.json"]),
    ],
)
def test_only_what_is_wanted_is_written(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path, include: Any, written: Any
) -> None:
    """A recording that nobody wants is not downloaded."""
    run = store(channel, talk(sandbox), tmp_path, include=include)
    assert names(tmp_path) == written
    assert count(sandbox, GET_RECORDING) == include.count("recording")
    missing = {"recording", "transcript", "record"} - set(include)
    assert {name for name in missing if run.xcoms["return_value"][name] is None} == missing


def test_a_broken_download_leaves_nothing_under_the_name(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The task fails so that Airflow retries it; what is complete is there, and no part of the recording."""
    conversation_id = talk(sandbox)
    sandbox.inject(GET_RECORDING, Fault.TRUNCATED, times=8)
    run = store(channel, conversation_id, tmp_path, retries=1)
    assert run.state == "up_for_retry"
    assert "the download broke off" in str(run.error)
    assert names(tmp_path) == ["record.json", "transcript.json"]
    assert store(channel, conversation_id, tmp_path).state == "success"
    assert names(tmp_path) == FILES


@pytest.mark.usefixtures("sleeps")
def test_a_download_that_breaks_off_is_begun_again(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Within one try, and the file is whole."""
    conversation_id = talk(sandbox)
    sandbox.inject(GET_RECORDING, Fault.TRUNCATED, times=3)
    assert store(channel, conversation_id, tmp_path).state == "success"
    assert (tmp_path / conversation_id / "recording.wav").stat().st_size == 9_000


@pytest.mark.parametrize("late", ["recording_delay_seconds", "results_delay_seconds"])
def test_what_comes_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    """Recording or transcript come a minute after the call: looked for every 15 s, and written."""
    settings: dict[str, Any] = {"speed": 0, "start_at": NOON, "rate_limit": None, late: 60}
    with Sandbox(**settings) as sandbox:
        monkeypatch.setattr("time.sleep", sandbox.advance)
        channel = FakeSupervisor({"formant_default": sandbox.connection_uri()})
        conversation_id = talk(sandbox, after=timedelta(seconds=150))
        run = store(channel, conversation_id, tmp_path)
    assert run.state == "success", run.log_text
    assert names(tmp_path) == FILES
    assert count(sandbox, GET_CONVERSATION) == 5
    assert "Not there yet" in run.log_text


def test_a_call_that_is_not_over_is_waited_for(
    sandbox: Sandbox, channel: FakeSupervisor, passing: list[float], tmp_path: Path
) -> None:
    """Before the record is there, or while it says that the call goes on, nothing is written."""
    conversation_id = talk(sandbox, after=timedelta(0))
    run = store(channel, conversation_id, tmp_path, poll_interval=timedelta(minutes=1))
    assert run.state == "success", run.log_text
    assert names(tmp_path) == FILES
    assert passing == [60, 60, 60]


def test_nothing_at_all_within_the_time_fails_so_that_a_retry_can_help(
    sandbox: Sandbox, channel: FakeSupervisor, passing: list[float], tmp_path: Path
) -> None:
    """The wait is bounded, its last step cut to fit, and the error says what is missing."""
    run = store(channel, "unknown", tmp_path, wait_for=40, retries=1)
    assert (run.state, passing) == ("up_for_retry", [15, 15, 10])
    assert "Not there: record, transcript, recording" in str(run.error)
    assert len(sandbox.requests) == 4
    assert names(tmp_path) == []


def test_nothing_at_all_can_skip_the_task(channel: FakeSupervisor, tmp_path: Path) -> None:
    """on_missing="skip" ends a task that wrote nothing as skipped."""
    run = store(channel, "unknown", tmp_path, wait_for=0, on_missing="skip")
    assert (run.state, run.xcoms) == ("skipped", {})


@pytest.mark.parametrize(("on_missing", "state"), [("skip", "success"), ("fail", "up_for_retry")])
def test_a_file_that_stays_missing_is_left_out_or_fails(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path, on_missing: Any, state: str
) -> None:
    """What is there is written in both cases; XCom says None for the rest."""
    conversation_id = talk(sandbox)
    sandbox.inject(GET_RECORDING, Fault.NOT_FOUND, times=99)
    run = store(channel, conversation_id, tmp_path, on_missing=on_missing, retries=1)
    assert run.state == state
    assert names(tmp_path) == ["record.json", "transcript.json"]
    if state == "success":
        assert run.xcoms["return_value"]["recording"] is None
        assert set(run.xcoms["return_value"]["sizes"]) == {"record", "transcript"}


@pytest.mark.parametrize("on_missing", ["skip", "fail"])
def test_a_call_that_nobody_answered_is_not_waited_for(
    sandbox: Sandbox, channel: FakeSupervisor, sleeps: list[float], tmp_path: Path, on_missing: Any
) -> None:
    """There will be no recording: one look, no pause, and no retry."""
    run = store(channel, talk(sandbox, NO_ANSWER), tmp_path, on_missing=on_missing, retries=3)
    assert sleeps == []
    assert len(sandbox.requests) == 2
    assert names(tmp_path) == ["record.json"]
    if on_missing == "skip":
        assert run.xcoms["return_value"]["status"] == "no_answer"
    else:
        assert (run.state, type(run.error)) == ("failed", AirflowFailException)


def test_a_word_that_is_not_known_is_taken_at_the_end(
    sandbox: Sandbox, channel: FakeSupervisor, passing: list[float], tmp_path: Path
) -> None:
    """The list of statuses is open: when the time is up, the record is written as it is."""
    run = store(channel, talk(sandbox, UNKNOWN), tmp_path, wait_for=30, on_missing="skip")
    assert (run.state, passing) == ("success", [15, 15])
    assert "record.json" in names(tmp_path)
    status = json.loads(next(tmp_path.rglob("record.json")).read_text())["status"]
    assert run.xcoms["return_value"]["status"] == status


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("audio/wav", "wav"),
        ("audio/MPEG; rate=1", "mp3"),
        ("audio/ogg", "ogg"),
        ("application/octet-stream", "wav"),
    ],
)
def test_the_suffix_follows_the_content_type(tmp_path: Path, content_type: str, name: str) -> None:
    """WAV as in the vendor's samples, unless the API says that it is something else."""
    record = {"conversation_id": "c-1", "status": "completed", "transcript": "BOT: hello"}

    def answer(seen: Seen) -> Answer:
        audio = Answer(body=b"audio", headers={"Content-Type": content_type})
        return audio if seen.path.endswith("/recording") else Answer(body={"data": record})

    with ScriptedServer(answer) as server:
        channel = FakeSupervisor(
            {"formant_default": {"conn_type": "formant", "host": server.base_url, "password": "k"}}
        )
        run = store(channel, "c-1", tmp_path)
    assert run.state == "success", run.log_text
    assert f"recording.{name}" in names(tmp_path)
    assert json.loads((tmp_path / "c-1" / "transcript.json").read_text()) == "BOT: hello"


def test_an_object_store_gets_the_files(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The URI's connection leads to the store, and the keys are folder, conversation and name."""
    conversation_id = talk(sandbox)
    with attached(ObjectStore()) as objects:
        run = store(channel, conversation_id, "s3://shop@bucket/calls/{{ ds }}")
    assert run.state == "success", run.log_text
    assert sorted(objects.objects) == [f"bucket/calls/2026-01-01/{conversation_id}/{name}" for name in FILES]
    assert run.xcoms["return_value"]["record"].startswith("s3://shop@bucket/calls/2026-01-01/")


def test_many_conversations_are_mapped(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """The ids of a list become one task each, with a folder each."""
    ids = [talk(sandbox), talk(sandbox)]
    with make_dag():
        mapped = FormantConversationToObjectStorageOperator.partial(
            task_id="store", folder_uri=str(tmp_path)
        ).expand(conversation_id=ids)
    assert [run_task(mapped, channel, map_index=index).state for index in (0, 1)] == ["success"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(ids)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"conversation_id": None}, "conversation_id: is missing"),
        ({"conversation_id": " "}, "conversation_id: is blank"),
        ({"conversation_id": "None"}, "conversation_id: is blank"),
        ({"conversation_id": ["a"]}, "conversation_id: must be text; got list"),
        ({"folder": ""}, "folder_uri: is blank"),
        ({"folder": "calls"}, "folder_uri: must be an absolute path"),
        ({"formant_conn_id": "wrong"}, "conn_type"),
        ({"region": "mars"}, "region"),
    ],
)
def test_bad_input_fails_at_once(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    """No request, no retry, and the field is named."""
    channel.connections["wrong"] = "http://:key@localhost"
    run = store(channel, **{"conversation_id": "c-1", "folder": tmp_path, "retries": 3, **fields})
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert reason in str(run.error)
    assert sandbox.requests == []


INVALID: dict[str, list[Any]] = {
    "include": ["recording", [], ["video"]],
    "on_missing": ["ignore"],
    "wait_for": [-1, "300"],
    "poll_interval": [0, timedelta(0)],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in INVALID for value in INVALID[name]])
def test_an_invalid_option_breaks_the_dag_file(name: str, value: Any) -> None:
    """It is refused where it is written, when the file is parsed."""
    with pytest.raises(ValueError, match=name):
        an_operator("c-1", "/x", **{name: value})


@pytest.mark.parametrize("fault", [Fault.ERROR_500_BEFORE, Fault.GARBAGE])
def test_what_may_pass_is_retried_by_airflow(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path, fault: Fault
) -> None:
    """After as many sends as a read may take, with advice that speaks of reading and of no phone."""
    conversation_id = talk(sandbox)
    sandbox.inject(GET_CONVERSATION, fault, times=99)
    run = store(channel, conversation_id, tmp_path, retries=1)
    assert run.state == "up_for_retry"
    assert len(sandbox.requests) == 8
    assert "No file was left half written" in run.log_text
    assert "phone" not in run.log_text


def test_a_wrong_key_is_not_retried(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """A refusal that a retry cannot mend fails at once, and says what to check."""
    channel.connections["formant_default"] = sandbox.connection_uri().replace("key-1234567", "another")
    run = store(channel, "c-1", tmp_path, retries=3)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "Check the API key" in str(run.error)


MEBI = 1024 * 1024
SIZE = 200 * MEBI
TESTS = Path(__file__).parents[1]

# A worker's process: everything is loaded and used once, then the peak is set back and the job is measured.
PROGRAM = """
import json, sys
from pathlib import Path
from support.airflow_home import use_own_airflow_home
use_own_airflow_home()
import os
os.environ["AIRFLOW_CONN_FORMANT_DEFAULT"] = sys.argv[1]
from support.object_store import ObjectStore, attached

def status(name):
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024

def measured(warm_up, job):
    warm_up()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    result = job()
    print(json.dumps([status("VmHWM") - before, result]))
"""

STORE = """
from formant_provider.operators.storage import FormantConversationToObjectStorageOperator as Store

def job(include):
    operator = Store(task_id="x", conversation_id=sys.argv[2], folder_uri=sys.argv[3], include=include)
    return operator.execute({})["sizes"]

with attached(ObjectStore(forgetful=True)):
    measured(lambda: job(["record"]), lambda: job(["recording"]))
"""

EXPORT = """
from formant_provider.operators.export import FormantExportConversationsOperator as Export

def job(start):
    operator = Export(
        task_id="x", agent_id=456, output_uri=sys.argv[3], start=start, end="2026-03-20T00:00:00Z",
        fields=["status", "started_at"], file_format=sys.argv[2],
    )
    return operator.execute({})["count"]

# The first rows load what pyarrow needs, such as pandas where it is installed.
measured(lambda: job("2026-03-18T23:00:00Z"), lambda: job("2026-03-18T00:00:00Z"))
"""


@pytest.fixture
def large() -> Iterator[Sandbox]:
    with Sandbox(speed=0, start_at=NOON, rate_limit=None, recording_bytes=SIZE) as large:
        yield large


def measure(program: str, sandbox: Sandbox, *arguments: str) -> tuple[int, object]:
    """Return by how many bytes the job raised the process's memory at its peak, and what it returned."""
    command = [sys.executable, "-c", PROGRAM + program, sandbox.connection_uri(), *arguments]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    extra, result = json.loads(done.stdout.splitlines()[-1])
    return extra, result


@pytest.mark.parametrize("where", ["folder", "store"])
def test_200_mb_are_stored_in_less_than_32_mb_of_memory(large: Sandbox, tmp_path: Path, where: str) -> None:
    """The recording passes through in small pieces, to a folder as to an object store."""
    call = large.place("+14155550100")
    large.advance(3600)
    target = str(tmp_path) if where == "folder" else "s3://shop@bucket/calls"
    extra, sizes = measure(STORE, large, call.conversation_id, target)
    assert sizes == {"recording": SIZE}
    assert extra < 32 * 10**6
    if where == "folder":
        assert os.path.getsize(next(tmp_path.rglob("recording.wav"))) == SIZE


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_ten_thousand_conversations_take_little_more_memory_than_few(
    large: Sandbox, tmp_path: Path, file_format: str
) -> None:
    """Rows are written while they are read; only ids and times are kept."""
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    for number in range(10_000):
        large.place("+14155550100", scheduled_for=NOON + timedelta(seconds=1 + number * 4))
    large.advance(86400 * 2)
    extra, count = measure(EXPORT, large, file_format, str(tmp_path / "x"))
    assert count == 10_000
    assert extra < 16 * 10**6
