"""What becomes of a call list when its files, its triggerer, or what holds it are not as they should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from formant_provider.attempts import Attempts
from formant_provider.operators.call_list import FormantCallListOperator
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task
from support.versions import needs_state_store

pytestmark = needs_state_store
KEY = "key-1234567"
NUMBERS = ["+14155550110", "+14155550111", "+14155550112"]
ONCE = dict.fromkeys(NUMBERS, 1)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which a call is over within a second."""
    with Sandbox(api_key=KEY, call_speed=200, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def contacts(tmp_path: Path) -> Path:
    file = tmp_path / "contacts.csv"
    file.write_text("\n".join(["customer_phone", *NUMBERS, ""]))
    return file


def run_list(channel: FakeSupervisor, calls: Any, fields: dict[str, Any], **attempt: Any) -> TaskRun:
    options = {"agent_id": 456, "poll_interval": 0.2, "retries": 3, **fields}
    return run_task(FormantCallListOperator(task_id="list", calls=calls, **options), channel, **attempt)


@pytest.mark.parametrize("option", ["results_uri", "summary_uri"])
def test_a_file_that_cannot_be_written_at_the_end_loses_no_count_and_calls_nobody_again(
    option: str, sandbox: Sandbox, channel: FakeSupervisor, contacts: Path, tmp_path: Path
) -> None:
    """The task is retried, and its result says who was reached; a retry writes the file."""
    place = {option: str(tmp_path / "there" / f"list.{'csv' if option == 'results_uri' else 'html'}")}
    (tmp_path / "there").touch()  # a file where the folder should be
    first = run_list(channel, str(contacts), place)
    assert first.state == "up_for_retry"
    result = first.xcoms["return_value"]
    assert (result["status"], result["reached"], result["calls"], result[option]) == ("finished", 3, 3, None)
    assert "are not placed again" in first.log_text
    (tmp_path / "there").unlink()
    again = run_list(channel, str(contacts), place, try_number=2)
    assert again.state == "success"
    assert again.xcoms["return_value"][option] == place[option]
    assert sandbox.rings == ONCE


@pytest.mark.parametrize("on_timeout", ["fail", "return"])
def test_a_retry_that_writes_the_file_of_an_expired_list_calls_nobody_further(
    on_timeout: str, sandbox: Sandbox, channel: FakeSupervisor, contacts: Path, tmp_path: Path
) -> None:
    """The time that was up in an earlier try stays up, until the task is cleared."""
    place = tmp_path / "there" / "list.csv"
    fields = {"results_uri": str(place), "timeout": 0.001, "on_timeout": on_timeout}
    (tmp_path / "there").touch()  # a file where the folder should be
    first = run_list(channel, str(contacts), fields)
    assert (first.state, first.xcoms["return_value"]["status"]) == ("up_for_retry", "expired")
    (tmp_path / "there").unlink()
    again = run_list(channel, str(contacts), {**fields, "timeout": 60}, try_number=2)
    assert again.state == {"fail": "failed", "return": "success"}[on_timeout]
    assert again.xcoms["return_value"]["by_reason"] == {"expired": 3}
    assert place.read_text().count(",expired,") == 3
    assert not sandbox.rings
    cleared = run_list(channel, str(contacts), {**fields, "timeout": 60}, try_number=3, clear_number=1)
    assert cleared.state == "success"
    assert sandbox.rings == ONCE


def test_progress_that_cannot_be_written_ends_nothing(
    sandbox: Sandbox, channel: FakeSupervisor, contacts: Path, tmp_path: Path
) -> None:
    """It is warned of, and everybody is called."""
    (tmp_path / "there").touch()
    run = run_list(channel, str(contacts), {"progress_uri": str(tmp_path / "there" / "progress.csv")})
    assert run.state == "success"
    assert "could not be written to progress_uri" in run.log_text
    assert sandbox.rings == ONCE


GONE = {"missing": (None, "up_for_retry"), "another file": ("name\nAsha\n", "failed")}


@pytest.mark.parametrize("found", GONE)
def test_a_list_whose_file_is_gone_at_a_later_wake_calls_nobody_and_keeps_what_it_knows(
    found: str, sandbox: Sandbox, channel: FakeSupervisor, contacts: Path
) -> None:
    """Retries look for a missing file, and another one fails the task; with the file a clear goes on."""
    there, state = GONE[found]
    text, later = contacts.read_text(), {"attempts": Attempts(most=2, after={"no_answer": "1h"})}
    contacts.write_text(text + "+14155550101\n")  # who does not answer
    first = run_list(channel, str(contacts), later)
    assert first.state == "deferred"
    contacts.unlink()
    if there is not None:
        contacts.write_text(there)
    woken = run_list(channel, str(contacts), later, resume_event=first.trigger_kwargs)
    assert woken.state == state
    assert str(woken.error).startswith("calls: ")
    contacts.write_text(text)
    again = run_list(channel, str(contacts), {}, try_number=2, clear_number=1)
    assert again.state == "success", again.log_text
    assert sandbox.rings == {**ONCE, "+14155550101": 1}


@pytest.mark.parametrize("on_empty", ["fail", "skip"])
@pytest.mark.parametrize("how", ["woken", "retried"])
def test_a_list_that_is_empty_once_it_has_begun_is_lost_and_not_skipped(
    how: str, on_empty: str, sandbox: Sandbox, channel: FakeSupervisor, contacts: Path
) -> None:
    """A task that has called people is not skipped as if it had not; with the list a clear goes on."""
    text = contacts.read_text() + "+14155550101\n"  # who does not answer
    fields = {"attempts": Attempts(most=2, after={"no_answer": "1h"}), "on_empty": on_empty}
    contacts.write_text(text)
    first = run_list(channel, str(contacts), fields)
    assert first.state == "deferred"
    contacts.write_text("customer_phone\n")
    attempt = {"resume_event": first.trigger_kwargs} if how == "woken" else {"try_number": 2}
    lost = run_list(channel, str(contacts), fields, **attempt)
    assert lost.state == "failed", lost.log_text
    assert "calls of it may have been placed" in str(lost.error)
    contacts.write_text(text)
    again = run_list(channel, str(contacts), {}, try_number=3, clear_number=1)
    assert again.state == "success", again.log_text
    assert sandbox.rings == {**ONCE, "+14155550101": 1}


def test_a_list_that_no_triggerer_wakes_goes_on_when_it_is_cleared(
    sandbox: Sandbox, channel: FakeSupervisor, contacts: Path
) -> None:
    """Without a triggerer its wait times out: the task is retried, or cleared, and calls nobody twice."""
    contacts.write_text(contacts.read_text() + "+14155550101\n")  # who does not answer
    later = {"attempts": Attempts(most=2, after={"no_answer": "1h"})}
    first = run_list(channel, str(contacts), later)
    assert first.state == "deferred"
    assert run_list(channel, str(contacts), later, resume_timeout=True).state == "up_for_retry"
    again = run_list(channel, str(contacts), later, try_number=2)
    assert again.state == "deferred"
    assert sandbox.rings == {**ONCE, "+14155550101": 1}


def test_a_list_that_is_held_until_its_time_is_up_says_so(
    sandbox: Sandbox, channel: FakeSupervisor, contacts: Path
) -> None:
    """A variable that nobody has set back holds until ``timeout``: the task fails, and a clear calls all."""
    channel.variables["pause"] = "true"
    held = {"hold_variable": "pause"}
    assert run_list(channel, str(contacts), held).state == "deferred"
    long_ago = {"give_up_at": "2026-01-01T00:00:00+00:00"}  # when its time was up
    run = run_list(channel, str(contacts), held, resume_event=long_ago)
    assert run.state == "failed"
    result = run.xcoms["return_value"]
    assert (result["status"], result["by_reason"]) == ("expired", {"expired": 3})
    assert not sandbox.rings
    channel.variables["pause"] = "false"
    again = run_list(channel, str(contacts), held, try_number=2, clear_number=1)
    assert again.state == "success"
    assert sandbox.rings == ONCE
