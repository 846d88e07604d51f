"""The methods of the hook for transcription jobs: what was submitted is paid for, and its id is kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.errors import AuthenticationFailed, InvalidInput, TranscriptionUnsuccessful
from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import TRANSCRIBE, TRANSCRIPTION


def test_audio_is_transcribed(hook: FormantHook, tmp_path: Path, sandbox: Sandbox) -> None:
    """Submitted once, waited for past errors of a read, and returned with what was said."""
    audio = tmp_path / "talk.wav"
    audio.write_bytes(b"RIFF....")
    sandbox.transcription_seconds = 0
    sandbox.inject(TRANSCRIPTION, Fault.NOT_FOUND)
    sandbox.inject(TRANSCRIPTION, Fault.ERROR_503_BEFORE)
    job = hook.transcribe(audio=f"file://{audio}", languages="hi-IN,en-IN", diarize=True)
    assert (job.status, job.language) == ("completed", "hi-IN")
    assert "I can talk" in str(job.text)
    assert "I can talk" not in repr(job)
    assert hook.get_transcription_job(job_id=job.job_id) == job
    assert sum(request.endpoint == TRANSCRIBE for request in sandbox.requests) == 1


def test_audio_that_is_not_transcribed_in_time_is_an_error_with_the_job(
    hook: FormantHook, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that fails, and one that is not over in time, are never a success; the error has the id.

    The time is kept to, however long the interval is.
    """
    audio = tmp_path / "talk.wav"
    audio.write_bytes(b"RIFF....")
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with pytest.raises(TranscriptionUnsuccessful) as caught:
        hook.transcribe(audio=str(audio), timeout=0.1, poll_interval=3600)
    assert max(pauses) <= 0.1
    sandbox.transcription_seconds, sandbox.transcription_ends_as = 0, "failed"
    with pytest.raises(TranscriptionUnsuccessful) as failed:
        hook.transcribe(audio=str(audio))
    errors = [caught.value, failed.value]
    assert [error.job_id for error in errors] == [job.job_id for job in sandbox.transcriptions]
    assert [error.job_status for error in errors] == ["pending", "failed"]


def test_a_time_to_wait_that_is_none_is_refused_before_the_audio_is_submitted(
    hook: FormantHook, tmp_path: Path, sandbox: Sandbox
) -> None:
    """What was submitted is paid for, so nothing is that could not be waited for; a timedelta is a time."""
    audio = tmp_path / "talk.wav"
    audio.write_bytes(b"RIFF....")
    waits: list[Any] = [None, "600", True, -1, 0, float("nan"), float("inf")]
    for field in ("timeout", "poll_interval"):
        for wait in waits:
            with pytest.raises(InvalidInput, match=field):
                hook.transcribe(audio=str(audio), **{field: wait})
    assert sandbox.requests == []
    sandbox.transcription_seconds = 0
    span: Any = timedelta(seconds=5)
    assert hook.transcribe(audio=str(audio), timeout=span, poll_interval=span).status == "completed"


def test_audio_that_was_submitted_is_waited_for_whatever_becomes_of_a_read(
    hook: FormantHook, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that passes ends no wait, however long it lasts; one that stays comes with the job's id."""
    audio = tmp_path / "talk.wav"
    audio.write_bytes(b"RIFF....")
    sandbox.transcription_seconds = 0
    sandbox.inject(TRANSCRIPTION, Fault.ERROR_503_BEFORE, times=9)  # more than one read is repeated
    assert hook.transcribe(audio=str(audio)).status == "completed"

    monkeypatch.setattr("time.sleep", lambda _: setattr(sandbox, "api_key", "another-key"))
    with pytest.raises(TranscriptionUnsuccessful) as caught:
        hook.transcribe(audio=str(audio))
    assert caught.value.job_id == sandbox.transcriptions[-1].job_id
    assert caught.value.maybe_placed
    assert isinstance(caught.value.__cause__, AuthenticationFailed)


def test_a_key_that_is_refused_for_a_moment_ends_no_wait_for_a_job(
    hook: FormantHook, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry of the task would submit the audio again, and pay twice."""
    audio = tmp_path / "talk.wav"
    audio.write_bytes(b"RIFF....")
    sandbox.transcription_seconds = 0
    keys = iter(["another-key", "another-key", sandbox.api_key])
    monkeypatch.setattr("time.sleep", lambda _: setattr(sandbox, "api_key", next(keys)))
    assert hook.transcribe(audio=str(audio)).status == "completed"
    asked = [(seen.endpoint, seen.status) for seen in sandbox.requests]
    assert asked == [(TRANSCRIBE, 200), *[(TRANSCRIPTION, status) for status in (401, 401, 200)]]
