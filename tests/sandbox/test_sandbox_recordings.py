from __future__ import annotations

import hashlib
import io
import tracemalloc
import wave

import pytest
import requests
from urllib3.exceptions import HTTPError

from formant_provider.sandbox import Fault
from formant_provider.sandbox.faults import RECORDING
from formant_provider.sandbox.recording import HEADER_BYTES, Recording

NOT_THERE = {"error": {"message": "recording not found", "type": "not_found"}}


def finished(start, phone="+14155550100", **settings):
    """Return a client and the id of a call that is over."""
    api = start(**settings)
    call = api.sandbox.place(phone)
    api.sandbox.advance(call.ending.lasts_seconds)
    return api, call.conversation_id


def test_a_recording_is_a_wav_file(start):
    """The default recording is audio that Python's own reader plays: mono, 8 kHz, four seconds."""
    api, conversation_id = finished(start)
    answer = api.recording(conversation_id)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "audio/wav")
    assert answer.headers["Content-Length"] == str(len(answer.content)) == "32044"
    assert answer.headers["X-RateLimit-Limit"] == "50"
    with wave.open(io.BytesIO(answer.content)) as audio:
        assert (audio.getnchannels(), audio.getframerate(), audio.getnframes()) == (1, 8000, 32_000)


@pytest.mark.parametrize("size", [44, 45, 65_565, 65_566, 1_000_003])
def test_the_bytes_can_be_known_in_advance(start, size):
    """What ``sandbox.recording`` says is what arrives: size, checksum, and any part of it."""
    api, conversation_id = finished(start, recording_bytes=size)
    expected, content = api.sandbox.recording(conversation_id), api.recording(conversation_id).content
    assert len(content) == expected.size == size
    assert hashlib.sha256(content).hexdigest() == expected.sha256()
    for begin, end in [(0, size), (10, 100), (HEADER_BYTES, 50), (65_000, 140_000), (size - 1, size + 9)]:
        assert expected.read(begin, end) == content[begin:end]


def test_no_two_recordings_are_alike(start):
    """Another conversation has another recording, and the same one always the same."""
    api, first = finished(start)
    second = api.sandbox.place("+14155550100").conversation_id
    api.sandbox.advance(142)
    assert api.recording(first).content != api.recording(second).content
    assert api.recording(first).content == api.recording(first).content


def test_a_lost_block_can_be_detected():
    """The noise repeats with no usual block size: where one is left out, other bytes follow."""
    recording = Recording("c", 3_000_000)
    for block in (512, 4096, 8192, 65_536, 1_048_576):
        assert recording.read(100, 200) != recording.read(100 + block, 200 + block)


def test_a_large_recording_needs_no_memory():
    """200 MB are made while they are read, with less than 2 MB held at a time."""
    recording, seen = Recording("c", 200_000_000), 0
    tracemalloc.start()
    try:
        for chunk in recording.chunks():
            seen += len(chunk)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert seen == recording.size


def test_a_large_recording_flows_and_others_are_served_meanwhile(start):
    """200 MB arrive within seconds; while a client reads them, other requests are answered."""
    api, conversation_id = finished(start, recording_bytes=200_000_000)
    with api.recording(conversation_id, stream=True) as answer:
        parts = answer.iter_content(1 << 20)
        seen = len(next(parts))
        other = requests.get(f"{api.sandbox.base_url}/sandbox/stats", timeout=60)
        assert other.status_code == 200
        seen += sum(len(part) for part in parts)
    assert seen == 200_000_000


def test_a_client_may_leave_in_the_middle(start, caplog):
    """A download given up is no error of the server's, and the next one is complete."""
    api, conversation_id = finished(start, recording_bytes=20_000_000)
    with api.recording(conversation_id, stream=True) as answer:
        next(answer.iter_content(1000))
    assert len(api.recording(conversation_id).content) == 20_000_000
    assert caplog.records == []


def test_a_recording_appears_after_its_delay(start):
    """Until ``recording_delay_seconds`` after the end of the call there is none, then there is."""
    api, conversation_id = finished(start, recording_delay_seconds=90)
    assert api.conversation(conversation_id).status_code == 200
    api.sandbox.advance(89)
    assert (api.recording(conversation_id).status_code, api.recording(conversation_id).json()) == (
        404,
        NOT_THERE,
    )
    api.sandbox.advance(1)
    assert api.recording(conversation_id).status_code == 200


@pytest.mark.parametrize("digits", ["01", "02", "03", "04", "05", "06", "07"])
def test_only_a_completed_call_has_one(start, digits):
    """Whoever was not talked to has no recording, however long one waits, and it looks like not yet."""
    api, conversation_id = finished(start, f"+141555501{digits}")
    api.sandbox.advance(10**6)
    answer = api.recording(conversation_id)
    assert (answer.status_code, answer.json()) == (404, NOT_THERE)


def test_a_running_call_has_none(start):
    """A call whose record can be read from its start gets its recording only after its end."""
    api = start(record_appears="start")
    conversation_id = api.sandbox.place("+14155550100").conversation_id
    assert api.conversation(conversation_id).status_code == 200
    assert api.recording(conversation_id).status_code == 404


def test_what_has_no_record_has_no_recording(start, another):
    """An unknown id, a record that never appears and another tenant's look like a missing recording."""
    api, conversation_id = finished(start, other_keys=["second"])
    hidden = api.sandbox.place("+14155550108").conversation_id
    api.sandbox.advance(142)
    answers = [
        another(api, "second").recording(conversation_id),
        api.recording(hidden),
        api.recording("none"),
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, NOT_THERE)] * 3


def test_a_recording_needs_a_key(start):
    """Without a key the answer is a 401."""
    api, conversation_id = finished(start)
    assert api.recording(conversation_id, headers={"Authorization": None}).status_code == 401


def test_a_range_is_ignored(start):
    """Ranges are not documented: who asks for one gets all of it, with 200."""
    api, conversation_id = finished(start)
    answer = api.recording(conversation_id, headers={"Range": "bytes=100-199"})
    assert (answer.status_code, len(answer.content)) == (200, 32_044)
    assert "Content-Range" not in answer.headers


def test_a_truncated_recording_ends_half_way(start):
    """All is promised, half arrives byte for byte, then the connection ends; the next try is whole."""
    api, conversation_id = finished(start, recording_bytes=1_000_001)
    api.sandbox.inject(RECORDING, Fault.TRUNCATED)
    answer = api.recording(conversation_id, stream=True)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "1000001")
    assert answer.raw.read(500_000) == api.sandbox.recording(conversation_id).read(0, 500_000)
    with pytest.raises(HTTPError, match="500001 more expected"):
        answer.raw.read(1)
    assert (api.sandbox.requests[-1].fault, api.sandbox.requests[-1].status) == ("truncated", 200)
    assert len(api.recording(conversation_id).content) == 1_000_001


def test_a_truncation_waits_for_a_recording(start):
    """A 404 has no body worth cutting: the fault stays for the next recording that is there."""
    api, conversation_id = finished(start)
    api.sandbox.inject(RECORDING, Fault.TRUNCATED)
    assert api.recording("none").json() == NOT_THERE
    with pytest.raises(requests.RequestException):
        api.recording(conversation_id)


def test_an_injected_absence_looks_like_a_true_one(start):
    """The ``not_found`` fault says of a recording what its endpoint says of a missing one."""
    api, conversation_id = finished(start)
    api.sandbox.inject(RECORDING, Fault.NOT_FOUND)
    assert api.recording(conversation_id).json() == NOT_THERE
    assert api.recording(conversation_id).status_code == 200
