"""Two batch calls with one results_uri do not exchange their people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import AGENT, NUMBERS, WAIT, a_batch_call, names, posts, read_csv, wait_for
from waiting.conftest import channel_to

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

Make = Callable[..., Sandbox]
ANOTHER = "another batch call uses this one"
SHORT = {**WAIT, "timeout": 0.001, "on_timeout": "return", "recipients": "full", "lookup_timeout": 0}


def people(*numbers: str) -> list[dict[str, str]]:
    return [{"customer_phone": number} for number in numbers]


def called(path: Path) -> list[str]:
    return [row["customer_phone"] for row in read_csv(path)]


def mapped(rows: Sequence[dict[str, Any]], **common: Any) -> Any:
    with make_dag():
        return FormantCreateBatchCallOperator.partial(
            task_id="batch_call", agent_id=AGENT, **{**SHORT, **common}
        ).expand_kwargs(rows)


@needs_state_store
def test_mapped_batch_calls_report_on_their_own_people(make_sandbox: Make, tmp_path: Path) -> None:
    """Each timed out once and was cleared: each report lists its own people, and nobody is lost."""
    sandbox = make_sandbox(speed=1)
    channel, files = channel_to(sandbox), [tmp_path / "a.csv", tmp_path / "b.csv"]
    groups = (NUMBERS[:1], NUMBERS[1:])
    rows = [
        {"contacts": people(*group), "name": name, "results_uri": str(path)}
        for group, name, path in zip(groups, "AB", files, strict=True)
    ]
    task = mapped(rows)
    for index in (0, 1):
        assert run_task(task, channel, map_index=index).state == "success"
    sandbox.advance(600)
    for index, (group, path) in enumerate(zip(groups, files, strict=True)):
        run = run_task(mapped(rows, timeout=5), channel, map_index=index, try_number=2)
        assert (run.state, run.xcoms["return_value"]["total_recipients"]) == ("success", len(group))
        assert called(path) == list(group)
    assert names(tmp_path) == ["a.csv", "b.csv"]
    assert posts(sandbox) == 2


@needs_state_store
def test_mapped_batch_calls_that_share_a_report_are_refused_by_the_list(
    make_sandbox: Make, tmp_path: Path
) -> None:
    """The second one sends nothing, and the first, cleared, still reports on its own people."""
    sandbox = make_sandbox(speed=1)
    channel, path = channel_to(sandbox), tmp_path / "r.csv"
    rows = [{"contacts": people(NUMBERS[0]), "name": "A"}, {"contacts": people(*NUMBERS[1:]), "name": "B"}]

    def run(index: int, try_number: int = 1, **options: Any) -> TaskRun:
        task = mapped(rows, results_uri=str(path), **options)
        return run_task(task, channel, map_index=index, try_number=try_number)

    assert run(0).state == "success"
    second = run(1)
    assert (second.state, posts(sandbox)) == ("failed", 1)
    assert "results_uri: " in str(second.error)
    sandbox.advance(600)
    assert run(0, 2, timeout=5).state == "success"
    assert called(path) == [NUMBERS[0]]
    assert names(tmp_path) == ["r.csv"]
    assert run(1, 2).state == "failed", "the complete report of the first one would be replaced"
    assert (called(path), posts(sandbox)) == ([NUMBERS[0]], 1)


@needs_state_store
def test_mapped_batch_calls_cannot_share_their_rejects(channel: FakeSupervisor, tmp_path: Path) -> None:
    """The file of one would take the place of the other one's."""
    rows = [{"contacts": people(NUMBERS[0], "+1415"), "name": name} for name in "AB"]
    options = {"rejects_uri": str(tmp_path / "x.csv"), "invalid_rows": "reject", "lookup_timeout": 0}
    with make_dag():
        partial = FormantCreateBatchCallOperator.partial(task_id="batch_call", agent_id=AGENT, **options)
        task = partial.expand_kwargs(rows)
    first, second = (run_task(task, channel, map_index=index) for index in (0, 1))
    assert (first.state, second.state) == ("success", "failed")
    assert "rejects_uri: is the same in another row of this mapped task" in str(second.error)


def test_another_run_does_not_take_a_list_that_may_be_needed(make_sandbox: Make, tmp_path: Path) -> None:
    """Nothing is read or sent, the list stays as it was, and the error says what to do."""
    sandbox = make_sandbox(speed=1)
    channel, path = channel_to(sandbox), tmp_path / "r.csv"
    first = a_batch_call(people(NUMBERS[0]), results_uri=str(path), **SHORT)
    assert run_task(first, channel, run_id="r1").state == "success"
    listed, asked = (tmp_path / "r.csv.recipients").read_bytes(), len(sandbox.requests)
    second = a_batch_call(people(*NUMBERS[1:]), results_uri=str(path), **SHORT)
    run = run_task(second, channel, run_id="r2")
    assert (run.state, len(sandbox.requests)) == ("failed", asked)
    assert ANOTHER in str(run.error)
    assert "delete that file" in str(run.error)
    assert (tmp_path / "r.csv.recipients").read_bytes() == listed


@needs_state_store
def test_a_list_of_another_batch_call_is_neither_used_nor_deleted(make_sandbox: Make, tmp_path: Path) -> None:
    """Whichever way it came there: the task says so, and writes no report on other people."""
    sandbox = make_sandbox(speed=1)
    channel, path = channel_to(sandbox), tmp_path / "r.csv"
    listed = tmp_path / "r.csv.recipients"
    first = a_batch_call(people(NUMBERS[0]), results_uri=str(path), **SHORT)
    run_task(first, channel)
    report, other = path.read_bytes(), listed.read_bytes().replace(b"[af-", b"[af-0")
    listed.write_bytes(other)
    sandbox.advance(600)
    run = run_task(first, channel, try_number=2)
    assert (run.state, ANOTHER in str(run.error)) == ("failed", True)
    assert (path.read_bytes(), listed.read_bytes()) == (report, other)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[1, 2]\n", b'["row_number"]\n', b"\xff\xfe", b"customer_phone\n"]
)
def test_what_is_no_list_of_rows_is_not_replaced(
    content: bytes, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A file of that name that nobody knows is somebody's."""
    (tmp_path / "r.csv.recipients").write_bytes(content)
    run = wait_for(channel, results_uri=str(tmp_path / "r.csv"))
    assert (run.state, sandbox.requests) == ("failed", [])
    assert (tmp_path / "r.csv.recipients").read_bytes() == content
