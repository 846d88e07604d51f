"""The trigger of a transcription job: who shares its poll, what its end tells, and that it always fires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from transcriptions.job import an_operator, posts, reads
from waiting.conftest import channel_to

from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Sandbox
from formant_provider.tasks.waiting import wait_here
from formant_provider.triggers.transcription import TranscriptionTrigger
from support.isolation import process_left_alone
from support.supervisor import FakeSupervisor, supervised_by
from support.triggers import HINDRANCES, error_reaching_the_task, run_all


def a_job(channel: FakeSupervisor, folder: Path) -> str:
    audio = folder / "a.wav"
    audio.write_bytes(b"RIFF....")
    with process_left_alone(), supervised_by(channel):
        return FormantHook().create_transcription_job(audio=str(audio)).job_id


def a_trigger(job_id: str, seconds: float = 10, **watch: Any) -> TranscriptionTrigger:
    fields = {
        "job_id": job_id,
        "failure_statuses": ["failed"],
        "poll_interval_s": 0.1,
        "missing_timeout_s": 60.0,
        **watch,
    }
    deadline = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return TranscriptionTrigger("formant_default", None, fields, deadline, {"job_id": job_id})


def test_triggers_of_one_job_share_one_poll(make_sandbox: Any, tmp_path: Path) -> None:
    """Forty who wait for it cost one request a poll, and their events have nothing that was said."""
    sandbox = make_sandbox(speed=20)
    channel = channel_to(sandbox)
    job_id = a_job(channel, tmp_path)
    ends = run_all([a_trigger(job_id) for _ in range(40)], channel)
    assert {(end.is_over, end.status, end.job_id) for end in ends} == {(True, "completed", job_id)}
    assert "talk" not in str(ends)
    assert 2 <= reads(sandbox) <= 12


def test_a_deadline_ends_with_what_was_last_seen(make_sandbox: Any, tmp_path: Path) -> None:
    """Not over, with its status, and what the task knew is returned."""
    sandbox = make_sandbox(speed=0)
    channel = channel_to(sandbox)
    job_id = a_job(channel, tmp_path)
    (end,) = run_all([a_trigger(job_id, seconds=0.4)], channel)
    assert (end.is_over, end.status, end.receipt) == (False, "pending", {"job_id": job_id})


def test_a_job_that_does_not_exist_ends_the_wait(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A 404 is believed after a while, and is told as what it is."""
    (end,) = run_all([a_trigger("job_0", missing_timeout_s=0.3)], channel)
    assert end.error is not None
    assert end.error[0] == "NotFound"
    assert reads(sandbox) >= 2


def test_the_worker_and_the_triggerer_see_the_same(sandbox: Sandbox, tmp_path: Path) -> None:
    """One flow, and two that drive it."""
    channel = channel_to(sandbox)
    job_id = a_job(channel, tmp_path)
    (there,) = run_all([a_trigger(job_id)], channel)
    with process_left_alone(), supervised_by(channel):
        here = wait_here(FormantHook(), a_trigger(job_id))
    assert here == there
    assert there.is_over


@pytest.mark.parametrize("kind", HINDRANCES)
def test_an_error_reaches_the_task(kind: str, make_sandbox: Any, tmp_path: Path) -> None:
    """A trigger fires whatever happens, the task ends as in a worker, and submits no second job."""
    sandbox = make_sandbox(speed=0)
    task = an_operator(tmp_path, deferrable=True, poll_interval=0.05)
    run = error_reaching_the_task(kind, task, channel_to(sandbox), [sandbox.api_key, "asha"])
    assert "submits no further transcription job" in run.log_text
    assert posts(sandbox) == 1
