"""Transcription jobs through the real client: submitted once, and read leniently."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.errors import (
    BadResponse,
    FormantError,
    InvalidRequest,
    NotFound,
    RateLimited,
    SendAborted,
    Unreachable,
)
from formant_provider.api.transcription import CREATE_JOB
from formant_provider.api.transcription_models import TranscriptionJob
from formant_provider.sandbox import Fault, Sandbox
from support.scripted_server import Answer, ScriptedServer

AUDIO = b"RIFF" + bytes(range(256)) * 1000
NEVER_REPEATED = [
    fault for fault in Fault if CREATE_JOB in fault.endpoints and "limit" not in fault and "hang" not in fault
]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "private name of a file.WAV"
    path.write_bytes(AUDIO)
    return path


def test_a_job_is_submitted_and_read(sandbox: Sandbox, client_for: Any, audio: Path) -> None:
    """The strict sandbox takes the form; the bytes arrive as they are, and of the name only the ending."""
    client: FormantClient = client_for(sandbox.base_url)
    job = client.create_transcription_job(audio, languages="hi-IN,en-IN", diarize=True, format="code_mixed")
    (accepted,) = sandbox.transcriptions
    assert job == TranscriptionJob(accepted.job_id, "pending", "sarvam")
    asked = accepted.request
    assert (asked.size, asked.sha256) == (len(AUDIO), hashlib.sha256(AUDIO).hexdigest())
    assert (asked.languages, asked.diarize, asked.format) == (("hi-IN", "en-IN"), True, "code_mixed")
    assert (asked.file_name, asked.content_type) == ("audio.wav", "audio/x-wav")
    sandbox.advance(60)
    read = client.get_transcription_job(job.job_id)
    assert (read.status, read.language, len(read.utterances or ())) == ("completed", "hi-IN", 2)
    assert "नमस्ते" in str(read.text)
    assert "talk" not in repr(read)


def test_what_is_not_chosen_is_left_to_the_vendor(sandbox: Sandbox, client_for: Any, audio: Path) -> None:
    """The form has the audio alone; a file without an ending has a name all the same."""
    plain = audio.rename(audio.parent / "no-ending")
    client_for(sandbox.base_url).create_transcription_job(plain)
    (seen,) = sandbox.requests
    assert seen.body == {"audio": "audio"}
    assert sandbox.transcriptions[0].request.content_type == "application/octet-stream"


@pytest.mark.parametrize("fault", NEVER_REPEATED)
def test_what_may_have_been_accepted_is_not_sent_again(
    fault: Fault, sandbox: Sandbox, client_for: Any, audio: Path
) -> None:
    """A job has no key, so there is one request, and the error says that a job may exist."""
    sandbox.inject(CREATE_JOB, fault)
    with pytest.raises(FormantError) as caught:
        client_for(sandbox.base_url).create_transcription_job(audio)
    assert caught.value.maybe_placed
    assert len(sandbox.requests) == 1
    assert len(sandbox.transcriptions) == fault.after


def test_what_was_surely_not_accepted_is_sent_again(sandbox: Sandbox, client_for: Any, audio: Path) -> None:
    """429 is repeated, and in the end it is no doubt; nor is a connection that was not made."""
    client = client_for(sandbox.base_url)
    sandbox.inject(CREATE_JOB, Fault.RATE_LIMIT_NO_HEADERS, times=5)
    with pytest.raises(RateLimited) as caught:
        client.create_transcription_job(audio)
    assert not caught.value.maybe_placed
    client.create_transcription_job(audio)
    assert len(sandbox.transcriptions) == 1
    sandbox.stop()
    with pytest.raises(Unreachable) as unreachable:
        client.create_transcription_job(audio)
    assert not unreachable.value.maybe_placed


def test_a_send_can_be_kept_back(sandbox: Sandbox, client_for: Any, audio: Path) -> None:
    """Right before it, by whoever cannot write down that it is sent."""
    with pytest.raises(SendAborted):
        client_for(sandbox.base_url).create_transcription_job(audio, before_send=lambda: SendAborted("no"))
    assert sandbox.requests == []


def test_a_refusal_quotes_the_server_and_nothing_private(
    sandbox: Sandbox, client_for: Any, audio: Path
) -> None:
    """A language that it does not take, and a job that it does not know."""
    client = client_for(sandbox.base_url)
    with pytest.raises(InvalidRequest, match="languages must be") as caught:
        client.create_transcription_job(audio, languages="xx-XX")
    assert "private" not in str(caught.value)
    with pytest.raises(NotFound):
        client.get_transcription_job("job_0")


@pytest.mark.parametrize(
    ("body", "job"),
    [
        ({"id": 7}, TranscriptionJob("7", None)),
        ({"id": "j", "status": 1, "text": [], "utterances": "x"}, TranscriptionJob("j", None)),
        (
            {"id": "j", "status": "call +14155550100", "language": "hi-IN"},
            TranscriptionJob("j", "call ***", language="hi-IN"),
        ),
    ],
)
def test_an_answer_is_read_leniently(body: Any, job: TranscriptionJob, client_for: Any) -> None:
    """What is missing, or not in its type, is None; a status is no place for a number."""
    with ScriptedServer(Answer(body=body)) as server:
        assert client_for(server.base_url).get_transcription_job("j") == job


@pytest.mark.parametrize("body", [{}, [], {"id": ""}, {"data": {"id": "j"}}, b"<html>"])
def test_an_answer_without_an_id_is_no_receipt(body: Any, client_for: Any, audio: Path) -> None:
    """It is an error that may have led to a job, and is not sent again."""
    with ScriptedServer(Answer(body=body)) as server:
        with pytest.raises(BadResponse) as caught:
            client_for(server.base_url).create_transcription_job(audio)
        assert (caught.value.maybe_placed, len(server.seen)) == (True, 1)


def test_a_long_audio_takes_little_memory(sandbox: Sandbox, client_for: Any, tmp_path: Path) -> None:
    """Forty megabytes without a line end are sent, and refused, in less than six of memory."""
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.truncate(40 * 2**20)
    client = client_for(sandbox.base_url)
    tracemalloc.start()
    try:
        client.create_transcription_job(path)
        with pytest.raises(InvalidRequest):
            client.create_transcription_job(path, languages="xx-XX")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sandbox.transcriptions[0].request.size == 40 * 2**20
    assert peak < 6 * 2**20
