"""A dry run of a batch call checks everything and asks nothing of the vendor; a late run calls nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import NUMBERS, ONE_RING_EACH, PEOPLE, WAIT, a_batch_call, names, read_csv

from formant_provider.calling_window import CallingWindow
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store

BAD, LONDON = {"customer_phone": "4155550123"}, {"customer_phone": "+442079460018"}
# Closed for more than the 30 days that are looked ahead.
NEVER = CallingWindow(
    days=["mon"], holidays=[datetime.now(UTC).date() + timedelta(days=n) for n in range(-9, 60)]
)


def dry_run_result(channel: FakeSupervisor, contacts: Any = PEOPLE, **options: Any) -> TaskRun:
    return run_task(a_batch_call(contacts, **{"dry_run": True, "retries": 3, **options}), channel)


@pytest.mark.parametrize("dry_run", [True, "True", "{{ 'tr' ~ 'ue' }}", " TRUE "])
def test_a_dry_run_asks_the_vendor_nothing(
    dry_run: Any, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Not one request; the result is one like any other, of status dry_run, with counts by zone."""
    rejects, report = tmp_path / "rejects.csv", tmp_path / "report.csv"
    options = {"rejects_uri": str(rejects), "results_uri": str(report), **WAIT, "deferrable": True}
    contacts = [*PEOPLE, BAD, LONDON]
    run = dry_run_result(channel, contacts, dry_run=dry_run, invalid_rows="reject", **options)
    assert (run.state, sandbox.requests) == ("success", [])
    result = run.xcoms["return_value"]
    assert (result["status"], result["placement"], result["batch_id"]) == ("dry_run", None, None)
    assert (result["contacts"]["accepted"], result["contacts"]["by_reason"]) == (4, {"not_e164": 1})
    assert (result["total_recipients"], result["agent_id"], result["reason"]) == (4, 456, None)
    assert result["by_opening"] == [
        {"zones": "America/Los_Angeles", "is_open": True, "opens_at": None, "count": 3},
        {"zones": "Europe/London", "is_open": True, "opens_at": None, "count": 1},
    ]
    assert run.xcoms["batch_id"] == ""
    assert names(tmp_path) == ["rejects.csv"]
    assert [row["reason"] for row in read_csv(rejects)] == ["not_e164"]
    assert "3 may be called now (America/Los_Angeles)" in run.log_text
    assert NUMBERS[0] not in run.log_text


@needs_state_store
@pytest.mark.parametrize("is_same_run", [True, False])
def test_a_real_run_after_it_is_not_affected(
    is_same_run: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Cleared without dry_run, or in another run, the batch call is placed, once."""
    assert dry_run_result(channel).state == "success"
    attempt = {"try_number": 2} if is_same_run else {"run_id": "r2"}
    real = run_task(a_batch_call(dry_run=False), channel, **attempt)
    assert real.state == "success", real.log_text
    assert real.xcoms["return_value"]["placement"] == "placed"
    assert sandbox.rings == ONE_RING_EACH


@needs_state_store
def test_a_dry_run_after_a_real_one_changes_nothing(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """What was placed is not looked at, and the next real try still hands it on."""
    placed = run_task(a_batch_call(), channel)
    asked = len(sandbox.requests)
    assert run_task(a_batch_call(dry_run=True), channel, try_number=2).state == "success"
    assert len(sandbox.requests) == asked
    again = run_task(a_batch_call(), channel, try_number=3)
    assert again.xcoms["batch_id"] == placed.xcoms["batch_id"]
    assert sandbox.rings == ONE_RING_EACH


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a contact that cannot be called": ({"contacts": [*PEOPLE, BAD]}, "contacts: 1 of 4 cannot be called"),
    "no contacts": ({"contacts": []}, "contacts: nobody is left"),
    "no file": ({"contacts": "people.csv"}, "contacts: "),
    "no name": ({"name": " "}, "name: "),
    "no agent": ({"agent_id": "{{ 'agent' }}"}, "agent_id: "),
    "a list that is lost": ({"suppress": []}, "suppress: "),
    "nowhere to write": ({"rejects_uri": "rejects.csv"}, "rejects_uri: "),
    "no connection": ({"formant_conn_id": "nowhere"}, "formant_conn_id"),
    "hours of nonsense": ({"calling_window": CallingWindow("{{ 'x' }}")}, "calling_window.start: "),
    "closed hours": ({"calling_window": NEVER}, "calling_window is closed now for 3 of 3 contacts"),
}


@pytest.mark.parametrize(("fields", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_would_fail_fails(
    fields: dict[str, Any], fault: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """For the reason for which it would if it were meant."""
    run = dry_run_result(channel, **{"contacts": PEOPLE, **fields})
    assert run.state in {"failed", "up_for_retry"}
    assert fault in run.log_text
    assert sandbox.requests == []


SKIPS: dict[str, tuple[dict[str, Any], str]] = {
    "closed": ({"calling_window": NEVER, "on_closed": "skip"}, "closed"),
    "nobody left": ({"suppress": list(NUMBERS), "on_empty": "skip"}, "nobody_left"),
    "late": ({}, "late"),
}


@pytest.mark.parametrize(("options", "reason"), SKIPS.values(), ids=SKIPS)
def test_what_would_be_skipped_is_said(
    options: dict[str, Any], reason: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The task succeeds, and the result has the reason: that was the question."""
    run_of = {"run_type": "scheduled", "data_interval_end": datetime.now(UTC) - timedelta(days=30)}
    batch_call = a_batch_call(dry_run=True, **options)
    run = run_task(batch_call, channel, **(run_of if reason == "late" else {}))
    assert (run.state, sandbox.requests) == ("success", [])
    result = run.xcoms["return_value"]
    assert (result["status"], result["reason"], result["total_recipients"]) == ("dry_run", reason, 0)
    assert "this task would be skipped" in run.log_text
    if reason == "closed":
        [entry] = result["by_opening"]
        assert entry == {"zones": "America/Los_Angeles", "is_open": False, "opens_at": None, "count": 3}


@pytest.mark.parametrize("value", ["yes", "", "1", 1, 0, "no", [], "{{ 'maybe' }}", "{{ none }}", None])
def test_what_is_neither_true_nor_false_calls_nobody(
    value: Any, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """A word that is not understood must not be taken for permission to call."""
    run = run_task(a_batch_call(dry_run=value, retries=3), channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert str(run.error).startswith("dry_run: ")


@pytest.mark.parametrize("value", [False, "False", "{{ 1 == 2 }}", "false"])
def test_what_is_false_is_no_dry_run(value: Any, sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Templates render to words, and each of these means to call."""
    assert run_task(a_batch_call(dry_run=value), channel).state == "success"
    assert sandbox.rings == ONE_RING_EACH


RUNS: dict[str, tuple[str, timedelta, dict[str, Any], bool]] = {
    "a backfill of last month": ("backfill", timedelta(days=30), {}, False),
    "a schedule that was down": ("scheduled", timedelta(days=2), {}, False),
    "last night's run": ("scheduled", timedelta(hours=9), {}, True),
    "started by hand": ("manual", timedelta(days=30), {}, True),
    "meant to": ("backfill", timedelta(days=30), {"max_lateness": None}, True),
    "a shorter time": ("scheduled", timedelta(hours=9), {"max_lateness": timedelta(hours=1)}, False),
}


@pytest.mark.parametrize(("run_type", "ago", "options", "rings"), RUNS.values(), ids=RUNS)
def test_a_late_run_calls_nobody(  # noqa: PLR0917 - a table
    run_type: str,
    ago: timedelta,
    options: dict[str, Any],
    rings: bool,
    sandbox: Sandbox,
    channel: FakeSupervisor,
) -> None:
    """Too long after its data interval, a run that nobody started by hand is skipped, and nothing is sent."""
    end = datetime.now(UTC) - ago
    run = run_task(a_batch_call(**options), channel, run_type=run_type, data_interval_end=end)
    assert run.state == ("success" if rings else "skipped"), run.log_text
    assert sandbox.rings == (ONE_RING_EACH if rings else {})
    assert rings or not [request for request in sandbox.requests if request.method == "POST"]


@needs_state_store
def test_a_batch_call_that_was_placed_is_not_too_late(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A task that is cleared a month later hands on what it placed in time."""
    placed = run_task(a_batch_call(), channel, run_type="scheduled", data_interval_end=datetime.now(UTC))
    end = datetime.now(UTC) - timedelta(days=30)
    cleared = run_task(a_batch_call(), channel, try_number=2, run_type="scheduled", data_interval_end=end)
    assert cleared.state == "success", cleared.log_text
    assert cleared.xcoms["batch_id"] == placed.xcoms["batch_id"]
    assert sandbox.rings == ONE_RING_EACH
