"""No connection, nothing sent: said of every way in which a connection may fail, and of no other."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import FormantError, ResponseLost, Unreachable
from formant_provider.api.retry import RetryPolicy
from support.ledgers import CALL
from support.sockets import Received, answer, serving, with_tls, write_certificate

PROXY_USER, PROXY_PASSWORD = "proxy-user", "proxy-secret-4711"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "requests_ca_bundle",
        "curl_ca_bundle",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def what_became_of(base_url: str, **timeouts: Any) -> FormantError:
    """Ask for a call there, once, and return the error."""
    config = ClientConfig(
        base_url, "key-1234567", **{"connect_timeout_s": 1.0, "read_timeout_s": 1.0, **timeouts}
    )
    once = RetryPolicy(max_attempts=1)
    with FormantClient(config, retry_policy=once) as client, pytest.raises(FormantError) as caught:
        client.create_call(CALL)
    return caught.value


def assert_not_sent(error: FormantError, *said: str) -> None:
    """Nothing was sent, no call can have been placed; the text says where and why, and nothing private."""
    assert isinstance(error, Unreachable), error
    assert not error.maybe_placed
    assert "nothing was sent" in str(error)
    for text in said:
        assert text in str(error)
    for private in (PROXY_USER, PROXY_PASSWORD, "key-1234567", CALL.recipient[1:]):
        assert private not in str(error)


def assert_in_doubt(error: FormantError) -> None:
    assert isinstance(error, ResponseLost), error
    assert error.maybe_placed


def use_proxy(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{PROXY_USER}:{PROXY_PASSWORD}@127.0.0.1:{port}")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def hang(connection: socket.socket, received: Received) -> None:
    """Read, and never answer."""
    received.data += connection.recv(65536)
    time.sleep(5)


def test_a_refused_connection_sent_nothing() -> None:
    """And the text names host, port and reason."""
    port = closed_port()
    assert_not_sent(what_became_of(f"http://127.0.0.1:{port}"), f"127.0.0.1:{port}", "connection refused")


def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    """Neither for good nor for a moment."""
    error = what_became_of("https://no-such-host.invalid")
    assert_not_sent(error, "no-such-host.invalid:443", "cannot be resolved")


def test_tls_to_a_plain_port_sent_nothing() -> None:
    """A server that speaks no TLS has read a greeting and no call."""
    with serving(answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as server:
        error = what_became_of(f"https://127.0.0.1:{server.port}")
    assert_not_sent(error, f"127.0.0.1:{server.port}", "TLS failed")
    assert b"POST" not in server.data


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "hangs"])
def test_a_handshake_that_breaks_off_sent_nothing(closes: bool) -> None:
    """Whether the server hangs up or never answers."""
    with serving(answer(b"") if closes else hang) as server:
        error = what_became_of(f"https://127.0.0.1:{server.port}", connect_timeout_s=0.3)
    assert_not_sent(error, f"127.0.0.1:{server.port}")
    assert b"POST" not in server.data


@pytest.mark.parametrize("trusted", [True, False], ids=["of another host", "of nobody we trust"])
def test_a_certificate_that_is_not_accepted_sent_nothing(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is that of the system's TLS library."""
    certificate = write_certificate(tmp_path / "cert.pem", "other.example")
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(with_tls(certificate, answer(b""))) as server:
        error = what_became_of(f"https://127.0.0.1:{server.port}")
    assert_not_sent(error, f"127.0.0.1:{server.port}", "certificate is not accepted")
    assert server.data == b""


def test_missing_certificates_to_trust_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path in the environment that leads nowhere is not a lost answer."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/at/all.pem")
    assert_not_sent(what_became_of("https://127.0.0.1:1"), "certificates to trust are missing")


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"502 Bad Gateway", b"403 No"])
def test_a_proxy_that_refuses_sent_nothing(status: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its user and password are not told, nor what it said."""
    with serving(answer(b"HTTP/1.1 " + status + b" secret-word\r\nContent-Length: 0\r\n\r\n")) as proxy:
        use_proxy(monkeypatch, proxy.port)
        error = what_became_of("https://api.voice.formantai.com")
    assert_not_sent(error, f"the proxy answered {status[:3].decode()}")
    assert "secret-word" not in str(error)
    assert b"/v1/call" not in proxy.data


@pytest.mark.parametrize("kind", ["refused", "unknown", "hangs", "hangs up", "no url"])
def test_a_proxy_that_cannot_be_reached_sent_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever keeps it from letting us through."""
    with serving(answer(b"") if kind == "hangs up" else hang) as proxy:
        use_proxy(monkeypatch, closed_port() if kind == "refused" else proxy.port)
        if kind in {"unknown", "no url"}:
            place = "no-such-proxy.invalid:8080" if kind == "unknown" else ""
            monkeypatch.setenv("HTTPS_PROXY", f"http://{PROXY_USER}:{PROXY_PASSWORD}@{place}")
        error = what_became_of("https://api.voice.formantai.com", connect_timeout_s=0.3)
    assert_not_sent(error)
    assert b"/v1/call" not in proxy.data


def test_a_plain_request_to_a_tls_port_was_sent(tmp_path: Path) -> None:
    """Its bytes left, so it is in doubt, as little as a TLS server can have made of it."""
    certificate = write_certificate(tmp_path / "cert.pem", "127.0.0.1")
    with serving(with_tls(certificate, answer(b""))) as server:
        assert_in_doubt(what_became_of(f"http://127.0.0.1:{server.port}"))


@pytest.mark.parametrize("kind", ["hangs", "hangs up", "breaks off", "spoils tls"])
def test_what_fails_after_the_request_was_sent_is_in_doubt(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same errors, of TLS and of the system, mean another thing then."""
    certificate = write_certificate(tmp_path / "cert.pem", "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def act(connection: Any, received: Received) -> None:
        received.data += connection.recv(65536)
        if kind == "hangs":
            time.sleep(3)
        elif kind == "breaks off":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        elif kind == "spoils tls":
            socket.socket.sendall(socket.socket(fileno=connection.detach()), b"\x17\x03\x03\x00\x05spoil")

    with serving(with_tls(certificate, act)) as server:
        assert_in_doubt(what_became_of(f"https://localhost:{server.port}"))
    assert b"POST /v1/call" in server.data
