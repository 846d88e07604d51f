"""The list of rows beside a report stays for as long as a further try may need it, and no longer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import NUMBERS, PEOPLE, WAIT, a_batch_call, names, posts, read_csv
from waiting.conftest import channel_to
from waiting.modes import to_the_end

from formant_provider.sandbox import Sandbox
from support.object_store import ObjectStore, attached
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task, run_trigger
from support.versions import needs_state_store

Make = Callable[..., Sandbox]

CONTACTS = [*PEOPLE, {**PEOPLE[0], "customer_phone": "+1415"}]
BY_STATUS = {"completed": 2, "no_answer": 1}
FORMS = pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.jsonl", "r.jsonl.gz", "r.parquet"])
DELETED = "was deleted when it was complete"


def report_on(channel: FakeSupervisor, uri: object, try_number: int = 1, **options: Any) -> TaskRun:
    chosen = {"invalid_rows": "reject", "keep_columns": ["customer_name"], **WAIT, **options}
    operator = a_batch_call(CONTACTS, results_uri=str(uri), **chosen)
    return to_the_end(operator, channel, try_number=try_number)


@needs_state_store
@FORMS
def test_a_complete_report_is_not_replaced_by_a_poorer_one(
    name: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A task that is cleared after the list was deleted keeps the report, and hands on the same counts."""
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    first = report_on(channel, path)
    assert (first.state, names(tmp_path)) == ("success", [name]), first.log_text
    content = path.read_bytes()
    second = report_on(channel, path, try_number=2)
    assert second.state == "success", second.log_text
    assert (names(tmp_path), path.read_bytes()) == ([name], content)
    counts = ("results_uri", "by_status", "rejected")
    assert [second.xcoms["return_value"][name] for name in counts] == [str(path), BY_STATUS, 1]
    assert [first.xcoms["return_value"][name] for name in counts] == [str(path), BY_STATUS, 1]
    assert DELETED in second.log_text
    assert DELETED not in first.log_text
    assert posts(sandbox) == 1


@needs_state_store
def test_a_report_that_cannot_be_read_is_kept_without_counts(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Somebody may have moved its columns; nothing fails for that."""
    path = tmp_path / "r.csv"
    report_on(channel, path)
    path.write_text("something,else\n1,2\n")
    second = report_on(channel, path, try_number=2)
    assert (second.state, path.read_text()) == ("success", "something,else\n1,2\n")
    result = second.xcoms["return_value"]
    assert (result["results_uri"], result["by_status"], result["rejected"]) == (str(path), None, None)
    assert "so by_status is not known" in second.log_text


@needs_state_store
def test_a_list_that_is_kept_lets_the_report_be_written_anew(channel: FakeSupervisor, tmp_path: Path) -> None:
    """With keep_recipients a cleared task reports again, with all rows."""
    path = tmp_path / "r.csv"
    report_on(channel, path, keep_recipients=True)
    content = path.read_bytes()
    assert names(tmp_path) == ["r.csv", "r.csv.recipients"]
    path.write_text("an older one")
    second = report_on(channel, path, try_number=2, keep_recipients=True)
    assert second.state == "success", second.log_text
    assert path.read_bytes() == content
    assert names(tmp_path) == ["r.csv", "r.csv.recipients"]


@needs_state_store
def test_a_death_between_report_and_deletion_is_made_good(channel: FakeSupervisor, tmp_path: Path) -> None:
    """The next try finds report and list, writes the same report and deletes the list."""
    path, listed = tmp_path / "r.csv", tmp_path / "r.csv.recipients"
    report_on(channel, path, keep_recipients=True)
    content, rows = path.read_bytes(), listed.read_bytes()
    second = report_on(channel, path, try_number=2)
    assert (names(tmp_path), path.read_bytes()) == (["r.csv"], content)
    assert second.xcoms["return_value"]["by_status"] == BY_STATUS
    assert rows


class Locked(ObjectStore):
    """A store that lets nobody delete."""

    def _rm(self, path: str) -> None:
        raise PermissionError(f"{NUMBERS[0]} may not delete {path}")


class Raced(ObjectStore):
    """A store in which somebody else was faster."""

    def _rm(self, path: str) -> None:
        super()._rm(path)
        raise FileNotFoundError(path)


def test_a_store_without_the_right_to_delete_fails_no_task(channel: FakeSupervisor) -> None:
    """The log says what stays there and what to do, without what is in it."""
    with attached(Locked()) as store:
        run = report_on(channel, "s3://shop@bucket/r.csv")
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["by_status"] == BY_STATUS
    assert sorted(store.objects) == ["bucket/r.csv", "bucket/r.csv.recipients"]
    assert "r.csv.recipients could not be deleted (PermissionError)" in run.log_text
    assert "delete it by hand" in run.log_text
    assert NUMBERS[0] not in run.log_text


def test_two_tries_at_once_delete_it_once(channel: FakeSupervisor) -> None:
    """That it is gone already is what was wanted."""
    with attached(Raced()) as store:
        run = report_on(channel, "s3://shop@bucket/r.csv")
    assert (run.state, list(store.objects)) == ("success", ["bucket/r.csv"])
    assert "could not be deleted" not in run.log_text


@pytest.mark.parametrize("on_below_threshold", ["fail", "succeed"])
def test_a_batch_call_that_missed_its_threshold_is_over(
    on_below_threshold: Any, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """However its task ends, nothing more is to be reported."""
    options = {"min_success_rate": 99, "on_below_threshold": on_below_threshold}
    run = report_on(channel, tmp_path / "r.csv", **options)
    assert run.state == ("failed" if on_below_threshold == "fail" else "success")
    assert names(tmp_path) == ["r.csv"]


@pytest.mark.parametrize("options", [{"timeout": 0.001, "on_timeout": "return"}, {"stall_timeout": 0.3}])
@pytest.mark.parametrize("on_stalled", ["fail", "succeed"])
def test_a_batch_call_that_is_not_over_keeps_its_list(
    on_stalled: Any, options: dict[str, Any], make_sandbox: Make, tmp_path: Path
) -> None:
    """The time is up, or it stands still with people left to call: a clear will report on all rows again."""
    sandbox = make_sandbox(speed=0)
    run = report_on(channel_to(sandbox), tmp_path / "r.csv", on_stalled=on_stalled, **options)
    assert run.state == ("failed" if "stall_timeout" in options and on_stalled == "fail" else "success")
    assert names(tmp_path) == ["r.csv", "r.csv.recipients"]
    assert "stays there: the batch call is not over" in run.log_text


@pytest.mark.parametrize("age_s", [3600, 0])
def test_a_report_of_an_earlier_run_is_not_taken_for_this_one_s(
    age_s: int, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """With neither list nor report of its own a task lists whom the API lists, in place of what is older."""
    path = tmp_path / "r.csv"
    operator = a_batch_call(PEOPLE, results_uri=str(path), **WAIT, deferrable=True)
    deferral = run_task(operator, channel).deferral
    (tmp_path / "r.csv.recipients").unlink()
    path.write_text("row_number,status,reason\n1,completed,\n")
    os.utime(path, (time.time() - age_s,) * 2)
    run = run_task(operator, channel, resume_event=run_trigger(deferral, channel).event)
    assert run.state == "success", run.log_text
    is_new = age_s == 3600
    assert len(read_csv(path)) == (3 if is_new else 1)
    assert run.xcoms["return_value"]["by_status"] == (BY_STATUS if is_new else {"completed": 1})


@needs_state_store
def test_a_further_try_reports_by_what_was_asked_first(
    channel: FakeSupervisor, make_sandbox: Make, tmp_path: Path
) -> None:
    """A column that the DAG file asks for only after the upload is blank; nothing fails for it."""
    sandbox = make_sandbox(speed=1)
    channel, path = channel_to(sandbox), tmp_path / "r.csv"
    first = report_on(channel, path, timeout=0.001, reference_column="due_amount")
    assert first.state == "failed"
    sandbox.advance(600)
    second = report_on(channel, path, try_number=2, keep_columns=["due_amount"])
    assert second.state == "success", second.log_text
    rows = read_csv(path)
    assert list(rows[0])[:4] == ["row_number", "customer_phone", "due_amount", "status"]
    assert {row["due_amount"] for row in rows} == {""}
    assert [row["reason"] for row in rows] == ["", "", "", "impossible_number"]
