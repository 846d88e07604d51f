"""The report has a row for each recipient, and says what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import (
    NUMBERS,
    ONE_RING_EACH,
    PEOPLE,
    WAIT,
    a_batch_call,
    asked,
    names,
    posts,
    read_report,
    wait_for,
)
from waiting.conftest import channel_to
from waiting.modes import to_the_end

from formant_provider.core.contacts.row_list import read_row_list
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import BATCH, BATCHES, DETAIL, LIST
from support.object_store import ObjectStore, attached
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task, run_trigger
from support.versions import needs_state_store

Make = Callable[..., Sandbox]

BOTH = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
NEVER_ON_RECORD, STRANGER = "+14155550108", "+14155550155"
# In an order that is no other's: neither that of the numbers nor that of the calls' ends.
LISTED = (NUMBERS[1], NUMBERS[2], NEVER_ON_RECORD, NUMBERS[0])
CONTACTS = [{"customer_phone": number, "customer_name": "Asha-the-private"} for number in LISTED]
STATUSES = ["completed", "no_answer", "no_record", "completed"]
BY_STATUS = {"completed": 2, "no_answer": 1, "no_record": 1}
MASKED = [f"*******{number[-4:]}" for number in LISTED]
FIRST_COLUMNS = ["row_number", "customer_phone", "status", "reason"]
COLUMNS = [*FIRST_COLUMNS, "conversation_id", "started_at", "duration_seconds", "results"]


def report_on(channel: FakeSupervisor, path: Path | str, contacts: Any = CONTACTS, **options: Any) -> TaskRun:
    return wait_for(channel, contacts, results_uri=str(path), **options)


def assert_report(rows: list[dict[str, Any]], sandbox: Sandbox) -> None:
    """All recipients are there in their order, each with their own conversation."""
    assert [int(row["row_number"]) for row in rows] == [1, 2, 3, 4]
    assert [row["customer_phone"] for row in rows] == MASKED
    assert [row["status"] for row in rows] == STATUSES
    (batch,) = sandbox.batches
    ids = [batch.attempt(row, batch.planned_attempts(row)[0]).conversation_id for row in range(len(LISTED))]
    ids[2] = None
    assert [row["conversation_id"] or None for row in rows] == ids


@BOTH
@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.parquet", "r.jsonl", "r.jsonl.gz"])
def test_a_report_has_a_row_for_each_recipient(
    name: str, deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Status, conversation, moment, duration and results, in the form that the file's name asks for."""
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    path = tmp_path / "2026-01-01" / name
    run = report_on(channel, f"{tmp_path}/{{{{ ds }}}}/{name}", deferrable=deferrable)
    assert run.state == "success", run.log_text
    assert names(tmp_path) == [name]
    rows = read_report(path)
    assert [list(row) for row in rows] == [COLUMNS] * 4
    assert_report(rows, sandbox)
    answered, missed, unknown, _ = rows
    assert int(answered["duration_seconds"]) == 142
    assert "payment_confirmed" in str(answered["results"])
    assert (missed["duration_seconds"] or None, unknown["started_at"] or None) == (None, None)
    result = run.xcoms["return_value"]
    assert (result["results_uri"], result["by_status"]) == (str(path), BY_STATUS)
    assert not any(number.lstrip("+") in str(run.xcoms) for number in LISTED)


def test_a_report_goes_to_an_object_store(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """The report lies there, and nothing beside it any more."""
    with attached(ObjectStore()) as store:
        run = report_on(channel, "s3://shop@bucket/{{ ds }}/report.csv")
    assert run.state == "success", run.log_text
    assert run.xcoms["return_value"]["results_uri"] == "s3://shop@bucket/2026-01-01/report.csv"
    where = "bucket/2026-01-01/report.csv"
    assert list(store.objects) == [where]
    (tmp_path / "r.csv").write_bytes(store.objects["bucket/2026-01-01/report.csv"])
    assert_report(read_report(tmp_path / "r.csv"), sandbox)


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        (["status", "conversation_id", "started_at", "duration_seconds"], 0),
        (["conversation_id"], 0),
        (["conversation_id", "status", "failure_reason"], 3),
        (["conversation_id", "trace_id"], 3),
    ],
)
def test_only_what_the_list_does_not_tell_costs_a_request(
    fields: list[str], details: int, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The columns are those that were asked for, in that order; some of them are only in the detail."""
    run = report_on(channel, tmp_path / "r.csv", results_fields=fields)
    assert run.state == "success", run.log_text
    rows = read_report(tmp_path / "r.csv")
    assert list(rows[0]) == [*FIRST_COLUMNS, *(name for name in fields if name != "status")]
    assert [row["customer_phone"] for row in rows] == MASKED
    assert (asked(sandbox, DETAIL), asked(sandbox, LIST)) == (details, 1)
    assert run.xcoms["return_value"]["by_status"] == BY_STATUS


def test_the_newest_conversation_of_a_recipient_counts(make_sandbox: Make, tmp_path: Path) -> None:
    """Somebody whom the platform called again is listed with what came of it last."""
    sandbox = make_sandbox(platform_redials=1)
    run = report_on(channel_to(sandbox), tmp_path / "r.csv", PEOPLE)
    assert run.state == "success", run.log_text
    rows = read_report(tmp_path / "r.csv")
    assert [row["status"] for row in rows] == ["completed"] * 3
    (batch,) = sandbox.batches
    first, second = (batch.attempt(2, plan) for plan in batch.planned_attempts(2))
    assert rows[2]["conversation_id"] == second.conversation_id != first.conversation_id


def test_what_is_not_of_the_batch_call_is_not_in_its_report(make_sandbox: Make, tmp_path: Path) -> None:
    """Neither calls to others, nor of other agents, nor earlier ones to the same people."""
    sandbox = make_sandbox(start_at=datetime.now(UTC) - timedelta(days=10))
    sandbox.place(NEVER_ON_RECORD[:-2] + "00")
    sandbox.place(NUMBERS[2][:-2] + "21")
    earlier = [sandbox.place(number) for number in NUMBERS]
    sandbox.advance(3600)
    operator = a_batch_call(CONTACTS, results_uri=str(tmp_path / "r.csv"), **WAIT, deferrable=True)
    channel = channel_to(sandbox)
    deferral = run_task(operator, channel).deferral
    sandbox.place(STRANGER)
    others = sandbox.place(NUMBERS[0], agent_id=123)
    run = run_task(operator, channel, resume_event=run_trigger(deferral, channel).event)
    assert run.state == "success", run.log_text
    rows = read_report(tmp_path / "r.csv")
    assert_report(rows, sandbox)
    strange = {call.conversation_id for call in [*earlier, others]}
    assert not strange & {row["conversation_id"] for row in rows}


@pytest.mark.parametrize("list_order", ["newest_first", "oldest_first", "unordered"])
def test_a_long_list_in_any_order_is_joined(list_order: str, make_sandbox: Make, tmp_path: Path) -> None:
    """Hundreds of recipients are on several pages of the list, and nobody is left out."""
    sandbox = make_sandbox(list_order=list_order)
    contacts = [{"customer_phone": f"+1415{5550000 + number}"} for number in range(9000, 9350)]
    options: dict[str, Any] = {"results_fields": ["status", "conversation_id"], "stall_timeout": 0.5}
    run = report_on(channel_to(sandbox), tmp_path / "r.csv", contacts, recipients="full", **options)
    assert run.state == "success", run.log_text
    rows = read_report(tmp_path / "r.csv")
    assert [row["customer_phone"] for row in rows] == [row["customer_phone"] for row in contacts]
    nobody = [row for row in rows if row["status"] == "no_record"]
    assert {row["customer_phone"][-2:] for row in nobody} == {"08"}
    assert len({row["conversation_id"] for row in rows}) == 350 - len(nobody) + 1


@needs_state_store
def test_the_recipients_are_those_who_were_uploaded(make_sandbox: Make, tmp_path: Path) -> None:
    """They are kept beside the report, whatever becomes of the contacts meanwhile."""
    sandbox = make_sandbox(speed=1)
    channel, path = channel_to(sandbox), tmp_path / "r.csv"
    options: dict[str, Any] = {"results_uri": str(path), **WAIT, "retries": 1}
    first = run_task(a_batch_call(CONTACTS, deferrable=True, **options), channel)
    assert first.state == "deferred"
    with (tmp_path / "r.csv.recipients").open("rb") as file:
        assert [row.number for row in read_row_list(file)] == list(LISTED)
    sandbox.advance(600)
    second = to_the_end(a_batch_call([{"customer_phone": STRANGER}], **options), channel, try_number=2)
    assert second.state == "success", second.log_text
    assert_report(read_report(path), sandbox)
    assert names(tmp_path) == ["r.csv"]


def test_an_adopted_batch_call_has_its_recipients_too(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """An upload whose answer was lost is reported on like any other."""
    sandbox.inject(BATCH, Fault.DROP_AFTER)
    run = report_on(channel, tmp_path / "r.csv")
    assert run.xcoms["return_value"]["placement"] == "found", run.log_text
    assert_report(read_report(tmp_path / "r.csv"), sandbox)
    assert asked(sandbox, BATCHES) == 1


def test_recipients_that_are_gone_are_replaced_by_the_list(channel: FakeSupervisor, tmp_path: Path) -> None:
    """If somebody deleted the list of recipients, the log says so, and all are listed who have a record."""
    operator = a_batch_call(CONTACTS, results_uri=str(tmp_path / "r.csv"), **WAIT, deferrable=True)
    deferral = run_task(operator, channel).deferral
    (tmp_path / "r.csv.recipients").unlink()
    run = run_task(operator, channel, resume_event=run_trigger(deferral, channel).event)
    assert run.state == "success", run.log_text
    assert "Who was to be called is no longer known" in run.log_text
    rows = read_report(tmp_path / "r.csv")
    assert {row["customer_phone"] for row in rows} == {*MASKED} - {MASKED[2]}
    assert {row["row_number"] for row in rows} == {""}
    assert run.xcoms["return_value"]["by_status"] == {"completed": 2, "no_answer": 1}


@needs_state_store
def test_a_report_that_fails_is_written_by_the_next_try(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The batch call is not placed again for that, and the store holds nothing broken."""
    uri = "s3://shop@bucket/report.csv"
    with attached(ObjectStore(breaks_at=2)) as store:
        first = report_on(channel, uri, retries=1)
        assert (first.state, type(first.error)) == ("up_for_retry", OSError)
        assert list(store.objects) == ["bucket/report.csv.recipients"]
        operator = a_batch_call(CONTACTS, results_uri=uri, **WAIT, retries=1)
        second = to_the_end(operator, channel, try_number=2)
        assert second.state == "success", second.log_text
        assert list(store.objects) == ["bucket/report.csv"]
    assert second.xcoms["return_value"]["by_status"] == BY_STATUS
    assert (posts(sandbox), sandbox.rings) == (1, dict.fromkeys(LISTED, 1))


@needs_state_store
@pytest.mark.parametrize("endpoint", [LIST, DETAIL])
def test_conversations_that_cannot_be_read_are_read_by_the_next_try(
    endpoint: str,
    sandbox: Sandbox,
    channel: FakeSupervisor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failing API fails the try with advice; an older report stays until the new one is there."""
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.02)))
    (tmp_path / "r.csv").write_text("an older one")
    sandbox.inject(endpoint, Fault.ERROR_503_BEFORE, times=8)
    first = report_on(channel, tmp_path / "r.csv", retries=1)
    assert first.state == "up_for_retry"
    assert "places no further batch call" in first.log_text
    assert (tmp_path / "r.csv").read_text() == "an older one"
    operator = a_batch_call(CONTACTS, results_uri=str(tmp_path / "r.csv"), **WAIT, retries=1)
    assert to_the_end(operator, channel, try_number=2).state == "success"
    assert_report(read_report(tmp_path / "r.csv"), sandbox)
    assert names(tmp_path) == ["r.csv"]


@needs_state_store
@BOTH
def test_a_batch_call_that_is_not_over_is_reported_on_as_it_stands(
    deferrable: bool, make_sandbox: Make, tmp_path: Path
) -> None:
    """When the time is up there is a report; a cleared task replaces it, and still knows the recipients."""
    sandbox = make_sandbox(speed=1, start_at=datetime.now(UTC) - timedelta(days=10))
    for number in NUMBERS:  # rung by somebody else before, and not yet by the batch call
        sandbox.place(number)
    sandbox.advance(3600)
    channel, path = channel_to(sandbox), tmp_path / "r.csv"
    first = report_on(channel, path, timeout=0.001, deferrable=deferrable)
    assert first.state == "failed", first.log_text
    assert [row["status"] for row in read_report(path)] == ["no_record"] * 4
    assert first.xcoms["return_value"]["by_status"] == {"no_record": 4}
    assert names(tmp_path) == ["r.csv", "r.csv.recipients"]
    sandbox.advance(600)
    operator = a_batch_call(CONTACTS, results_uri=str(path), **WAIT, deferrable=deferrable)
    second = to_the_end(operator, channel, try_number=2)
    assert second.state == "success", second.log_text
    assert_report(read_report(path), sandbox)
    assert names(tmp_path) == ["r.csv"]


@BOTH
def test_too_few_successes_fail_the_task_after_its_report(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A manager who asks why finds the answer."""
    run = report_on(channel, tmp_path / "r.csv", min_success_rate=90, deferrable=deferrable)
    assert run.state == "failed"
    assert_report(read_report(tmp_path / "r.csv"), sandbox)
    assert run.xcoms["return_value"]["by_status"] == BY_STATUS


@pytest.mark.parametrize(
    "change",
    [{"results_uri": "results.csv"}, {"results_uri": "/r{{ '.xlsx' }}"}, {"rejects_uri": "rejects.csv"}],
    ids=str,
)
def test_a_file_that_could_not_be_written_is_refused_before_anything_is_sent(
    change: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Also when there is nothing wrong with the contacts."""
    run = wait_for(channel, **change)
    assert (run.state, sandbox.requests) == ("failed", [])


@needs_state_store
def test_recipients_that_cannot_be_kept_send_nothing(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Without them there would be no report, so a store that fails is tried again first."""
    with attached(ObjectStore(breaks_at=1)):
        run = report_on(channel, "s3://shop@bucket/r.csv", PEOPLE, retries=1)
        assert (run.state, posts(sandbox)) == ("up_for_retry", 0)
        operator = a_batch_call(PEOPLE, results_uri="s3://shop@bucket/r.csv", **WAIT)
        assert to_the_end(operator, channel, try_number=2).state == "success"
    assert sandbox.rings == ONE_RING_EACH
