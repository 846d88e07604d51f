from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from formant_provider.sandbox.faults import BATCH

PHONE, OTHER = "+14155550100", "+14155550110"
FIELDS = [
    ("agent_id", (None, "456")),
    ("name", (None, "March")),
    ("file", ("c.csv", f"customer_phone\n{PHONE}\n")),
]


def error(answer):
    return answer.status_code, answer.json()["error"]["message"]


def test_an_accepted_file_rings_every_row_once(start):
    """The answer counts the rows, and each row's recipient rings, whatever else is in the row."""
    api = start()
    answer = api.batch(f"customer_phone,customer_name\n{PHONE},Rahul\n{OTHER},\n")
    data = answer.json()["data"]
    assert answer.status_code == 200
    assert {**data, "id": 0} == {
        "id": 0,
        "name": "March Follow Ups",
        "agent_id": 456,
        "status": "pending",
        "total_recipients": 2,
        "created_at": "2026-03-18T12:00:00Z",
    }
    assert api.sandbox.rings == {PHONE: 1, OTHER: 1}
    assert api.send("GET", "/sandbox/stats").json()["rings"] == {PHONE: 1, OTHER: 1}


def test_what_was_accepted_can_be_looked_at(start):
    """A test sees the batch as it is, and each of its rows by the file's own columns."""
    api = start()
    data = api.batch(f"customer_phone,customer_name\n{PHONE},Rahul\n").json()["data"]
    (batch,) = api.sandbox.batches
    assert (batch.batch_id, batch.name, batch.agent_id) == (data["id"], "March Follow Ups", 456)
    assert (batch.total_recipients, batch.created_at) == (1, api.sandbox.now())
    assert list(batch.rows()) == list(batch.rows()) == [{"customer_phone": PHONE, "customer_name": "Rahul"}]
    assert api.sandbox.calls == []
    api.sandbox.reset()
    assert (api.sandbox.batches, api.sandbox.rings) == ([], {})


def test_the_request_is_seen_without_its_file(start):
    """Fields are kept as text and a file by its name; a million rows are not kept twice."""
    api = start()
    api.batch()
    api.post({}, headers={"Content-Type": "text/plain"})
    seen = api.sandbox.requests[0]
    assert (seen.endpoint, seen.status) == (BATCH, 200)
    assert seen.body == {"agent_id": "456", "name": "March Follow Ups", "file": "contacts.csv"}


def test_a_recipient_in_two_rows_rings_twice(start):
    """The vendor documents no handling of duplicates, so a client must not rely on any."""
    api = start()
    api.batch(f"customer_phone\n{PHONE}\n{PHONE}\n")
    api.batch()
    assert api.sandbox.rings == {PHONE: 3}


def test_calls_and_rows_are_counted_together(start):
    """A recipient who is called and is in a file rings twice."""
    api = start()
    api.call(PHONE)
    api.batch()
    assert api.sandbox.rings == {PHONE: 2}


@pytest.mark.parametrize(
    ("rows", "cell"),
    [
        (f'note,customer_phone\n"a, ""b""",{PHONE}\n', 'a, "b"'),
        (f'note,customer_phone\n"two\nlines",{PHONE}\n', "two\nlines"),
        (f"note,customer_phone\r\nx,{PHONE}\r\n", "x"),
        (f"note,customer_phone\nराहुल,{PHONE}", "राहुल"),
        (f"note,customer_phone\n=1+1,{PHONE}\n", "=1+1"),
    ],
    ids=["quotes", "newline", "crlf", "no-ascii-no-newline-at-end", "formula"],
)
def test_csv_is_read_unchanged(start, rows, cell):
    """Quotes, newlines in cells, both line ends and any script come through unchanged."""
    api = start()
    assert api.batch(rows.encode()).status_code == 200
    assert list(api.sandbox.batches[0].rows()) == [{"note": cell, "customer_phone": PHONE}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"", "file must have a customer_phone column"),
        (b"phone\n+14155550100\n", "file must have a customer_phone column"),
        (b"\xef\xbb\xbfcustomer_phone\n+14155550100\n", "file must have a customer_phone column"),
        (b"customer_phone;name\n+14155550100;x\n", "file must have a customer_phone column"),
        (b"customer_phone,\n+14155550100,x\n", "file: every column must have a name"),
        (b"customer_phone,a,a\n+14155550100,x,y\n", "file must not repeat a column"),
        (b"customer_phone\n", "file must have at least one row"),
        (b"customer_phone\n+14155550100\nx\n", "file: row 2: customer_phone must be an E.164 number"),
        (b"customer_phone\n4155550100\n", "file: row 1: customer_phone must be an E.164 number"),
        (b"customer_phone\n+14155550100 \n", "file: row 1: customer_phone must be an E.164 number"),
        (
            "customer_phone\n+1415555\u0660100\n".encode(),
            "file: row 1: customer_phone must be an E.164 number",
        ),
        (b"customer_phone,name\n+14155550100\n", "file: row 1 must have as many fields as the header"),
        (b"customer_phone\n+14155550100,x\n", "file: row 1 must have as many fields as the header"),
        (b"customer_phone\n+14155550100\n\n", "file: row 2 must have as many fields as the header"),
        (b'customer_phone\n+14155550100\n"+1415\n', "file: row 2 cannot be read as CSV"),
        (b'customer_phone\n"+14155550100"x\n', "file: row 1 cannot be read as CSV"),
        (b"customer_phone,n\n+14155550100,\xff\n", "file must be UTF-8 text"),
        ("customer_phone\n+14155550100\n".encode("utf-16"), "file must be UTF-8 text"),
        (b"customer_phone,n\n+14155550100," + b"x" * 200_000, "file: row 1 cannot be read as CSV"),
    ],
)
def test_an_invalid_file_is_refused_and_nothing_rings(start, rows, message):
    """The message names the row, counted without the header, and the field, and repeats no value."""
    api = start()
    assert error(api.batch(rows)) == (400, message)
    assert (api.sandbox.rings, api.sandbox.batches) == ({}, [])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (FIELDS[1:], "agent_id is required"),
        (FIELDS[:1] + FIELDS[2:], "name is required"),
        (FIELDS[:2], "file is required"),
        ([*FIELDS, ("surprise", (None, "1"))], "surprise is not a known field"),
        ([*FIELDS, ("+1 415", (None, "1"))], "(name withheld) is not a known field"),
        ([*FIELDS, FIELDS[0]], "fields must not be repeated"),
        ([*FIELDS, FIELDS[2]], "fields must not be repeated"),
        ([("agent_id", (None, "4.5")), *FIELDS[1:]], "agent_id must be an integer"),
        ([("agent_id", (None, "")), *FIELDS[1:]], "agent_id must be an integer"),
        ([("agent_id", ("456", "456")), *FIELDS[1:]], "agent_id must be an integer"),
        ([FIELDS[0], ("name", (None, " ")), FIELDS[2]], "name must be a text that is not blank"),
        ([FIELDS[0], ("name", ("n", "n")), FIELDS[2]], "name must be a text that is not blank"),
        ([*FIELDS[:2], ("file", (None, PHONE))], "file must be a file whose name ends in .csv"),
        ([*FIELDS[:2], ("file", ("c.txt", PHONE))], "file must be a file whose name ends in .csv"),
        ([*FIELDS[:2], ("file", ("", PHONE))], "file must be a file whose name ends in .csv"),
    ],
)
def test_a_form_that_is_not_as_documented_is_refused(start, fields, message):
    """Each of the three fields must be there once, in its type, and nothing besides."""
    api = start()
    assert error(api.send("POST", "/v1/batch-call", files=fields)) == (400, message)
    assert api.sandbox.rings == {}


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", b'{"agent_id": 456}', "Content-Type must be multipart/form-data"),
        ("application/x-www-form-urlencoded", b"agent_id=456", "Content-Type must be multipart/form-data"),
        (None, b"x", "Content-Type must be multipart/form-data"),
        ("multipart/form-data", b"x", "body must be valid multipart/form-data"),
        ("multipart/form-data; boundary=b", b"x" * 200_000, "body must be valid multipart/form-data"),
        ("multipart/form-data; boundary=b", b"", "agent_id is required"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--\r\n",
            "body must be valid multipart/form-data",
        ),
    ],
)
def test_a_body_that_is_no_form_is_refused(start, content_type, body, message):
    """Anything but a multipart form is received in full and then answered with 400."""
    api = start()
    headers = {"Content-Type": content_type} if content_type else {}
    assert error(api.send("POST", "/v1/batch-call", data=body, headers=headers)) == (400, message)
    assert api.batch().status_code == 200


def test_a_form_without_an_end_is_not_complete(start):
    """A form that is cut off in its file has no file."""
    api = start()
    whole = requests.Request("POST", "http://x", files=FIELDS).prepare()
    headers = {"Content-Type": whole.headers["Content-Type"]}
    answer = api.send("POST", "/v1/batch-call", data=whole.body[:-45], headers=headers)
    assert error(answer) == (400, "file is required")


def test_an_unknown_agent_is_not_found(start):
    """A good form for an agent that does not exist is a 404."""
    api = start()
    assert error(api.batch(agent_id=1)) == (404, "agent not found")
    assert api.sandbox.rings == {}


def test_key_and_limit_come_before_the_form(start):
    """A form is checked only after the key and the limit."""
    api = start(rate_limit=1)
    wrong = api.send("POST", "/v1/batch-call", files=FIELDS[:1], headers={"Authorization": "Bearer x"})
    assert wrong.status_code == 401
    assert [api.batch("").status_code, api.batch("").status_code] == [400, 429]


def test_errors_can_be_made_to_repeat_the_beginning_of_the_file(start):
    """With ``echo_values_in_errors`` the message of a 400 holds numbers and names."""
    api = start(echo_values_in_errors=True)
    message = api.batch(f"customer_phone,name\n{PHONE},Rahul\nx,y\n").json()["error"]["message"]
    assert message.startswith("file: row 2: customer_phone must be")
    assert f"{PHONE},Rahul" in message


def test_somebody_else_can_place_a_batch(start):
    """``place_batch`` rings and records without a request, and refuses what the API would."""
    api = start()
    batch = api.sandbox.place_batch([PHONE, OTHER], agent_id=123, name="Theirs")
    assert api.batches().json()["data"][0]["id"] == batch.batch_id
    assert api.sandbox.rings == {PHONE: 1, OTHER: 1}
    for phones, agent_id in (([], 456), (["nobody"], 456), ([PHONE], 1)):
        with pytest.raises(ValueError, match=r"row|agent"):
            api.sandbox.place_batch(phones, agent_id=agent_id)


def peak_mb(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+)", status)
    return int(kilobytes) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account of memory")
def test_memory_does_not_grow_with_the_file():
    """200,000 long rows are taken in with a few bytes each; their text stays on disk."""
    file = io.BytesIO()
    file.write(b"customer_phone,note\n")
    for number in range(200_000):
        file.write(b"+1415%07d,%s\n" % (number, b"n" * 200))
    file.seek(0)
    command = [sys.executable, "-m", "formant_provider.sandbox", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        key, form = {"Authorization": "Bearer sandbox-key"}, {"agent_id": "456", "name": "n"}
        assert requests.get(f"{url}/v1/batch-calls", headers=key, timeout=60).ok
        before = peak_mb(process.pid)
        answer = requests.post(
            f"{url}/v1/batch-call", headers=key, data=form, files={"file": ("c.csv", file)}, timeout=60
        )
        assert answer.json()["data"]["total_recipients"] == 200_000
        assert peak_mb(process.pid) - before < 24
    finally:
        process.kill()
        process.communicate()
