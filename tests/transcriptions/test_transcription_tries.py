"""Tries of one job: what was submitted is waited for, and what may have been is not submitted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from transcriptions.job import PARKED, a_try, an_audio, an_operator, first_part, posts, written

from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import TRANSCRIBE
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store

UNCLEAR = [
    *(Fault.ERROR_500_AFTER, Fault.ERROR_503_AFTER, Fault.DROP_AFTER, Fault.GARBAGE),
    *(Fault.ERROR_500_BEFORE, Fault.ERROR_503_BEFORE, Fault.DROP_BEFORE),
]
STORES = pytest.mark.parametrize(
    "state_store",
    [pytest.param(True, marks=needs_state_store), False],
    ids=["with a ledger", "below Airflow 3.3"],
)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, none of which is waited."""
    asked_for: list[float] = []
    monkeypatch.setattr("time.sleep", asked_for.append)
    return asked_for


@STORES
@pytest.mark.parametrize("fault", UNCLEAR)
def test_a_job_whose_answer_is_lost_is_parked(
    fault: Fault, state_store: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """It may have been accepted, and cannot be looked up: it is not submitted again, in no try."""
    sandbox.inject(TRANSCRIBE, fault)
    for number in (1, 2, 3):
        run = a_try(channel, tmp_path, number, state_store=state_store)
        assert (run.state, type(run.error)) == ("failed", AirflowFailException), run.log_text
        assert "A transcription job may have been submitted" in str(run.error)
        assert PARKED in str(run.error)
        result = run.xcoms["return_value"]
        assert (result["status"], result["job_id"]) == ("unconfirmed", None)
        assert result["reason"] == "transcription_outcome_unknown"
    assert (posts(sandbox), len(sandbox.transcriptions)) == (1, fault.after)


@STORES
def test_a_wish_to_submit_again_is_granted(
    state_store: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """resubmit_if_unconfirmed=True lets the next try submit, and that one's job is waited for."""
    sandbox.inject(TRANSCRIBE, Fault.DROP_AFTER)
    options: dict[str, Any] = {"state_store": state_store, "resubmit_if_unconfirmed": True}
    first = a_try(channel, tmp_path, **options)
    assert (first.state, posts(sandbox)) == ("up_for_retry", 1)
    second = a_try(channel, tmp_path, 2, **options)
    assert (second.state, posts(sandbox)) == ("success", 2), second.log_text
    assert written(tmp_path)["job_id"] == sandbox.transcriptions[1].job_id


@STORES
@pytest.mark.usefixtures("waits")
def test_a_limit_is_no_doubt(
    state_store: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """429 is waited out within the try, whatever headers it has."""
    for fault in (Fault.RATE_LIMIT, Fault.RATE_LIMIT_RESET_ONLY, Fault.RATE_LIMIT_NO_HEADERS):
        sandbox.inject(TRANSCRIBE, fault)
    run = a_try(channel, tmp_path, state_store=state_store, deferrable=True)
    assert (run.state, posts(sandbox), len(sandbox.transcriptions)) == ("success", 4, 1), run.log_text


@needs_state_store
def test_a_limit_that_lasts_is_left_to_the_next_try(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path, waits: list[float]
) -> None:
    """Refused in so many words, it is submitted by the retry; so is one that never reached the API."""
    sandbox.inject(TRANSCRIBE, Fault.RATE_LIMIT_NO_HEADERS, times=4)
    first = a_try(channel, tmp_path)
    assert (first.state, posts(sandbox)) == ("up_for_retry", 4)
    assert "No transcription job was submitted by this try" in first.log_text
    assert first.xcoms["return_value"]["status"] == "not_submitted"
    sandbox.stop()
    assert a_try(channel, tmp_path, 2).state == "up_for_retry"
    sandbox.start()
    third = a_try(channel, tmp_path, 3, deferrable=True)
    assert (third.state, len(sandbox.transcriptions)) == ("success", 1), third.log_text
    assert waits


def test_below_3_3_a_further_try_is_parked(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """Nobody remembers that an earlier try has submitted nothing, so a further one may not either."""
    audio = f"{tmp_path}/late.wav"
    assert a_try(channel, tmp_path, audio=audio, state_store=False).state == "up_for_retry"
    an_audio(tmp_path, "late.wav")
    run = a_try(channel, tmp_path, 2, audio=audio, state_store=False)
    assert (run.state, posts(sandbox)) == ("failed", 0)
    assert PARKED in str(run.error)


@needs_state_store
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_clear_after_success_submits_nothing(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """It reads the same job and writes the same file, though the audio is gone."""
    first = a_try(channel, tmp_path, deferrable=deferrable)
    (tmp_path / "said.json").unlink()
    audio = tmp_path / "private-asha.wav"
    audio.unlink()
    second = a_try(channel, tmp_path, 2, deferrable=deferrable, audio=str(audio))
    assert second.state == "success", second.log_text
    assert second.xcoms["job_id"] == first.xcoms["job_id"] == written(tmp_path)["job_id"]
    assert posts(sandbox) == 1


@needs_state_store
def test_corrected_audio_is_another_job(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """A task whose audio is another file after a clear never passes off the old text as that one's."""
    first = a_try(channel, tmp_path)
    other = an_audio(tmp_path, "other.wav")
    second = a_try(channel, tmp_path, 2, audio=str(other), output_uri=f"{tmp_path}/other.json")
    assert second.state == "success", second.log_text
    assert second.xcoms["job_id"] == written(tmp_path, "other.json")["job_id"] != first.xcoms["job_id"]
    assert written(tmp_path, "other.json")["audio"] == str(other)
    assert (posts(sandbox), written(tmp_path)["job_id"]) == (2, first.xcoms["job_id"])


@needs_state_store
def test_a_clear_of_a_deferred_task_waits_for_the_same_job(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The trigger is gone with the clear, and the job is not."""
    part = first_part(channel, tmp_path, deferrable=True)
    assert (part.state, posts(sandbox)) == ("deferred", 1)
    run = a_try(channel, tmp_path, 2, deferrable=True)
    assert (run.state, posts(sandbox), len(sandbox.transcriptions)) == ("success", 1, 1)


@needs_state_store
def test_a_worker_killed_between_accept_and_receipt_leaves_a_doubt(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """What was written before the send is all that is left, so the next try is parked."""
    assert first_part(channel, tmp_path, deferrable=True).state == "deferred"
    (entries,) = channel.state.values()
    entry = entries["formant_transcriptions"]
    for record in entry["calls"].values():
        assert record.pop("receipt") == {"job_id": sandbox.transcriptions[0].job_id}
        assert record["sent"] == "unclear"
    run = a_try(channel, tmp_path, 2)
    assert (run.state, posts(sandbox)) == ("failed", 1)
    assert PARKED in str(run.error)


@needs_state_store
def test_a_worker_killed_before_the_send_leaves_no_doubt(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A try that died while it read the audio had submitted nothing, and the next one does."""
    audio = f"{tmp_path}/late.wav"
    assert a_try(channel, tmp_path, audio=audio).state == "up_for_retry"
    (entries,) = channel.state.values()
    (record,) = entries["formant_transcriptions"]["calls"].values()
    assert record["sent"] == "never"
    an_audio(tmp_path, "late.wav")
    assert a_try(channel, tmp_path, 2, audio=audio).state == "success"
    assert posts(sandbox) == 1


@needs_state_store
def test_a_ledger_that_cannot_be_written_keeps_the_audio_back(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A process that may have lost its task submits nothing."""
    channel.refused.add("SetTaskStateStore")
    run = a_try(channel, tmp_path)
    assert (run.state, posts(sandbox)) == ("up_for_retry", 0)
    assert "The intent to transcribe could not be written" in run.log_text


def test_a_task_that_was_stopped_submits_nothing(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """on_kill keeps back what was not sent."""
    task = an_operator(tmp_path, pre_execute=lambda context: context["task"].on_kill())
    run = run_task(task, channel)
    assert (run.state, posts(sandbox)) == ("up_for_retry", 0)
    assert "was stopped before the upload" in run.log_text


def test_the_result_of_an_earlier_try_is_a_witness(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Where Airflow has forgotten all (below 3.3, a clear in 3.4), the file of the result names the job."""
    first = a_try(channel, tmp_path, state_store=False)
    channel.state.clear()
    second = a_try(channel, tmp_path, 2, state_store=False)
    assert second.state == "success", second.log_text
    assert second.xcoms["job_id"] == first.xcoms["job_id"]
    assert posts(sandbox) == 1
    other = a_try(channel, tmp_path, 2, state_store=False, idempotency_key="other")
    assert (other.state, posts(sandbox)) == ("failed", 1)


@STORES
def test_a_refused_job_fails_at_once(
    state_store: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A language that the API does not take, and a key that it does not, are not tried again."""
    run = a_try(channel, tmp_path, state_store=state_store, languages="xx-XX")
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "No transcription job was submitted by this try" in str(run.error)
    channel.connections["formant_default"]["password"] = "another-key"
    run = a_try(channel, tmp_path, state_store=state_store, idempotency_key="other")
    assert "Check the API key" in str(run.error)
    assert sandbox.transcriptions == []


@needs_state_store
def test_a_key_that_is_refused_ends_the_wait_and_not_the_job(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The error says that the job was submitted before, and what to do; then the same job is waited for."""
    connection = channel.connections["formant_default"]
    assert first_part(channel, tmp_path, deferrable=True).state == "deferred"
    key, connection["password"] = connection["password"], "another-key"
    run = a_try(channel, tmp_path, 2)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "The transcription job was submitted before. Check the API key" in str(run.error)
    assert "submits no further transcription job" in str(run.error)
    connection["password"] = key
    assert a_try(channel, tmp_path, 3).state == "success"
    assert posts(sandbox) == 1
