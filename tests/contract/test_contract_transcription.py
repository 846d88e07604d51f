from __future__ import annotations

import pytest

PATH = "/v1/transcription/jobs"
AUDIO = {"audio": ("talk.wav", b"RIFF....", "audio/wav")}


@pytest.fixture
def documented(facts):
    return facts("transcription.json")


def create(send, **fields):
    return send("POST", PATH, data=fields, files=AUDIO)


def test_a_job_is_answered_like_the_sample(start, documented):
    """The answer has the sample's fields and types, its engine and status, and no ``data`` around it."""
    _, send = start()
    answer = create(send)
    sample = documented["create"]["answer"]
    assert answer.status_code == 200
    got = answer.json()
    assert {name: type(value) for name, value in got.items()} == {
        name: type(value) for name, value in sample.items()
    }
    assert (got["engine"], got["status"]) == (sample["engine"], sample["status"])


def test_a_job_is_read_by_its_id(start, documented):
    """First pending and then completed, always with the documented fields, also bare."""
    sandbox, send = start(transcription_seconds=30)
    job_id = create(send, diarize="true").json()["id"]
    pending = send("GET", f"{PATH}/{job_id}").json()
    sandbox.advance(30)
    completed = send("GET", f"{PATH}/{job_id}").json()
    assert [pending["status"], completed["status"]] == documented["job"]["statuses"]
    assert list(pending) == list(completed)
    assert sorted(completed) == sorted(documented["job"]["fields"])
    sample = documented["job"]["utterance"]
    for utterance in completed["utterances"]:
        assert {name: type(value) for name, value in utterance.items()} == {
            name: type(value) for name, value in sample.items()
        }


def test_the_audio_is_required_and_nothing_else(start, documented):
    """Without it there is no job; each named language and each format is taken, other words are not."""
    _, send = start()
    refused = [send("POST", PATH, data={"languages": "hi-IN"}, files={"x": ("x", b"")}), send("POST", PATH)]
    refused += [create(send, languages="xx-XX"), create(send, format="other"), create(send, diarize="maybe")]
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request")
    named = [language for language in documented["languages"] if language != "unknown"]
    for fields in ({"languages": ",".join(named)}, {"languages": "unknown"}, *formats(documented)):
        assert create(send, **fields).status_code == 200


def formats(documented):
    return [{"format": each} for each in documented["create"]["formats"]]


def test_a_job_of_another_tenant_is_not_found(start):
    """As with all that belongs to somebody else: 404, and never 403."""
    _, send = start(other_keys=["other"])
    job_id = create(send).json()["id"]
    theirs = send("GET", f"{PATH}/{job_id}", headers={"Authorization": "Bearer other"})
    nobodys = send("GET", f"{PATH}/job_0")
    assert [answer.status_code for answer in (theirs, nobodys)] == [404, 404]
