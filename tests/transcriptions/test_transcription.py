"""One file is transcribed: what is sent, what is written, and what is left in XCom."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from transcriptions.job import AUDIO, SAID, a_try, an_audio, an_operator, first_part, posts, reads, written
from waiting.conftest import channel_to

from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.faults import TRANSCRIPTION
from support.object_store import CONNECTION, ObjectStore, attached
from support.supervisor import FakeSupervisor, supervised_by
from support.versions import needs_state_store

WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["in the worker", "deferrable"])


@WAYS
def test_audio_is_submitted_waited_for_and_written(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """The bytes arrive as they are, and the text is in the file and nowhere else."""
    run = a_try(channel, tmp_path, deferrable=deferrable, languages=["hi-IN", "en-IN"], diarize=True)
    assert run.state == "success", run.log_text
    (job,) = sandbox.transcriptions
    assert (job.request.sha256, job.request.size) == (hashlib.sha256(AUDIO).hexdigest(), len(AUDIO))
    assert (job.request.languages, job.request.diarize) == (("hi-IN", "en-IN"), True)
    result = written(tmp_path)
    assert SAID in result["text"]
    assert (result["job_id"], result["status"], result["language"]) == (job.job_id, "completed", "hi-IN")
    assert [each["speaker"] for each in result["utterances"]] == ["0", "1"]
    returned = run.xcoms["return_value"]
    assert returned == {
        "job_id": job.job_id,
        "status": "completed",
        "reason": None,
        "output_uri": f"{tmp_path}/said.json",
        "size": (tmp_path / "said.json").stat().st_size,
        "language": "hi-IN",
        "map_index": -1,
    }
    assert run.xcoms["job_id"] == job.job_id
    assert posts(sandbox) == 1


@needs_state_store
def test_nothing_of_the_audio_but_its_ending_is_sent(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A path may be private, and what was said is: neither is in a request's name, a log or a trigger."""
    part = first_part(channel, tmp_path, deferrable=True)
    assert part.state == "deferred"
    run = a_try(channel, tmp_path, 2, deferrable=True)
    (job,) = sandbox.transcriptions
    assert (job.request.file_name, job.request.content_type) == ("audio.wav", "audio/x-wav")
    assert SAID not in run.log_text
    assert "asha" not in str(part.deferral)
    assert SAID not in str(run.xcoms)


def test_objects_of_a_store_are_read_and_written(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """By URIs with the connection of the storage; the copy of the audio is gone afterwards."""
    store = ObjectStore()
    store.objects["bucket/talk.mp3"] = AUDIO
    with attached(store):
        run = a_try(
            channel,
            tmp_path,
            audio=f"s3://{CONNECTION}@bucket/talk.mp3",
            output_uri=f"s3://{CONNECTION}@bucket/said.json",
        )
    assert run.state == "success", run.log_text
    assert sandbox.transcriptions[0].request.file_name == "audio.mp3"
    assert SAID.encode() in store.objects["bucket/said.json"]
    assert store.pending == 0


def test_audio_that_has_grown_since_it_was_listed_is_sent_whole(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """By the operator and by the hook: some storages remember how long a file was when they listed it."""
    store, audio = ObjectStore(), f"s3://{CONNECTION}@bucket/talk.mp3"
    store.objects["bucket/talk.mp3"] = AUDIO
    with attached(store):
        store.listed["bucket/talk.mp3"] = 4
        assert a_try(channel, tmp_path, audio=audio).state == "success"
        store.listed["bucket/talk.mp3"] = 4
        with supervised_by(channel):
            FormantHook().create_transcription_job(audio=audio)
    assert [job.request.size for job in sandbox.transcriptions] == [len(AUDIO)] * 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"languages": "hindi"}, "languages"),
        ({"languages": ["unknown", "hi-IN"]}, "languages"),
        ({"audio": "relative.wav"}, "audio"),
        ({"output_uri": "/somewhere/"}, "output_uri"),
        ({"idempotency_key": " "}, "idempotency_key"),
    ],
)
def test_an_invalid_field_submits_nothing(
    options: dict[str, Any], reason: str, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """It fails without retries, by the name of the field, and leaves a result."""
    run = a_try(channel, tmp_path, **options)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert str(run.error).startswith(f"{reason}: ")
    assert "No transcription job was submitted by this try" in str(run.error)
    assert (run.xcoms["return_value"]["status"], run.xcoms["return_value"]["reason"]) == (
        "refused",
        "invalid_input",
    )
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "options", [{"format": "html"}, {"diarize": "yes"}, {"timeout": 0}, {"failure_statuses": "failed"}]
)
def test_an_invalid_option_breaks_the_dag_file(options: dict[str, Any], tmp_path: Path) -> None:
    """What no template can mend is refused when the file is parsed."""
    with pytest.raises(ValueError, match=next(iter(options))):
        an_operator(tmp_path, **options)


@needs_state_store
def test_audio_that_is_not_there_is_looked_for_again(
    sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """It may be written yet: the task is retried, and submits it then. An empty file is refused."""
    first = a_try(channel, tmp_path, audio=f"{tmp_path}/late.wav")
    assert (first.state, posts(sandbox)) == ("up_for_retry", 0)
    assert "audio: there is no file" in first.log_text
    an_audio(tmp_path, "late.wav")
    second = a_try(channel, tmp_path, 2, audio=f"{tmp_path}/late.wav")
    assert (second.state, posts(sandbox)) == ("success", 1)
    (tmp_path / "empty.wav").touch()
    third = a_try(channel, tmp_path, 3, audio=f"{tmp_path}/empty.wav", idempotency_key="another")
    assert "audio: is an empty file" in str(third.error)
    assert posts(sandbox) == 1


def test_a_folder_is_no_audio(sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path) -> None:
    """No retry would make a file of it: the task fails at once, by the name of the field."""
    run = a_try(channel, tmp_path, audio=str(tmp_path))
    assert (run.state, posts(sandbox)) == ("failed", 0)
    assert "audio: must name a file" in str(run.error)


@needs_state_store
@WAYS
@pytest.mark.parametrize("status", ["failed", "error"])
def test_a_job_that_has_failed_fails_the_task(
    status: str, deferrable: bool, make_sandbox: Any, tmp_path: Path
) -> None:
    """Without retries, with its status in the result, and no file is written; a clear submits nothing."""
    sandbox = make_sandbox(transcription_ends_as=status)
    channel = channel_to(sandbox)
    for number in (1, 2):
        run = a_try(channel, tmp_path, number, deferrable=deferrable)
        assert (run.state, type(run.error)) == ("failed", AirflowFailException)
        assert f"has ended as {status!r}" in str(run.error)
        assert run.xcoms["return_value"]["status"] == status
    assert (posts(sandbox), (tmp_path / "said.json").exists()) == (1, False)
    again = a_try(channel, tmp_path, 3, idempotency_key="again")
    assert (again.state, posts(sandbox)) == ("failed", 2)


@needs_state_store
@WAYS
def test_a_status_that_nobody_knows_is_no_success(
    deferrable: bool, make_sandbox: Any, tmp_path: Path
) -> None:
    """It is waited for until the time is up, and the error names it and what to do."""
    sandbox = make_sandbox(transcription_ends_as="finished")
    channel = channel_to(sandbox)
    run = a_try(channel, tmp_path, deferrable=deferrable, timeout=0.4)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert "its status is 'finished'" in str(run.error)
    assert "name it in failure_statuses" in str(run.error)
    assert not (tmp_path / "said.json").exists()
    named = a_try(channel, tmp_path, 2, deferrable=deferrable, failure_statuses=["finished"])
    assert "has ended as 'finished'" in str(named.error)
    assert posts(sandbox) == 1


@needs_state_store
@WAYS
def test_a_job_that_takes_too_long_is_waited_for_after_a_clear(
    deferrable: bool, make_sandbox: Any, tmp_path: Path
) -> None:
    """The deadline fails the task without retries; the next try waits for the same job."""
    sandbox = make_sandbox(speed=1, transcription_seconds=60)
    channel = channel_to(sandbox)
    run = a_try(channel, tmp_path, deferrable=deferrable, timeout=0.2)
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert run.xcoms["return_value"]["status"] == "pending"
    sandbox.advance(60)
    again = a_try(channel, tmp_path, 2, deferrable=deferrable)
    assert (again.state, posts(sandbox)) == ("success", 1)


@WAYS
def test_errors_while_waiting_end_no_wait(
    deferrable: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """A job that is not known yet, a fault of the server, a limit and a lost answer are looked past."""
    for fault in (Fault.NOT_FOUND, Fault.ERROR_503_BEFORE, Fault.RATE_LIMIT_NO_HEADERS, Fault.DROP_BEFORE):
        sandbox.inject(TRANSCRIPTION, fault)
    run = a_try(channel, tmp_path, deferrable=deferrable, timeout=30)
    assert (run.state, posts(sandbox)) == ("success", 1), run.log_text
    assert reads(sandbox) >= 5
