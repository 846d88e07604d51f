from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox

NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
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
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=0, start_at=NOON, rate_limit=None, recording_bytes=SIZE) as sandbox:
        yield sandbox


def run(program: str, sandbox: Sandbox, *arguments: str) -> tuple[int, object]:
    """Return by how many bytes the job raised the process's memory at its peak, and what it returned."""
    command = [sys.executable, "-c", PROGRAM + program, sandbox.connection_uri(), *arguments]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    extra, result = json.loads(done.stdout.splitlines()[-1])
    return extra, result


@pytest.mark.parametrize("where", ["folder", "store"])
def test_200_mb_are_stored_in_less_than_32_mb_of_memory(sandbox: Sandbox, tmp_path: Path, where: str) -> None:
    """The recording passes through in small pieces, to a folder as to an object store."""
    call = sandbox.place("+14155550100")
    sandbox.advance(3600)
    target = str(tmp_path) if where == "folder" else "s3://shop@bucket/calls"
    extra, sizes = run(STORE, sandbox, call.conversation_id, target)
    assert sizes == {"recording": SIZE}
    assert extra < 32 * 10**6
    if where == "folder":
        assert os.path.getsize(next(tmp_path.rglob("recording.wav"))) == SIZE


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_ten_thousand_conversations_take_little_more_memory_than_few(
    sandbox: Sandbox, tmp_path: Path, file_format: str
) -> None:
    """Rows are written while they are read; only ids and times are kept."""
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    for number in range(10_000):
        sandbox.place("+14155550100", scheduled_for=NOON + timedelta(seconds=1 + number * 4))
    sandbox.advance(86400 * 2)
    extra, count = run(EXPORT, sandbox, file_format, str(tmp_path / "x"))
    assert count == 10_000
    assert extra < 16 * 10**6
