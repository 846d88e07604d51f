"""Rows of a mapped task: each recording is one job, and its result is its own, wherever its row stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transcriptions.job import PARKED, an_audio, an_operator, posts, written

from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task, run_trigger
from support.versions import needs_state_store


class Rows:
    """A list of recordings, each with a result of its name."""

    def __init__(self, channel: FakeSupervisor, folder: Path) -> None:
        self.channel, self.folder = channel, folder
        for name in "abc":
            an_audio(folder, f"{name}.wav")

    def run(self, index: int, name: str, *, deferrable: bool = False, **attempt: Any) -> TaskRun:
        """One try of the row of a recording, at this position of the list."""
        files = {"audio": f"{self.folder}/{name}.wav", "output_uri": f"{self.folder}/{name}.json"}
        task = an_operator(self.folder, deferrable=deferrable, **files)
        return run_task(task, self.channel, map_index=index, **attempt)

    def job_of(self, name: str) -> str:
        """The job whose result lies there."""
        result = written(self.folder, f"{name}.json")
        assert result["audio"] == f"{self.folder}/{name}.wav"
        return str(result["job_id"])


@pytest.fixture
def rows(channel: FakeSupervisor, tmp_path: Path) -> Rows:
    return Rows(channel, tmp_path)


@needs_state_store
def test_a_cleared_list_in_another_order_submits_nothing(sandbox: Sandbox, rows: Rows) -> None:
    """A row that has moved finds its result, or is parked: nobody knows whether it was submitted."""
    for index, name in enumerate("ab"):
        assert rows.run(index, name).state == "success"
    (rows.folder / "b.json").unlink()
    moved = [rows.run(index, name, try_number=2, clear_number=1) for index, name in enumerate("ba")]
    assert [run.state for run in moved] == ["failed", "success"]
    assert PARKED in str(moved[0].error)
    assert (posts(sandbox), len(sandbox.transcriptions)) == (2, 2)


@needs_state_store
def test_a_list_in_another_order_submits_nothing_where_airflow_tells_of_no_clear(
    sandbox: Sandbox, rows: Rows
) -> None:
    """With reset_dag_runs=false a clear leaves the run as it was; the position knows of other audio."""
    for index, name in enumerate("ab"):
        assert rows.run(index, name).state == "success"
    (rows.folder / "b.json").unlink()
    moved = [rows.run(index, name, try_number=2) for index, name in enumerate("bca")]
    assert [run.state for run in moved] == ["failed", "failed", "success"]
    assert posts(sandbox) == 2


def test_a_new_row_whose_result_is_there_submits_nothing(sandbox: Sandbox, rows: Rows) -> None:
    """It was submitted from another position: the file names its job."""
    first = rows.run(0, "a")
    second = rows.run(1, "a")
    assert second.state == "success", second.log_text
    assert second.xcoms["job_id"] == first.xcoms["job_id"]
    assert posts(sandbox) == 1


@needs_state_store
def test_a_list_that_changes_while_its_rows_wait_mixes_up_no_results(sandbox: Sandbox, rows: Rows) -> None:
    """A row that is another one after the wait writes nothing; in the old order it writes what is its own."""
    waiting = {name: rows.run(index, name, deferrable=True) for index, name in enumerate("ab")}
    events = [run_trigger(run.deferral, rows.channel).event for run in waiting.values()]
    for index, name in enumerate("ba"):
        run = rows.run(index, name, deferrable=True, resume_event=events[index])
        assert run.state == "failed"
        assert "The audio of this task has changed while it waited" in str(run.error)
    assert not list(rows.folder.glob("*.json"))
    for index, name in enumerate("ab"):
        assert rows.run(index, name, try_number=2, clear_number=1).state == "success"
        assert rows.job_of(name) == waiting[name].xcoms["job_id"]
    assert posts(sandbox) == 2
