from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

COMMAND = [sys.executable, "-m", "formant_provider.sandbox"]


@contextlib.contextmanager
def running(*arguments):
    """Run the command until it has printed its last line; yield the process and what it printed."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = []
        while process.stdout is not None and (line := process.stdout.readline()):
            lines.append(line)
            if line.startswith("export "):
                break
        yield process, "".join(lines)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def serving(switches):
    """Run the command with switches; yield a function that sends a request and returns the response."""
    with running("--port", "0", *switches.split()) as (_, text), requests.Session() as session:
        (url,) = re.findall(r"FormantAI sandbox on (http://127\.0\.0\.1:\d+) ", text)
        session.headers["Authorization"] = "Bearer sandbox-key"
        yield lambda method, path, **options: session.request(method, url + path, timeout=60, **options)


def call(send, phone, **fields):
    parameters = [{"name": "customer_phone", "value": phone}]
    return send("POST", "/v1/call", json={"agent_id": 456, "parameters": parameters, **fields})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped(number):
    """It prints where it is and how to connect, answers there, and ends with 0 on Ctrl-C and SIGTERM."""
    with running("--port", "0", "--seed-key", "my-key", "--agent", "7", "--agent", "8") as (process, text):
        (url,) = re.findall(r"FormantAI sandbox on (http://127\.0\.0\.1:\d+) ", text)
        assert (
            f"export AIRFLOW_CONN_FORMANT_DEFAULT=formant://http://:my-key@{url.removeprefix('http://')}"
            in text
        )
        assert "agents  7, 8" in text
        assert "no_answer" in text
        body = {"agent_id": 7, "parameters": [{"name": "customer_phone", "value": "+14155550100"}]}
        answer = requests.post(
            f"{url}/v1/call", json=body, headers={"Authorization": "Bearer my-key"}, timeout=5
        )
        assert answer.status_code == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "stopped\n", "")


def test_the_switches_reach_the_sandbox():
    """Every switch of the command line changes the answers it is about."""
    switches = "--start-at 2026-03-18T12:00:00+00:00 --speed 0 --rate-limit off --list-order oldest_first"
    switches += " --receipt-conversation-id always --record-appears start --trace-id-in-list"
    switches += " --echo-values-in-errors --max-concurrent-calls 2 --failed-request-uses-key"
    with serving(switches) as send:
        first = call(send, "+14155550101")
        assert first.json()["data"]["conversation_id"]
        assert "X-RateLimit-Limit" not in first.headers
        assert "nobody" in call(send, "nobody").json()["error"]["message"]
        assert call(send, "+14155550102").ok
        assert call(send, "+14155550103", idempotency_key="k").status_code == 429
        items = send("GET", "/v1/conversations").json()["data"]
        assert [item["contact_number"] for item in items] == ["+14155550101", "+14155550102"]
        assert {item["start_timestamp"] for item in items} == {1_773_835_200_000}
        assert items[0]["trace_id"] == first.json()["data"]["trace_id"]
        send("POST", "/sandbox/advance", json={"seconds": 60})
        assert call(send, "+14155550103", idempotency_key="k").status_code == 409


def test_the_switches_about_what_follows_a_call_reach_the_sandbox():
    """Recordings, redials, late results, other orders and a clock moved by requests are options as well."""
    switches = "--speed 0 --list-order newest_end_first --redial-trace-id new --recording-bytes 100"
    switches += " --platform-redials 1 --platform-redial-after-seconds 60 --recording-delay-seconds 5"
    switches += " --results-delay-seconds 20 --no-trace-id-in-detail --trace-id-in-list"
    with serving(f"{switches} --seconds-per-request 4") as send:
        call(send, "+14155550102")
        send("POST", "/sandbox/advance", json={"seconds": 5 + 60 + 142 - 4})
        redial, first = send("GET", "/v1/conversations").json()["data"]
        assert (redial["status"], first["status"]) == ("completed", "busy")
        assert redial["start_timestamp"] - first["end_timestamp"] == 60_000
        assert redial["trace_id"] != first["trace_id"]
        path = f"/v1/conversations/{redial['conversation_id']}"
        assert send("GET", f"{path}/recording").status_code == 404
        assert len(send("GET", f"{path}/recording").content) == 100
        record = send("GET", path).json()["data"]
        assert (record["results"], record.get("trace_id")) == (None, None)
        send("POST", "/sandbox/advance", json={"seconds": 4})
        assert send("GET", path).json()["data"]["results"]


def test_the_switches_about_batch_calls_reach_the_sandbox():
    """The pace, the lag of the list, the status and the uncounted outcomes are options as well."""
    switches = "--speed 0 --batch-calls-per-minute 1 --batch-list-lag-reads 1 --batch-status-moves"
    with serving(f"{switches} --uncounted-outcomes failed") as send:
        form, rows = {"agent_id": "456", "name": "n"}, "customer_phone\n+14155550106\n+14155550100\n"
        send("POST", "/v1/batch-call", data=form, files={"file": ("c.csv", rows)})
        send("POST", "/sandbox/advance", json={"seconds": 59})
        first, second = [send("GET", "/v1/batch-calls").json() for _ in range(2)]
        assert first["data"] == []
        (batch,) = second["data"]
        assert batch["status"] == "in_progress"
        metrics = send("GET", f"/v1/batch-calls/{batch['id']}/metrics").json()["data"]
        assert (metrics["failed_count"], metrics["in_progress_count"]) == (1, 0)


def test_webhooks_are_options_too(receiver):
    """Several targets, a secret, an agent, events, no transcript: all of it reaches the sandbox."""
    switches = f"--speed 0 --webhook {receiver.url} --webhook {receiver.url}/2 --webhook-secret s3cret"
    switches += " --webhook-agent 456 --webhook-events call.busy,call.completed --no-webhook-transcript"
    with serving(f"{switches} --webhook-timestamp-unit milliseconds --webhook-connections 2") as send:
        for phone in ("+14155550101", "+14155550102", "+14155550100"):
            assert call(send, phone).ok
        send("POST", "/sandbox/advance", json={"seconds": 142})
        while send("GET", "/sandbox/webhooks").json()["due"]:
            time.sleep(0.01)
        targets = send("GET", "/sandbox/webhooks").json()["targets"]
    assert [each["url"] for each in targets] == [receiver.url, f"{receiver.url}/2"]
    assert sorted(receiver.types) == ["call.busy", "call.busy", "call.completed", "call.completed"]
    assert {each.path for each in receiver.seen} == {"/", "/2"}
    for got in receiver.seen:
        digest = hmac.new(b"s3cret", got.content, hashlib.sha256).hexdigest()
        assert got.headers["X-FormantAI-Signature"] == f"sha256={digest}"
        assert len(got.headers["X-FormantAI-Timestamp"]) == 13
        assert "transcript" not in got.event["data"]


def run(*arguments):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_a_taken_port_is_said_plainly():
    """A port in use ends the command with 1 and one line on stderr."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"cannot listen on http://127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--speed", "-1"],
        ["--start-at", "2026-03-18"],
        ["--host", "127.0.0.2"],
        ["--webhook", "nowhere"],
        ["--webhook", "http://127.0.0.1", "--webhook-agent", "1"],
    ],
)
def test_wrong_arguments_are_said_plainly(arguments):
    """A wrong value ends the command with 2 and its usage, not a traceback; no host is offered."""
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: ")
    assert "Traceback" not in ended.stderr


def test_its_table_says_how_long_a_call_lasts_there():
    """With ``--call-speed`` calls are over sooner, and the table of test numbers shows it."""
    with running("--port", "0", "--call-speed", "10") as (_, text):
        assert re.search(r"any other +completed +14\.2 s", text), text
