from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from urllib.parse import unquote, urlsplit

import pytest
import requests

import formant_provider.sandbox
from formant_provider.sandbox import Fault, Sandbox

FOLDER = Path(formant_provider.sandbox.__file__).parent


def test_it_answers_as_soon_as_it_started_and_not_after_it_stopped():
    """Inside the block the port answers at once; after it, connections are refused."""
    with Sandbox() as sandbox:
        assert sandbox.base_url == f"http://127.0.0.1:{sandbox.port}"
        assert requests.get(f"{sandbox.base_url}/sandbox/", timeout=60).status_code == 200
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(f"{sandbox.base_url}/sandbox/", timeout=60)


def test_starting_and_stopping_is_fast():
    """Of twenty sandboxes, one after the other, each answering once, most take well under 0.1 s."""
    took = []
    for _ in range(20):
        started = time.monotonic()
        with Sandbox() as sandbox:
            assert requests.get(f"{sandbox.base_url}/v1/conversations", timeout=60).status_code == 401
        took.append(time.monotonic() - started)
    assert median(took) < 0.1


def test_answers_are_not_delayed(start):
    """On a kept connection most answers come sooner than TCP's delay of 40 ms would allow."""
    api = start()
    took = []
    for _ in range(25):
        started = time.monotonic()
        api.conversations()
        took.append(time.monotonic() - started)
    assert median(took) < 0.032


@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_AFTER])
def test_stopping_does_not_wait_for_what_hangs(start, fault):
    """Held requests lose their connection when the sandbox stops, long before a minute is over."""
    api = start()
    api.sandbox.inject("POST /v1/call", fault, seconds=60)
    ended = []
    thread = threading.Thread(target=lambda: ended.append(outcome(api)))
    thread.start()
    while not api.sandbox.requests:
        time.sleep(0.001)
    started = time.monotonic()
    api.sandbox.stop()
    assert time.monotonic() - started < 20
    thread.join(timeout=60)
    assert ended == [requests.ConnectionError]
    assert api.sandbox.requests[0].status is None


def outcome(api):
    try:
        return api.call().status_code
    except requests.RequestException as exc:
        return type(exc)


def test_a_client_that_leaves_while_sending_is_no_error(start, caplog):
    """A request cut off in its body is not seen, rings nothing and is no error of the server's."""
    api = start()
    with socket.create_connection((api.sandbox.host, api.sandbox.port), timeout=60) as connection:
        connection.sendall(b"POST /v1/call HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 50\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert api.call().status_code == 200
    assert len(api.sandbox.requests) == 1
    assert caplog.records == []


def test_several_run_side_by_side(start):
    """Two sandboxes in one process know nothing of each other."""
    first, second = start(), start()
    first.call()
    assert (sum(first.sandbox.rings.values()), sum(second.sandbox.rings.values())) == (1, 0)
    assert first.sandbox.port != second.sandbox.port


def test_a_stopped_sandbox_can_come_back(start):
    """The state is kept while the server is stopped: after a restart port, calls and counts are the same."""
    api = start()
    api.call()
    port = api.sandbox.port
    api.sandbox.stop()
    api.sandbox.stop()
    assert len(api.sandbox.requests) == 1
    api.sandbox.start()
    assert api.sandbox.port == port
    api.call()
    assert len(api.sandbox.calls) == 2


def test_it_cannot_be_started_twice(start):
    """A running sandbox refuses to start again."""
    with pytest.raises(RuntimeError, match="running"):
        start().sandbox.start()


def test_a_taken_port_is_an_os_error(start):
    """Two sandboxes cannot share a port, and the second says so at once."""
    with pytest.raises(OSError, match="in use"), Sandbox(port=start().sandbox.port):
        pass


def test_many_clients_at_once_ring_each_phone_once(start):
    """Concurrent requests with one key are accepted exactly once."""
    api = start(rate_limit=None)
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(api.call(idempotency_key="k").status_code))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 11
    assert api.sandbox.rings == {"+14155550100": 1}


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "", "192.168.0.1", "localhost", "::1", "example.org"],  # noqa: S104 - to see it refused
)
def test_it_refuses_to_leave_the_loopback(host):
    """Only a literal IPv4 loopback address is bound, never a name or an outside interface."""
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(host=host)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_limit", 0),
        ("rate_window_seconds", 0),
        ("max_concurrent_calls", 0),
        ("receipt_conversation_id", "sometimes"),
        ("record_appears", "later"),
        ("list_order", "random"),
        ("redial_trace_id", "old"),
        ("platform_redials", -1),
        ("uncounted_outcomes", "somewhere"),
        ("batch_calls_per_minute", 0),
        ("batch_list_lag_reads", -1),
        ("platform_redial_after_seconds", -1),
        ("recording_delay_seconds", -1),
        *[("recording_bytes", size) for size in (43, 0, -1, 2**32 + 1)],
        ("results_delay_seconds", float("nan")),
        ("seconds_per_request", float("inf")),
        *[("speed", speed) for speed in (-1, float("inf"), float("nan"))],
        ("start_at", datetime(2026, 1, 1)),
        ("api_key", ""),
        ("other_keys", ["with space"]),
    ],
)
def test_an_invalid_setting_is_a_value_error(name, value):
    """A limit of zero, a negative time, an unknown choice and a size no WAV file can have are refused."""
    with pytest.raises(ValueError, match=f"({name}|every key) must be"):
        Sandbox(**{name: value})


def test_the_connection_for_airflow(start):
    """The connection is offered as URI and as JSON, with a key of any characters."""
    sandbox = start(api_key="a/b:c@d%e?f#g").sandbox
    uri = sandbox.connection_uri()
    assert uri.startswith("formant://http://:")
    parts = urlsplit(uri.removeprefix("formant://"))
    assert (parts.hostname, parts.port, unquote(parts.password or "")) == (
        "127.0.0.1",
        sandbox.port,
        sandbox.api_key,
    )
    assert json.loads(sandbox.connection_json()) == {
        "conn_type": "formant",
        "host": sandbox.base_url,
        "password": sandbox.api_key,
    }


def test_the_key_is_not_in_the_repr():
    """A sandbox in a log or an assertion does not show its keys."""
    assert "hidden" not in repr(Sandbox(api_key="hidden", other_keys=["hidden-too"]))


def test_it_imports_nothing_else_of_the_package():
    """The sandbox reads the vendor's facts for itself: no module in it imports the provider or Airflow."""
    for module in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, module.name
                names = [node.module or ""]
            for name in names:
                ours = name == "formant_provider.sandbox" or name.startswith("formant_provider.sandbox.")
                assert ours or not name.startswith(("formant_provider", "airflow")), (module.name, name)


def test_naming_the_package_loads_no_web_server():
    """Importing ``formant_provider.sandbox`` alone does not import uvicorn, starlette or pydantic."""
    code = (
        "import sys, formant_provider.sandbox as s;"
        "print({'uvicorn', 'starlette', 'pydantic'} & set(sys.modules), s.Fault)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("set() ")
    with pytest.raises(AttributeError, match="no attribute"):
        _ = formant_provider.sandbox.nothing
