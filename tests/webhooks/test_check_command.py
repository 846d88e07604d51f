"""``python -m formant_provider.webhooks check``: what it sends, says of what came, and how it ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from formant_provider.webhooks import check, probe
from formant_provider.webhooks.__main__ import main
from support.scripted_server import Answer, ScriptedServer, Seen
from support.sockets import Received, answer, server_context, serving, write_certificate
from support.stores import SECRET as STORE_SECRET
from support.webhook_server import OTHER, SECRET, Receiver

PATH = "/webhooks/formant_default"
SIGNATURE = "X-Formantai-Signature"
Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_check(
    receiver: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Check:
    """Run the command beside a receiver; return how it ends and what it prints."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as it sets for its own process

    def run(url: str, **extra: Any) -> tuple[int, str, str]:
        receiver.connect(**extra)
        status = main(["check", "--url", url])
        out, err = capsys.readouterr()
        assert not any(secret in out + err for secret in (SECRET, OTHER, STORE_SECRET))
        return status, out, err

    return run


def leads_to(receiver: Receiver) -> Callable[[Seen], Answer]:
    """Pass a request on, as a proxy does."""

    def forward(seen: Seen) -> Answer:
        answer = requests.post(receiver.url(seen.path), data=seen.raw_body, headers=seen.headers, timeout=60)
        return Answer(answer.status_code, answer.content)

    return forward


def stored(_seen: Seen) -> Answer:
    return Answer(200, {"status": "stored"})


def findings(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith(("ok", "note", "WRONG"))]


def test_it_ends_with_0_when_the_event_came_and_the_unsigned_one_was_refused(
    run_check: Check, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over https, with what to enter in the dashboard before it; nothing but the test event is stored."""
    certificate = write_certificate(tmp_path / "cert.pem", "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with ScriptedServer(leads_to(receiver), tls=server_context(certificate)) as proxy:
        status, printed, _ = run_check(proxy.base_url + PATH)
    assert status == 0
    assert proxy.base_url + PATH in printed
    assert all(f"call.{name}" in printed for name in check.EVENTS)
    assert [line[:5].strip() for line in findings(printed)] == ["ok"] * 5
    signed, unsigned = proxy.seen
    assert SIGNATURE not in {name.title() for name in unsigned.headers}
    assert signed.body["event_id"] != unsigned.body["event_id"]
    assert [each.event.event_type for each in receiver.stored()] == ["formant.check"]


def test_of_two_secrets_it_signs_with_the_new_one(run_check: Check, receiver: Receiver) -> None:
    """So it tells whether the receiver accepts the new one, before the vendor is given it."""
    url = receiver.url(PATH)
    assert "A signed event was answered 200" in run_check(url)[1]
    both = f"{OTHER},{SECRET}"
    assert "A signed event was answered 401" in run_check(url, webhook_secret=both, later_s=0)[1]
    assert "A signed event was answered 200" in run_check(url, webhook_secret=both)[1]


ANSWERS = [
    (Answer(301, headers={"Location": "https://there.example/"}), "redirect"),
    (Answer(400), "webhook_tolerance"),
    (Answer(401), "webhook_secret"),
    (Answer(401, headers={"WWW-Authenticate": "Basic"}), "asks for a login"),
    (Answer(403), "refuses"),
    (Answer(404), "--conn-id formant_default"),
    (Answer(413), "1 MiB"),
    (Answer(429), "limits requests"),
    (Answer(502), "does not reach the receiver"),
    (Answer(503), "its log names the reason"),
    (Answer(418), "Something else"),
    (Answer(200, b"<html>Welcome</html>"), "Something else"),
    (Answer(200, ["stored"]), "Something else"),
]


@pytest.mark.parametrize(("answer", "words"), ANSWERS)
def test_each_wrong_answer_says_what_to_do(run_check: Check, answer: Answer, words: str) -> None:
    """It ends with 1, and nothing further is sent."""
    with ScriptedServer(answer) as server:
        status, printed, _ = run_check(server.base_url + PATH)
    assert status == 1
    (said,) = [line for line in findings(printed) if "A signed event" in line]
    assert said.startswith(f"WRONG  A signed event was answered {answer.status}. ")
    assert words in said
    assert len(server.seen) == 1


def test_an_event_that_another_store_has_is_not_taken_for_ours(run_check: Check) -> None:
    """The receiver may have another database than the tasks."""
    with ScriptedServer(stored) as server:
        status, printed, _ = run_check(server.base_url + PATH)
    assert status == 1
    assert "WRONG  It is not in the call store of this connection" in printed


def test_a_way_that_takes_unsigned_events_is_wrong(run_check: Check, receiver: Receiver) -> None:
    """Else whoever knows the URL could invent the end of a call."""
    with ScriptedServer(leads_to(receiver), stored) as server:
        status, printed, _ = run_check(server.base_url + PATH)
    assert status == 1
    assert "ok     It is in the call store" in printed
    assert "WRONG  An event without a signature was answered 200" in printed
    assert "invent" in printed


def test_a_url_that_the_vendor_would_not_take_is_wrong(
    run_check: Check, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http; another path is fine if the event arrives, since a proxy may change it."""

    def rewrite(seen: Seen) -> Answer:
        return leads_to(receiver)(replace(seen, path=PATH))

    with ScriptedServer(rewrite) as server:
        monkeypatch.setenv("http_proxy", server.base_url)  # so that a host of any name leads there
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        status, printed, _ = run_check("http://hooks.example/formant")
    assert status == 1
    assert findings(printed)[0].startswith("WRONG  FormantAI sends to https URLs only")
    assert "the proxy must add that" in printed
    assert sum(line.startswith("WRONG") for line in findings(printed)) == 1


def test_a_url_of_this_machine_may_be_http(run_check: Check, receiver: Receiver) -> None:
    """For whoever tries it with the sandbox; it is noted that the vendor does not send there."""
    status, printed, _ = run_check(receiver.url(PATH))
    assert status == 0
    assert findings(printed)[0].startswith("note   FormantAI sends to https URLs only")


NO_ANSWERS: list[tuple[bytes, str, str]] = [
    (b"", "http", "no whole HTTP response"),
    (b"garbage\r\n\r\n", "http", "no whole HTTP response"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", "http", "no whole HTTP response"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "https", "Does this port speak https?"),
]


@pytest.mark.parametrize(("text", "scheme", "words"), NO_ANSWERS)
def test_what_is_no_http_is_told_from_no_connection(text: bytes, scheme: str, words: str) -> None:
    """Somebody listens there, and it is not the receiver."""
    with serving(answer(text)) as server:
        url = f"{scheme}://127.0.0.1:{server.port}{PATH}"
        assert words in probe.probe(url, "formant_default", SECRET, timeout_s=5).advice


def test_an_answer_that_drips_is_too_late() -> None:
    """The whole of it has to be there in time, and not only its next byte."""
    is_over = threading.Event()

    def drip(connection: socket.socket, _: Received) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        while not is_over.wait(0.05):
            connection.sendall(b"x")

    with serving(drip) as server:
        url = f"http://127.0.0.1:{server.port}{PATH}"
        assert "within 10 seconds" in probe.probe(url, "formant_default", SECRET, timeout_s=0.5).advice
        is_over.set()


def test_a_password_in_the_url_is_not_printed(run_check: Check) -> None:
    """It is refused: the vendor's dashboard has no field for it."""
    status, out, err = run_check("https://user:secret-word@hooks.invalid/webhooks/formant_default")
    assert (status, out) == (2, "")
    assert "--url: must be without" in err
    assert "secret-word" not in err


def test_no_connection_says_where_it_ends(
    run_check: Check, tmp_path: Path, closed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the name, at the port, or at the certificate; and it ends with 1."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    certificate = write_certificate(tmp_path / "cert.pem", "localhost")
    with ScriptedServer(stored, tls=server_context(certificate)) as server:
        places = {
            f"https://nowhere.invalid{PATH}": "not known to DNS",
            closed_url + PATH: "No connection was made",
            server.base_url + PATH: "certificate is not accepted",
        }
        for url, words in places.items():
            status, printed, _ = run_check(url)
            assert status == 1
            assert "WRONG  A signed event was not answered. " in printed
            assert words in printed


@pytest.fixture
def closed_url() -> str:
    with ScriptedServer(stored) as server:
        return server.base_url


def test_an_answer_that_comes_too_late_is_none() -> None:
    """The vendor gives up after 10 seconds, and so does the check."""
    is_over = threading.Event()

    def late(seen: Seen) -> Answer:
        is_over.wait(5)
        return stored(seen)

    with ScriptedServer(late) as server:
        answer = probe.probe(server.base_url + PATH, "formant_default", SECRET, timeout_s=0.2)
        is_over.set()
    assert probe.TIMEOUT_S == 10
    assert answer.status is None
    assert "within 10 seconds" in answer.advice


@pytest.mark.parametrize(
    ("url", "extra", "field"),
    [
        ("hooks.example/webhooks/formant_default", {}, "--url"),
        ("https://hooks.example:port/", {}, "--url"),
        ("https://hooks.invalid", {"webhook_secret": ""}, "webhook_secret"),
        (
            "https://hooks.invalid",
            {"webhook_secret": "", "store_conn_id": "", "store_secret": ""},
            "webhook_secret",
        ),
        ("https://hooks.invalid", {"store_conn_id": "nobody"}, "store_conn_id"),
    ],
)
def test_what_is_not_possible_is_refused(
    run_check: Check, url: str, extra: dict[str, str], field: str
) -> None:
    """It ends with 2 and the name of the field, before anything is sent."""
    status, out, err = run_check(url, **extra)
    assert (status, out) == (2, "")
    assert err.startswith(f"python -m formant_provider.webhooks: {field}")
