from __future__ import annotations

import errno
import gzip
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from formant_provider.api.client import GET_RECORDING, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import (
    BadResponse,
    NotFound,
    RateLimited,
    RequestRefused,
    ResponseLost,
    ServerError,
)
from formant_provider.api.models import Recording
from formant_provider.sandbox import Fault, Sandbox
from support.scripted_server import Answer, ScriptedServer

KEY = "key-1234567"
NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
SIZE = 700_001
WAV = {"Content-Type": "audio/wav"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, speed=0, start_at=NOON, rate_limit=None, recording_bytes=SIZE) as sandbox:
        yield sandbox


@pytest.fixture
def talk(sandbox: Sandbox) -> str:
    """The id of a conversation that is over and was recorded."""
    call = sandbox.place("+14155550100")
    sandbox.advance(timedelta(hours=1).total_seconds())
    return call.conversation_id


def client_for(server: Any, **config: Any) -> FormantClient:
    config = {"connect_timeout_s": 10.0, "read_timeout_s": 20.0, **config}
    return FormantClient(ClientConfig(server.base_url, KEY, **config), sleep=lambda _: None)


def download(server: Any, conversation_id: str = "c-1") -> tuple[Recording, bytes]:
    sink = io.BytesIO()
    with client_for(server) as client:
        recording = client.download_recording(conversation_id, sink)
    return recording, sink.getvalue()


def test_a_recording_arrives_as_it_was_sent(sandbox: Sandbox, talk: str) -> None:
    """The bytes are the server's own, and size and content type are told."""
    recording, content = download(sandbox, talk)
    assert content == b"".join(sandbox.recording(talk).chunks())
    assert recording == Recording(size=SIZE, content_type="audio/wav")
    (seen,) = sandbox.requests
    assert (seen.endpoint, seen.headers["Authorization"]) == (GET_RECORDING, f"Bearer {KEY}")


def test_a_download_that_breaks_off_is_begun_again(sandbox: Sandbox, talk: str) -> None:
    """What came before the break is thrown away, so nothing is there twice."""
    sandbox.inject(GET_RECORDING, Fault.TRUNCATED, times=2)
    recording, content = download(sandbox, talk)
    assert content == b"".join(sandbox.recording(talk).chunks())
    assert (recording.size, len(sandbox.requests)) == (SIZE, 3)


def test_a_download_that_always_breaks_off_is_an_error(sandbox: Sandbox, talk: str) -> None:
    """The retry policy's count holds, and the error says what happened without naming the conversation."""
    sandbox.inject(GET_RECORDING, Fault.TRUNCATED, times=9)
    with pytest.raises(ResponseLost, match="the download broke off") as caught:
        download(sandbox, talk)
    assert len(sandbox.requests) == 4
    assert len(caught.value.earlier) == 3
    assert talk not in str(caught.value)
    assert not caught.value.maybe_placed


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.NOT_FOUND, NotFound), (Fault.ERROR_500_BEFORE, None), (Fault.RATE_LIMIT, None)],
)
def test_what_is_refused_is_repeated_by_the_same_rules_as_elsewhere(
    sandbox: Sandbox, talk: str, fault: Fault, error: type[Exception] | None
) -> None:
    """404 is final, 500 and 429 are tried again; nothing of an error's body ends in the file."""
    sandbox.inject(GET_RECORDING, fault)
    if error:
        with pytest.raises(error):
            download(sandbox, talk)
    else:
        assert download(sandbox, talk)[1] == b"".join(sandbox.recording(talk).chunks())


def test_a_named_wait_is_heeded(sandbox: Sandbox, talk: str) -> None:
    """A 429 that names a longer time than the policy allows ends the download with that time."""
    sandbox.inject(GET_RECORDING, Fault.RATE_LIMIT, retry_after=600)
    with pytest.raises(RateLimited) as caught:
        download(sandbox, talk)
    assert caught.value.retry_after_s == 600


def test_a_redirect_is_not_followed() -> None:
    """The API key goes nowhere else, even when the recording lies elsewhere."""
    with ScriptedServer(Answer(body=b"audio", headers=WAV)) as elsewhere:
        away = Answer(302, body=b"", headers={"Location": f"{elsewhere.base_url}/audio.wav"})
        with ScriptedServer(away) as server, pytest.raises(RequestRefused, match="not followed"):
            download(server)
    assert elsewhere.seen == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(
            body={"data": {"url": "https://elsewhere.example"}}, headers={"Content-Type": "application/json"}
        ),
        Answer(body=b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}),
        Answer(body=b"", headers=WAV),
        Answer(204, body=b""),
    ],
    ids=["json", "page", "empty", "no-content"],
)
def test_what_is_no_file_is_not_taken_for_one(answer: Answer) -> None:
    """A proxy's page, JSON or nothing at all is an unreadable answer, and is asked for again."""
    with ScriptedServer(answer) as server, pytest.raises(BadResponse, match="not with a file"):
        download(server)
    assert len(server.seen) == 4


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"x" * 900, headers=WAV, cut_at=500),
        Answer(body=b"5\r\nhello\r\n", headers={"Transfer-Encoding": "chunked", **WAV}, cut_at=10),
        Answer(500, body={"error": {"message": "m" * 400}}, cut_at=100),
    ],
    ids=["by-length", "chunked", "in-a-refusal"],
)
def test_every_way_to_break_off_is_noticed(answer: Answer) -> None:
    """With a length, in pieces, or while an error is told: the next answer is taken instead."""
    with ScriptedServer(answer, Answer(body=b"whole", headers=WAV)) as server:
        recording, content = download(server)
    assert (content, recording.size) == (b"whole", 5)


def test_a_part_of_a_recording_is_not_taken_for_the_whole() -> None:
    """Nobody asked for a part, and its length is right: the next answer is taken instead."""
    part = Answer(206, body=b"half", headers={"Content-Range": "bytes 0-3/8", **WAV})
    with ScriptedServer(part, Answer(body=b"whole", headers=WAV)) as server:
        _, content = download(server)
    assert content == b"whole"


def test_packed_bytes_are_unpacked_and_counted_as_they_were_sent() -> None:
    """A server that packs unasked is understood, and its length is that of the packed bytes."""
    packed = gzip.compress(b"audio" * 1000)
    with ScriptedServer(Answer(body=packed, headers={"Content-Encoding": "gzip", **WAV})) as server:
        recording, content = download(server)
        assert server.seen[0].headers["Accept-Encoding"] == "identity"
    assert content == b"audio" * 1000
    assert recording.size == 5000


def test_an_id_stays_in_its_place_in_the_path() -> None:
    """An id with a slash in it asks for no other endpoint."""
    with ScriptedServer(Answer(body=b"audio", headers=WAV)) as server:
        download(server, "a/../b?c")
        assert server.seen[0].path == "/v1/conversations/a%2F..%2Fb%3Fc/recording"


def test_a_full_disk_is_not_the_server_s_fault() -> None:
    """What goes wrong with the file is raised as it is, and nothing is asked for again."""

    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with (
        ScriptedServer(Answer(body=b"audio", headers=WAV)) as server,
        client_for(server) as client,
        pytest.raises(OSError, match="No space left"),
    ):
        client.download_recording("c-1", Full())
    assert len(server.seen) == 1


def test_a_silent_server_is_given_up() -> None:
    """The read timeout holds between two pieces of a file as well."""
    stalled = Answer(body=b"x" * 900, headers={"Content-Length": "1000", **WAV})
    with (
        ScriptedServer(stalled) as server,
        client_for(server, read_timeout_s=0.1) as client,
        pytest.raises(ResponseLost, match="broke off"),
    ):
        client.download_recording("c-1", io.BytesIO())


def test_errors_while_downloading_are_of_our_kind(sandbox: Sandbox, talk: str) -> None:
    """No error of the HTTP library comes out, nor is chained to ours."""
    sandbox.inject(GET_RECORDING, Fault.ERROR_500_BEFORE, times=4)
    with pytest.raises(ServerError) as caught:
        download(sandbox, talk)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
