"""Calling hours of a batch call: decided when it is uploaded, by the clock of each contact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pendulum
import pytest
from batches.batch_call import a_batch_call, read_csv, uploaded

from formant_provider.calling_window import CallingWindow
from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task
from support.versions import needs_state_store

# India has one clock; so have New York's numbers, and those of London for fiction.
INDIA, NEW_YORK, LONDON = "+919876543210", "+12125550123", "+442079460018"
SATELLITE, KOSOVO = "+883510001234567", "+38328012345"
# 11:30 in India, one at night in New York, six in the morning in London.
NOON_IN_INDIA = pendulum.datetime(2026, 11, 25, 6)
# Half past nine at night in India, eleven in the morning in New York, four in the afternoon in London.
NOON_IN_AMERICA = pendulum.datetime(2026, 11, 25, 16)
ALL = [{"customer_phone": number} for number in (INDIA, NEW_YORK, LONDON)]
SetClock = Callable[[datetime], None]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(start_at=NOON_IN_INDIA, speed=0, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def channel(sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections={"formant_default": sandbox.connection_uri()})


@pytest.fixture(autouse=True)
def clock(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets our clock and the sandbox's, which never goes back."""
    monkeypatch.setattr(pendulum, "now", lambda *_: pendulum.instance(sandbox.now()))

    def set_to(moment: datetime) -> None:
        sandbox.advance((moment - sandbox.now()).total_seconds())

    return set_to


def place(channel: FakeSupervisor, contacts: Any = ALL, **options: Any) -> TaskRun:
    chosen = {"calling_window": CallingWindow(), "on_closed": "skip", "retries": 3, **options}
    return run_task(a_batch_call(contacts, **chosen), channel)


def called(sandbox: Sandbox) -> list[str]:
    return [row["customer_phone"] for row in uploaded(sandbox)]


def test_who_is_closed_now_is_left_out_with_the_next_opening(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The rejects say when, in UTC and in whose clock; the rest is uploaded, and the result counts them."""
    rejects = tmp_path / "rejects.csv"
    run = place(channel, rejects_uri=str(rejects))
    assert (run.state, called(sandbox)) == ("success", [INDIA])
    counts = run.xcoms["return_value"]["contacts"]
    assert (counts["accepted"], counts["by_reason"]) == (1, {"closed": 2})
    [new_york, london] = read_csv(rejects)
    assert (new_york["reason"], london["reason"]) == ("closed", "closed")
    assert "the next opening is 2026-11-25T14:00:00Z (America/New_York)" in new_york["detail"]
    assert "the next opening is 2026-11-25T09:00:00Z (Europe/London)" in london["detail"]
    assert "calling_window is closed now for 2 of 3 contacts: 1 until 2026-11-25T09:00:00Z" in run.log_text
    assert NEW_YORK not in run.log_text


@pytest.mark.parametrize("options", [{}, {"on_closed": "fail"}])
def test_a_closed_contact_refuses_the_upload_unless_it_is_to_be_left_out(
    options: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Without retries, and by default: the error says how many are closed until when, and how to go on."""
    batch_call = a_batch_call(ALL, calling_window=CallingWindow(), retries=3, **options)
    run = run_task(batch_call, channel)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert (
        "calling_window is closed now for 2 of 3 contacts: 1 until 2026-11-25T09:00:00Z,"
        " 1 until 2026-11-25T14:00:00Z" in str(run.error)
    )
    assert "clear this task" in str(run.error)
    result = run.xcoms["return_value"]
    assert (result["status"], result["reason"]) == ("refused", "closed")


@needs_state_store
def test_a_refused_upload_goes_out_when_it_is_cleared_in_the_hours(
    sandbox: Sandbox, channel: FakeSupervisor, clock: SetClock
) -> None:
    """As the error says: nothing was sent, so nothing is in doubt."""
    batch_call = a_batch_call(ALL[1:], calling_window=CallingWindow())
    assert run_task(batch_call, channel).state == "failed"
    clock(NOON_IN_AMERICA)
    assert run_task(batch_call, channel, try_number=2).state == "success"
    assert called(sandbox) == [NEW_YORK, LONDON]


def test_if_all_are_closed_the_task_is_skipped(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Its result says closed, and not that the list is empty, which would fail."""
    run = place(channel, ALL[1:])
    assert (run.state, sandbox.requests) == ("skipped", [])
    result = run.xcoms["return_value"]
    assert (result["status"], result["reason"]) == ("skipped", "closed")
    assert "1 until 2026-11-25T14:00:00Z. Nobody is left to be called" in run.log_text


def test_without_a_window_all_are_uploaded(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """As ever: whoever gives no hours has none."""
    assert run_task(a_batch_call(ALL), channel).state == "success"
    assert len(called(sandbox)) == 3


def test_a_named_zone_is_everybodys_clock(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """The window is that of single calls."""
    run = place(channel, calling_window=CallingWindow(timezone="Asia/Kolkata"))
    assert run.state == "success", run.log_text
    assert len(called(sandbox)) == 3


def test_the_last_minute_is_closed_already(channel: FakeSupervisor) -> None:
    """A phone may ring some seconds after the upload."""
    closing = CallingWindow("09:00", "11:31", timezone="Asia/Kolkata")
    assert place(channel, ALL[:1], calling_window=closing).state == "skipped"


def test_a_number_of_unknown_zone_is_left_out_with_the_reason(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """In doubt nobody is called, and one such row does not stop the others."""
    rejects = tmp_path / "rejects.csv"
    contacts = [*ALL[:1], {"customer_phone": SATELLITE}]
    run = place(channel, contacts, rejects_uri=str(rejects), invalid_rows="reject")
    assert (run.state, called(sandbox)) == ("success", [INDIA])
    [row] = read_csv(rejects)
    assert row["reason"] == "hours_unknown"
    assert "the time zone of this number is not known" in row["detail"]
    assert "1 of 2 cannot be called: 1 hours_unknown; it is row 2 (hours_unknown)" in run.log_text
    assert "is closed now" not in run.log_text


@pytest.mark.parametrize("options", [{}, {"invalid_rows": "reject", "max_rejected_rate": 10}])
def test_a_number_of_unknown_hours_is_a_fault_and_not_closed(
    options: dict[str, Any], sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """No later run would call it, so invalid_rows and max_rejected_rate are about it."""
    run = place(channel, [*ALL[:1], {"customer_phone": SATELLITE}], **options)
    assert (run.state, sandbox.requests) == ("failed", [])
    assert "1 hours_unknown" in str(run.error)


def test_holidays_that_nobody_knows_are_a_fault_of_the_row(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The detail says whose they are: the library has none of Kosovo."""
    pytest.importorskip("holidays")
    options = {"rejects_uri": str(tmp_path / "rejects.csv"), "invalid_rows": "reject"}
    contacts = [*ALL[:1], {"customer_phone": KOSOVO}]
    run = place(channel, contacts, calling_window=CallingWindow(holidays="recipient"), **options)
    assert (run.state, called(sandbox)) == ("success", [INDIA])
    [row] = read_csv(tmp_path / "rejects.csv")
    assert row["reason"] == "hours_unknown"
    assert "Here: the public holidays of XK are not known" in row["detail"]


def test_faults_and_the_do_not_call_list_come_before_the_hours(channel: FakeSupervisor) -> None:
    """A row that could never be called is not said to be closed; a repeated one is as closed as the first."""
    rows = [
        {"customer_phone": INDIA, "name": "Asha"},
        {"customer_phone": NEW_YORK, "name": " "},
        {"customer_phone": LONDON, "name": "Ravi"},
        {"customer_phone": LONDON, "name": "Ravi again"},
        {"customer_phone": "+12125550124", "name": "Not to be called"},
    ]
    options = {"suppress": ["+12125550124"], "required_variables": ["name"], "invalid_rows": "reject"}
    run = place(channel, rows, **options)
    assert run.state == "success", run.log_text
    by_reason = run.xcoms["return_value"]["contacts"]["by_reason"]
    assert by_reason == {"suppressed": 1, "blank_variable": 1, "closed": 2}


def test_who_is_closed_is_no_fault_of_the_list(channel: FakeSupervisor) -> None:
    """Neither invalid_rows="fail" nor max_rejected_rate is about the hours."""
    assert place(channel, invalid_rows="fail").state == "success"
    other = place(channel, task_id="other", invalid_rows="reject", max_rejected_rate=0)
    assert other.state == "success", other.log_text


@needs_state_store
def test_a_batch_call_that_was_placed_is_returned_at_any_hour(
    channel: FakeSupervisor, clock: SetClock
) -> None:
    """Only what would ring anew is bound to the hours."""
    batch_call = a_batch_call(ALL[:1], calling_window=CallingWindow())
    first = run_task(batch_call, channel)
    clock(NOON_IN_AMERICA)
    again = run_task(batch_call, channel, try_number=2)
    assert (again.state, again.xcoms["batch_id"]) == ("success", first.xcoms["batch_id"])


@pytest.mark.usefixtures("sleeps")  # the looks for what others may have placed
def test_the_hours_may_be_templates(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Each field of the window is rendered, in a mapped task as well, and the DAG's own stays as it is."""
    window = CallingWindow("{{ '09' ~ ':00' }}", timezone="{{ 'Asia/' ~ 'Kolkata' }}")
    with make_dag():
        mapped: Any = FormantCreateBatchCallOperator.partial(
            task_id="batch_call", agent_id=456, calling_window=window, on_closed="skip"
        ).expand_kwargs([{"name": "A", "contacts": ALL}, {"name": "B", "contacts": ALL[:1]}])
    for map_index in (0, 1):
        run = run_task(mapped, channel, map_index=map_index)
        assert run.state == "success", run.log_text
    assert sandbox.rings == {INDIA: 2, NEW_YORK: 1, LONDON: 1}
    assert window.start == "{{ '09' ~ ':00' }}"


def test_hours_that_make_no_sense_refuse_the_whole(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A fault of the window is no fault of each row: the field is named, and nothing is sent."""
    for number, (field, window) in enumerate(
        {
            "calling_window.start": CallingWindow("{{ 'nine' }}"),
            "calling_window.timezone": CallingWindow(timezone="{{ 'Mars' }}"),
            "calling_window.timezone: must": CallingWindow(timezone={"US": "{{ 'Mars/X' }}"}),
            "calling_window.days": CallingWindow(days="{{ 'someday' }}"),
        }.items()
    ):
        run = place(channel, task_id=f"batch_call_{number}", calling_window=window)
        assert (run.state, sandbox.requests) == ("failed", [])
        assert str(run.error).startswith(field)


def test_calling_each_person_in_their_hours_is_what_call_lists_do() -> None:
    """The vendor gives no row of a batch call a time of its own; the DAG file says so when it is parsed."""
    with pytest.raises(
        ValueError, match=r"Use FormantCallListOperator, which calls each person in their own"
    ):
        a_batch_call(calling_window=CallingWindow(), on_closed="schedule")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"calling_window": CallingWindow(), "on_closed": "wait"}, "on_closed must be one of skip, fail"),
        ({"calling_window": CallingWindow(), "on_closed": None}, "on_closed must be one of skip, fail"),
        ({"calling_window": "09:00-20:00"}, "calling_window: must be CallingWindow or a mapping of"),
        ({"on_closed": "skip"}, "on_closed has no effect without calling_window"),
    ],
)
def test_invalid_hours_break_the_dag_file(options: dict[str, Any], fault: str) -> None:
    """A mistake shows when the DAG is parsed."""
    with pytest.raises(ValueError, match=fault):
        a_batch_call(**options)
