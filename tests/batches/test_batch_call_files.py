"""The files of a batch call: none is written over another one, and the list of rows stays while needed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import (
    AGENT,
    NUMBERS,
    PEOPLE,
    WAIT,
    a_batch_call,
    names,
    people_file,
    posts,
    read_csv,
    wait_for,
    write_csv,
)
from waiting.conftest import channel_to
from waiting.modes import to_the_end

from formant_provider.api.errors import InvalidInput
from formant_provider.core.tables.parts import refuse_overlap
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Sandbox
from support.object_store import ObjectStore, attached
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task, run_trigger
from support.versions import needs_state_store

# Contacts, suppress, rejects_uri and results_uri within a folder; who is named, and whose place it is.
CLASHES: dict[str, tuple[dict[str, str], str, str]] = {
    "rejects over contacts": ({"rejects_uri": "in/p.csv"}, "rejects_uri", "contacts is read"),
    "in other words": ({"rejects_uri": "in/../in/./p.csv"}, "rejects_uri", "contacts is read"),
    "by a link": ({"rejects_uri": "link/p.csv"}, "rejects_uri", "contacts is read"),
    "rejects over the list": ({"rejects_uri": "dnc.csv"}, "rejects_uri", "suppress is read"),
    "report over contacts": ({"results_uri": "in/p.csv"}, "results_uri", "contacts is read"),
    "report over the list": ({"results_uri": "dnc.csv"}, "results_uri", "suppress is read"),
    "both to one file": ({"results_uri": "x.csv", "rejects_uri": "x.csv"}, "results_uri", "rejects_uri"),
    "rejects over the rows": (
        {"results_uri": "x.csv", "rejects_uri": "x.csv.recipients"},
        "list of rows beside results_uri",
        "rejects_uri",
    ),
    "into a folder": ({"contacts": "in/", "rejects_uri": "in/r.csv"}, "rejects_uri", "contacts is read"),
    "into a bare folder": ({"contacts": "in", "results_uri": "in/r.csv"}, "results_uri", "contacts"),
    "below a folder": ({"contacts": "in", "rejects_uri": "in/out/r.csv"}, "rejects_uri", "contacts"),
    "like a pattern": ({"contacts": "in/*.csv", "rejects_uri": "in/r.csv"}, "rejects_uri", "contacts"),
    "like a deep one": ({"contacts": "**/*.csv", "rejects_uri": "out/r.csv"}, "rejects_uri", "contacts"),
    "rows like a pattern": ({"contacts": "in/*.csv*", "results_uri": "in/r.csv"}, "results_uri", "contacts"),
}


@pytest.mark.parametrize("is_template", [False, True], ids=["literal", "rendered"])
@pytest.mark.parametrize("case", CLASHES)
def test_outputs_over_inputs_are_refused_before_anything_is_read(
    case: str, is_template: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Literals when the DAG file is parsed, and all when they are rendered: nothing is sent or written."""
    change, named, other = CLASHES[case]
    told = f"{named}: is where {other}"
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    people_file(tmp_path / "in" / "p.csv")
    write_csv(tmp_path / "dnc.csv", [["customer_phone"], ["+14155550199"]])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}
    end = "{{ '' }}" if is_template else ""
    places = {"contacts": "in/p.csv", "suppress": "dnc.csv", **change}
    options: dict[str, Any] = {name: f"{tmp_path}/{place}{end}" for name, place in places.items()}
    contacts = options.pop("contacts")
    if is_template:
        run = wait_for(channel, contacts, invalid_rows="reject", **options)
        assert (run.state, sandbox.requests) == ("failed", [])
        assert told in str(run.error)
    else:
        with pytest.raises(InvalidInput, match=told):
            a_batch_call(contacts, **{**WAIT, **options})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.csv")} == before


def test_files_beside_the_contacts_are_in_order(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Another name in the folder of a single file, or another folder, is no clash."""
    contacts = people_file(tmp_path / "p.csv")
    files = {"results_uri": f"{tmp_path}/r.csv", "rejects_uri": f"{tmp_path}/p.csv.rejects"}
    run = wait_for(channel, contacts, **files)
    assert run.state == "success", run.log_text
    assert names(tmp_path) == ["p.csv", "r.csv"]


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("s3://a@bucket/p.csv", "s3://b@bucket/p.csv"),
        ("s3://bucket/in/", "s3a://bucket/in/r.csv"),
        ("s3://bucket/in/part-*", "S3://bucket/in/part-r.csv"),
        ("gs://bucket/dt=*/*.csv", "gcs://bucket/dt=1/r.csv"),
        ("file:///data/p.csv", "/data/p.csv"),
        ("/data/**", "/data/x/y.csv"),
        ("s3://bucket/", "s3://bucket/r.csv"),
    ],
)
def test_one_place_is_known_under_its_several_names(read: str, written: str) -> None:
    """Connection, scheme and case of the scheme are no other place."""
    with pytest.raises(InvalidInput, match="rejects_uri: is where contacts is read"):
        refuse_overlap({"contacts": read}, {"rejects_uri": written})


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("s3://bucket/p.csv", "s3://other/p.csv"),
        ("s3://bucket/p.csv", "gs://bucket/p.csv"),
        ("s3://bucket/in", "s3://bucket/in2/r.csv"),
        ("/data/*.csv", "/data/out/r.csv"),
        ("/data/part-*.csv", "/data/rejects.csv"),
        ("/data/**/part-*", "/data/x/r.csv"),
        ("/data/in/p.csv", "/data/in/r.csv"),
    ],
)
def test_other_places_are_not_refused(read: str, written: str) -> None:
    """A star stays within its folder, and names that begin alike are two."""
    refuse_overlap({"contacts": read}, {"rejects_uri": written})


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
@pytest.mark.parametrize(
    ("others", "file", "said"),
    [
        ("BA", "{}.csv", "This row of a mapped task has changed"),
        ("AB", "new_{}.csv", "results_uri has changed during the wait"),
    ],
    ids=["row", "report"],
)
def test_a_row_that_is_another_one_after_its_wait_writes_nothing(
    others: str, file: str, said: str, make_sandbox: Make, tmp_path: Path
) -> None:
    """Its list changed meanwhile: no report of one batch call is under the name of another."""
    sandbox = make_sandbox(speed=1)
    channel, people_of = channel_to(sandbox), {"A": NUMBERS[:1], "B": NUMBERS[1:]}

    def run(index: int, names: str, file: str = "{}.csv", **attempt: Any) -> TaskRun:
        rows = [
            {
                "contacts": people(*people_of[name]),
                "name": name,
                "results_uri": f"{tmp_path}/{file.format(name)}",
            }
            for name in names
        ]
        task = mapped(rows, timeout=5, deferrable=True)
        return run_task(task, channel, map_index=index, **attempt)

    waiting = [run(index, "AB") for index in (0, 1)]
    sandbox.advance(600)
    events = [run_trigger(each.deferral, channel).event for each in waiting]
    for index in (0, 1):
        other = run(index, others, file, resume_event=events[index])
        assert other.state == "failed"
        assert said in str(other.error)
    assert not list(tmp_path.glob("*.csv"))
    for index, name in enumerate("AB"):
        again = run(index, "AB", resume_event=events[index])
        assert (again.state, "row" in again.xcoms["return_value"]) == ("success", False)
        assert called(tmp_path / f"{name}.csv") == list(people_of[name])
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
