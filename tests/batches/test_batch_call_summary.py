"""The page about a batch call counts the rows of its report, and is written beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import AGENT, NUMBERS, WAIT, a_batch_call, names, posts, wait_for
from waiting.conftest import channel_to
from waiting.modes import to_the_end

from formant_provider.api.models import Conversation
from formant_provider.core.contacts.row_list import ListedRow
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Sandbox
from formant_provider.tasks.batches.page import row_result
from support.object_store import ObjectStore, attached
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

Make = Callable[..., Sandbox]

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
NEVER_ON_RECORD = "+14155550108"
CONTACTS = [
    {"customer_phone": number, "customer_name": "Asha-the-private"}
    for number in (*NUMBERS, NEVER_ON_RECORD, "12")
]


def summed(channel: FakeSupervisor, folder: Path | str, **options: Any) -> TaskRun:
    """Place a batch call with a report and a page in a folder, and wait for it."""
    return wait_for(channel, CONTACTS, **files_in(folder) | options)


def files_in(folder: Path | str) -> dict[str, Any]:
    return {
        "results_uri": f"{folder}/r.csv",
        "summary_uri": f"{folder}/r.html",
        "invalid_rows": "reject",
    }


def figures(html: str) -> dict[str, str]:
    """The figures of a page by their names, and the rows by outcome."""
    named = re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)", html)
    outcomes = html[html.index('id="outcomes"') :].partition("</table>")[0]
    rows = re.findall(r'<th scope="row">([^<]*).*?<td class="number">([^<]*)', outcomes, re.DOTALL)
    return dict(named) | {word.strip(): count for word, count in rows}


@BOTH
def test_a_page_is_written_beside_the_report(
    deferrable: bool, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """It has the same rows, in counts, and nobody's number, name or id; the result says where it is."""
    run = summed(channel, tmp_path, deferrable=deferrable)
    assert run.state == "success", run.log_text
    assert names(tmp_path) == ["r.csv", "r.html"]
    html = (tmp_path / "r.html").read_text("utf-8")
    shown = figures(html)
    assert (shown["Rows of the list"], shown["People called"], shown["People reached"]) == ("5", "4", "2")
    assert [shown[word] for word in ("completed", "no answer", "no record", "rejected")] == [
        "2",
        "1",
        "1",
        "1",
    ]
    assert shown["Minutes in all"] == "5"  # two conversations of 142 seconds
    assert "<h1>March</h1>" in html
    assert "Not over:" not in html
    assert run.xcoms["return_value"]["summary_uri"].endswith("/r.html")
    private = (
        *NUMBERS,
        NUMBERS[0][-4:],
        "Asha",
        *re.findall(r"conv[\w-]+", (tmp_path / "r.csv").read_text()),
    )
    assert [word for word in private if word in html] == []


def test_without_a_page_the_result_is_as_before(channel: FakeSupervisor, tmp_path: Path) -> None:
    """There is no key for a page that nobody asked for."""
    run = summed(channel, tmp_path, summary_uri=None)
    assert "summary_uri" not in run.xcoms["return_value"]
    assert names(tmp_path) == ["r.csv"]


def test_the_hour_is_that_of_the_number() -> None:
    """A number of one time zone has its hour; one that may be in several has none."""
    record = a_record()
    kolkata, anywhere = (
        row_result(ListedRow(1, None, None, number, {}), record, is_complete=True)
        for number in ("+912079460123", "+61491570156")
    )
    assert (kolkata.zone, anywhere.zone) == ("Asia/Kolkata", None)


@pytest.mark.parametrize(
    ("status", "is_over"),
    [("completed", True), ("busy", True), ("a new word", True), ("in_progress", False), ("pending", False)],
)
def test_a_conversation_that_is_not_over_is_no_call_yet(status: str, is_over: bool) -> None:
    """It keeps its status, and is not among the people called."""
    row = ListedRow(1, None, None, NUMBERS[0], {})
    result = row_result(row, a_record(status=status), is_complete=False)
    assert (result.status, bool(result.attempts)) == (status, is_over)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"summary_uri": "/r.html"}, "summary_uri needs wait_for_completion=True"),
        ({"summary_uri": "/r.html", **WAIT}, "summary_uri needs results_uri: "),
        (
            {"summary_uri": "/r.pdf", "results_uri": "/r.csv", **WAIT},
            "summary_uri: must end in .html or .htm",
        ),
        (
            {"contacts": "/data/*", "summary_uri": "/data/r.html", "results_uri": "/r.csv", **WAIT},
            "summary_uri",
        ),
    ],
)
def test_a_page_that_cannot_be_breaks_the_dag_file(options: dict[str, Any], error: str) -> None:
    """Without the wait, without the report, under a name of something else, or among the contacts."""
    with pytest.raises(ValueError, match=re.escape(error)):
        a_batch_call(**options)


@pytest.mark.parametrize("uri", ["r.html", "/r{{ '.pdf' }}", "/pages.html/", "nowhere://bucket/r.html"])
def test_a_page_that_could_not_be_written_is_refused_before_anything_is_sent(
    uri: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Relative, of another kind, a folder, or in a storage that Airflow does not know."""
    options = files_in(tmp_path) | {"summary_uri": uri}
    run = wait_for(channel, CONTACTS, **options, retries=3)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert str(run.error).startswith("summary_uri: ")


@needs_state_store
def test_mapped_batch_calls_cannot_share_their_page(channel: FakeSupervisor, tmp_path: Path) -> None:
    """The page of one would take the place of the other one's."""
    rows = [
        {
            "contacts": [{"customer_phone": number}],
            "name": number[-1],
            "results_uri": f"{tmp_path}/{number}.csv",
        }
        for number in NUMBERS[:2]
    ]
    with make_dag():
        partial = FormantCreateBatchCallOperator.partial(
            task_id="batch_call", agent_id=AGENT, summary_uri=f"{tmp_path}/r.html", lookup_timeout=0, **WAIT
        )
        task = partial.expand_kwargs(rows)
    first, second = (run_task(task, channel, map_index=index) for index in (0, 1))
    assert (first.state, second.state) == ("success", "failed"), first.log_text
    assert "summary_uri: is the same in another row of this mapped task" in str(second.error)


@needs_state_store
def test_a_page_that_fails_is_written_by_the_next_try(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The list of rows stays until both files are there, and nobody is called again."""
    files = files_in("s3://shop@bucket")
    with attached(ObjectStore(breaks_at=3)) as store:
        first = wait_for(channel, CONTACTS, **files, retries=1)
        assert (first.state, type(first.error)) == ("up_for_retry", OSError)
        assert sorted(store.objects) == ["bucket/r.csv", "bucket/r.csv.recipients"]
        operator = a_batch_call(CONTACTS, **files, **WAIT, retries=1)
        second = to_the_end(operator, channel, try_number=2)
        assert second.state == "success", second.log_text
        assert sorted(store.objects) == ["bucket/r.csv", "bucket/r.html"]
        assert figures(store.objects["bucket/r.html"].decode())["Rows of the list"] == "5"
    assert posts(sandbox) == 1


@needs_state_store
def test_a_cleared_task_keeps_its_page(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Report and page stay as they are; a page that is asked for later is missed, and the log says so."""
    summed(channel, tmp_path)
    before = (tmp_path / "r.html").read_bytes()
    again = to_the_end(a_batch_call(CONTACTS, **files_in(tmp_path), **WAIT), channel, try_number=2)
    assert again.xcoms["return_value"]["summary_uri"].endswith("/r.html")
    assert (tmp_path / "r.html").read_bytes() == before
    later = files_in(tmp_path) | {"summary_uri": f"{tmp_path}/later.html"}
    third = to_the_end(a_batch_call(CONTACTS, **later, **WAIT), channel, try_number=3)
    assert third.state == "success", third.log_text
    assert third.xcoms["return_value"]["summary_uri"] is None
    assert "No summary is written" in third.log_text


@needs_state_store
def test_a_page_of_a_batch_call_that_is_not_over_says_so(make_sandbox: Make, tmp_path: Path) -> None:
    """When the time is up it shows how things stand; a cleared task writes it again."""
    sandbox = make_sandbox(speed=1, start_at=datetime.now(UTC))
    channel, page = channel_to(sandbox), tmp_path / "r.html"
    assert summed(channel, tmp_path, timeout=0.001).state == "failed"
    assert "Not over:" in page.read_text()
    assert figures(page.read_text())["People called"] == "0"
    sandbox.advance(600)
    again = to_the_end(a_batch_call(CONTACTS, **files_in(tmp_path), **WAIT), channel, try_number=2)
    assert again.state == "success", again.log_text
    assert "Not over:" not in page.read_text()
    assert figures(page.read_text())["People called"] == "4"


def a_record(status: str = "completed") -> Conversation:
    return Conversation("c", AGENT, status, start_timestamp=1, end_timestamp=2, duration_seconds=3)
