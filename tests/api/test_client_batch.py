from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.batch_models import BatchCall, BatchMetrics
from formant_provider.api.client import CREATE_BATCH_CALL, LIST_BATCH_CALLS
from formant_provider.api.errors import (
    BadResponse,
    ConcurrencyLimited,
    FormantError,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestRefused,
    ResponseLost,
    SendAborted,
    ServerError,
    Unreachable,
)
from formant_provider.api.multipart import Form
from formant_provider.api.retry import RetryPolicy, Wait
from formant_provider.sandbox import Fault, Sandbox
from support.scripted_server import Answer, ScriptedServer

KEY = "key-1234567"
NUMBER = "+14155550100"
OK = Answer(body={"data": {"id": 456, "name": "n", "agent_id": 123, "status": "pending"}})
AT_BATCH = [fault for fault in Fault if CREATE_BATCH_CALL in fault.endpoints]
REFUSED_OUTRIGHT = [fault for fault in AT_BATCH if "limit" in fault]
UNCLEAR = [fault for fault in AT_BATCH if fault not in REFUSED_OUTRIGHT]


@pytest.fixture
def contacts(tmp_path: Path) -> Path:
    path = tmp_path / "private name of a file.csv"
    path.write_text(f"customer_phone,customer_name\n{NUMBER},Rahul\n", encoding="utf-8")
    return path


def failure(action: Callable[[], object]) -> FormantError:
    with pytest.raises(FormantError) as caught:
        action()
    return caught.value


def test_a_batch_is_placed(sandbox: Sandbox, client_for: Any, contacts: Path) -> None:
    """The strict sandbox takes the form, each row rings once, and the record is that of the answer."""
    batch = client_for(sandbox.base_url).create_batch_call(456, "March, मार्च", contacts)
    (placed,) = sandbox.batches
    assert batch == BatchCall(
        batch_id=placed.batch_id,
        name="March, मार्च",
        agent_id=456,
        status="pending",
        total_recipients=1,
        created_at=sandbox.now().isoformat().replace("+00:00", "Z"),
    )
    assert batch.created == sandbox.now()
    assert sandbox.rings == {NUMBER: 1}
    assert list(placed.rows()) == [{"customer_phone": NUMBER, "customer_name": "Rahul"}]


def test_the_form_goes_out_as_it_is_documented(client_for: Any, contacts: Path) -> None:
    """Three parts with a known length, the file's bytes unchanged and its own name not told."""
    with ScriptedServer(OK) as server:
        client_for(server.base_url).create_batch_call(123, 'a "name"', str(contacts))
    (seen,) = server.seen
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert int(seen.headers["Content-Length"]) == len(seen.raw_body)
    boundary = seen.headers["Content-Type"].removeprefix("multipart/form-data; boundary=").encode()
    head, agent, name, file, end = seen.raw_body.split(b"--" + boundary)
    assert (head, end) == (b"", b"--\r\n")
    assert agent == b'\r\nContent-Disposition: form-data; name="agent_id"\r\n\r\n123\r\n'
    assert name == b'\r\nContent-Disposition: form-data; name="name"\r\n\r\na "name"\r\n'
    assert file == (
        b'\r\nContent-Disposition: form-data; name="file"; filename="contacts.csv"\r\n'
        b"Content-Type: text/csv\r\n\r\n" + contacts.read_bytes() + b"\r\n"
    )


@pytest.mark.parametrize("fault", UNCLEAR)
def test_a_batch_is_never_sent_twice_after_an_unclear_answer(
    sandbox: Sandbox, client_for: Any, sleeps: list[float], contacts: Path, fault: Fault
) -> None:
    """Whatever is unclear about the answer, it is sent once, and the error says calls may be placed."""
    hangs = "hang" in fault
    sandbox.inject(CREATE_BATCH_CALL, fault, seconds=20 if hangs else None)
    client = client_for(sandbox.base_url, read_timeout_s=0.05 if hangs else 30.0)
    error = failure(lambda: client.create_batch_call(456, "n", contacts))
    assert isinstance(error, ServerError | ResponseLost | BadResponse)
    assert error.maybe_placed
    assert error.earlier == ()
    assert len(sandbox.requests) == 1
    assert sandbox.rings.total() == fault.after
    assert sleeps == []


@pytest.mark.parametrize("fault", REFUSED_OUTRIGHT)
def test_a_batch_refused_by_a_limit_is_sent_again_in_full(
    sandbox: Sandbox, client_for: Any, sleeps: list[float], contacts: Path, fault: Fault
) -> None:
    """A 429 says that nothing was taken; the whole file goes out once more, and everybody is called once."""
    sandbox.inject(CREATE_BATCH_CALL, fault, times=2)
    client_for(sandbox.base_url).create_batch_call(456, "n", contacts)
    assert [seen.status for seen in sandbox.requests] == [429, 429, 200]
    assert sandbox.rings == {NUMBER: 1}
    assert len(sleeps) == 2


def test_an_unclear_answer_after_a_refusal_is_the_last(
    sandbox: Sandbox, client_for: Any, contacts: Path
) -> None:
    """A repeat that was allowed does not make the next one so."""
    sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT)
    sandbox.inject(CREATE_BATCH_CALL, Fault.DROP_AFTER)
    error = failure(lambda: client_for(sandbox.base_url).create_batch_call(456, "n", contacts))
    assert isinstance(error, ResponseLost)
    assert error.maybe_placed
    assert [type(earlier) for earlier in error.earlier] == [RateLimited]
    assert sandbox.rings == {NUMBER: 1}


def test_limits_for_good_mean_that_nothing_was_placed(
    sandbox: Sandbox, client_for: Any, contacts: Path
) -> None:
    """After the last 429 the error says when to come back, and that nobody was called."""
    sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT, times=9)
    error = failure(lambda: client_for(sandbox.base_url).create_batch_call(456, "n", contacts))
    assert isinstance(error, RateLimited)
    assert (error.maybe_placed, error.retry_after_s) == (False, 1)
    assert len(sandbox.requests) == 4


def test_without_a_connection_it_is_tried_again(client_for: Any, sleeps: list[float], contacts: Path) -> None:
    """A server that cannot be reached took nothing, so the policy's repeats are allowed."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    client = client_for(f"http://127.0.0.1:{port}")
    error = failure(lambda: client.create_batch_call(456, "n", contacts))
    assert isinstance(error, Unreachable)
    assert not error.maybe_placed
    assert len(sleeps) == 3


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (Unreachable("x"), True),
        (RateLimited("x"), True),
        (ConcurrencyLimited("x"), True),
        (ServerError("x", retry_after_s=1.0), False),
        (ResponseLost("x"), False),
        (BadResponse("x"), False),
        (RequestRefused("x"), False),
        (InvalidRequest("x"), False),
        (NotFound("x"), False),
        (SendAborted("x"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, FormantError) else "",
)
def test_what_may_be_repeated_without_a_key(error: FormantError, repeated: bool) -> None:
    """The last column of the retry table, row by row."""
    decision = RetryPolicy().decide(attempt=1, waited_s=0, error=error, jitter=0, idempotent=False)
    assert isinstance(decision, Wait) is repeated


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 301])
def test_a_refusal_is_final_and_clear(status: int, client_for: Any, contacts: Path) -> None:
    """The server said no: one send, and nobody was called."""
    with ScriptedServer(Answer(status, {"error": {"message": "no", "type": "t"}})) as server:
        error = failure(lambda: client_for(server.base_url).create_batch_call(123, "n", contacts))
    assert isinstance(error, RequestRefused)
    assert not error.maybe_placed
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", [{"data": {}}, {"data": {"id": None}}, {"data": {"id": "x"}}, b"", {}])
def test_an_accepted_batch_without_an_id_is_in_doubt(body: Any, client_for: Any, contacts: Path) -> None:
    """A 200 that does not say which batch it made is not repeated, and may have placed a call."""
    with ScriptedServer(Answer(body=body)) as server:
        error = failure(lambda: client_for(server.base_url).create_batch_call(123, "n", contacts))
    assert isinstance(error, BadResponse)
    assert error.maybe_placed
    assert len(server.seen) == 1


def test_nothing_is_sent_when_something_speaks_against_it(
    sandbox: Sandbox, client_for: Any, contacts: Path
) -> None:
    """``before_send`` is asked before every send, and its error ends the matter."""
    asked: list[FormantError | None] = [SendAborted("stopped"), None]
    sandbox.inject(CREATE_BATCH_CALL, Fault.RATE_LIMIT)
    client = client_for(sandbox.base_url)
    error = failure(lambda: client.create_batch_call(456, "n", contacts, before_send=asked.pop))
    assert isinstance(error, SendAborted)
    assert not error.maybe_placed
    assert (asked, len(sandbox.requests)) == ([], 1)


def test_a_file_that_is_not_there_is_said_before_anything_is_sent(
    sandbox: Sandbox, client_for: Any, tmp_path: Path
) -> None:
    """What is wrong on our own disk is raised as it is."""
    with pytest.raises(FileNotFoundError):
        client_for(sandbox.base_url).create_batch_call(456, "n", tmp_path / "none.csv")
    assert sandbox.requests == []


def test_half_a_file_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    """A file that shrinks under our hands breaks the upload off ahead of the form's end."""
    path = tmp_path / "c.csv"
    path.write_bytes(b"x" * 200_000)
    with path.open("rb") as file:
        form = Form({}, file)
        path.write_bytes(b"x" * 100_000)
        sent = []
        with pytest.raises(OSError, match="shorter"):
            sent += list(form)
        assert not any(b"--\r\n" in piece for piece in sent)


@pytest.mark.parametrize("fault", [None, Fault.ERROR_500_AFTER, Fault.GARBAGE, Fault.RATE_LIMIT])
def test_nothing_of_the_file_is_in_an_error_or_a_log(
    client_for: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path, fault: Fault | None
) -> None:
    """Even of a message that quotes the file, only what is not in its rows is told; the reason stays."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "c.csv"
    path.write_text(f'customer_phone,name\n{NUMBER},"Rahul ""Q"" Śarmā"\nx,y\n', encoding="utf-8")
    with Sandbox(api_key=KEY, echo_values_in_errors=True, rate_limit=None) as sandbox:
        if fault:
            path.write_text(f"customer_phone,name\n{NUMBER},Rahul\n", encoding="utf-8")
            sandbox.inject(CREATE_BATCH_CALL, fault, times=9)
        error = failure(lambda: client_for(sandbox.base_url).create_batch_call(456, "n", path))
    texts = [caplog.text, "".join(traceback.format_exception(error)), repr(vars(error))]
    for private in (KEY, NUMBER[1:], "Rahul", "Śarmā"):
        assert all(private not in text for text in texts)
    if fault is None:
        assert "file: row 2: customer_phone must be an E.164 number" in str(error)


def test_an_upload_is_waited_for_longer_than_other_answers(
    sandbox: Sandbox, client_for: Any, contacts: Path
) -> None:
    """A server may take its time to check a long file: ten times the read timeout of the connection."""
    client = client_for(sandbox.base_url, read_timeout_s=0.2)
    sandbox.inject(CREATE_BATCH_CALL, Fault.HANG_AFTER, seconds=0.5)
    assert client.create_batch_call(456, "n", contacts).batch_id
    sandbox.inject(LIST_BATCH_CALLS, Fault.HANG_AFTER, seconds=0.5, times=4)
    assert isinstance(failure(client.list_batch_calls), ResponseLost)


def test_batches_are_listed_and_read(sandbox: Sandbox, client_for: Any, contacts: Path) -> None:
    """List, detail and metrics agree with what was created; reads are repeated as ever."""
    client = client_for(sandbox.base_url)
    batch = client.create_batch_call(456, "n", contacts)
    sandbox.place_batch([NUMBER], agent_id=123)
    for fault in (Fault.ERROR_503_BEFORE, Fault.DROP_AFTER, Fault.GARBAGE):
        sandbox.inject(LIST_BATCH_CALLS, fault)
    page = client.list_batch_calls(456)
    assert (page.items, page.has_more, page.total) == ((batch,), False, 1)
    assert client.list_batch_calls(limit=1).has_more
    assert client.list_batch_calls(limit=1, offset=1).items == (batch,)
    assert client.get_batch_call(batch.batch_id) == batch
    sandbox.advance(1000)
    metrics = client.get_batch_metrics(batch.batch_id)
    assert (metrics.completed_count, metrics.total_processed, metrics.success_rate) == (1, 1, 100.0)
    for read in (client.get_batch_call, client.get_batch_metrics):
        assert isinstance(failure(lambda read=read: read(1)), NotFound)


def test_odd_records_are_read_as_far_as_they_can_be(client_for: Any) -> None:
    """Fields that are missing or of another type are ``None``; a record without an id is passed over."""
    rows = [7, {}, {"id": True}, {"id": "12", "name": 5, "status": "sleeping", "created_at": "soon"}]
    with ScriptedServer(Answer(body={"data": rows})) as server:
        page = client_for(server.base_url).list_batch_calls(limit=4)
    (batch,) = page.items
    assert (batch.batch_id, batch.name, batch.status, batch.created) == (12, None, "sleeping", None)
    assert (page.has_more, page.total) == (True, None)


def test_metrics_are_numbers_or_nothing() -> None:
    """What the API leaves out or writes in another type is not taken for nought."""
    metrics = BatchMetrics.from_json({"busy_count": 1.0, "failed_count": "2", "success_rate": 84, "new": 1})
    assert (metrics.busy_count, metrics.failed_count, metrics.success_rate) == (1, 2, 84.0)
    assert (metrics.total_processed, metrics.in_progress_count) == (None, None)
    assert BatchMetrics.from_json({"busy_count": True, "success_rate": "x"}) == BatchMetrics.from_json({})


UPLOAD = """
import re, sys
from pathlib import Path
from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))

client = FormantClient(ClientConfig(sys.argv[1], sys.argv[2]))
client.list_batch_calls()
before = peak_kb()
print(client.create_batch_call(456, "n", sys.argv[3]).total_recipients, peak_kb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account of memory")
def test_memory_does_not_grow_with_the_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """Uploading 200,000 rows, 40 MB, takes the client less than 8 MB at any moment."""
    path = tmp_path / "c.csv"
    with path.open("w") as file:
        file.write("customer_phone,note\n")
        file.writelines(f"+1415{number:07d},{'n' * 190}\n" for number in range(200_000))
    command = [sys.executable, "-c", UPLOAD, sandbox.base_url, KEY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, kilobytes = map(int, re.findall(r"\d+", done.stdout))
    assert rows == 200_000
    assert kilobytes < 8 * 1024
