"""The proxies of the page on webhooks, run as they are shown there, in front of a receiver."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from formant_provider.webhooks.probe import probe
from support.pages import DOCS
from support.scripted_server import Answer, ScriptedServer
from support.sockets import write_certificate

TEXTS = re.findall(r"^```text\n(.*?)^```$", (DOCS / "webhooks.md").read_text(), re.MULTILINE | re.DOTALL)
NGINX, CADDY = (text for text in TEXTS if "hooks.example" in text)
UPSTREAM = "127.0.0.1:8088"
FILES = r"/etc/letsencrypt/live/hooks\.example/\w+\.pem"
SECRET = "the-secret-of-the-target"


def nginx(folder: Path, port: int, upstream: str) -> list[str]:
    """Put the snippet where Debian includes it; nothing is written outside of the folder."""
    server = re.sub(FILES, f"{folder}/cert.pem", NGINX.replace(UPSTREAM, upstream))
    server = server.replace("listen 443", f"listen 127.0.0.1:{port}").replace("hooks.example", "localhost")
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{name}_temp_path {folder}; " for name in names)
    main = f"daemon off; user root; pid {folder}/nginx.pid; error_log stderr; events {{}}"
    (folder / "proxy.conf").write_text(f"{main} http {{ {folders} access_log off; {server} }}")
    return ["nginx", "-c", str(folder / "proxy.conf")]


def caddy(folder: Path, port: int, upstream: str) -> list[str]:
    """Give the snippet a certificate, which it cannot get for itself here."""
    tls = f"\n tls {folder}/cert.pem {folder}/cert.pem\n"
    site = CADDY.replace(UPSTREAM, upstream).replace("hooks.example {", f"https://localhost:{port} {{{tls}")
    (folder / "proxy.conf").write_text(f"{{\n admin off\n auto_https disable_redirects\n}}\n{site}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "proxy.conf")]


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[str]:
    """Start a proxy; give its address."""
    home = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(log.parent))
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **home})
    try:
        deadline = time.monotonic() + 10
        while not is_open(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait(10)


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("configure", [nginx, caddy])
def test_each_proxy_shown_leads_to_the_receiver_and_nowhere_else(
    configure: Callable[[Path, int, str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body comes byte by byte, also one of almost 1 MiB; other paths of the receiver are not reached."""
    if shutil.which(configure.__name__) is None:
        pytest.skip(f"{configure.__name__} is not installed (Debian: apt-get install {configure.__name__})")
    certificate = write_certificate(tmp_path / "cert.pem", "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    port, path = free_port(), "/webhooks/formant_default"
    with ScriptedServer(Answer(200, {"status": "stored"})) as receiver:
        command = configure(tmp_path, port, receiver.base_url.removeprefix("http://"))
        with running(command, port, tmp_path / "log") as url:
            assert probe(url + path, "formant_default", SECRET).is_stored
            body = b" " * (2**20 - 1000) + b'{"b":1,  "a":2}\n'
            assert requests.post(url + path, data=body, timeout=60).ok
            assert requests.get(f"{url}/healthz", timeout=60).status_code == 404
    assert [seen.path for seen in receiver.seen] == [path] * 2
    assert receiver.seen[1].raw_body == body
