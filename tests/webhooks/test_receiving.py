"""What the receiver answers, over real sockets, and what it has stored by then."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from formant_provider.store.schema import webhook_events
from support.databases import Database
from support.log_capture import captured_logs
from support.stores import SECRET as STORE_SECRET
from support.webhook_events import AT, NUMBER, OWN_NUMBER
from support.webhook_server import OTHER, SECRET, Receiver, event, receiving, signature

UNSIGNED = (401, {"error": "signature"})
STORED, KNOWN = (200, {"status": "stored"}), (200, {"status": "known"})
HEADER = "X-FormantAI-Signature"


def test_an_event_is_stored_once_and_answered(database: Database) -> None:
    """It is in the store when the answer is there; the vendor's repeats are known, and accepted as well."""
    with receiving(database) as receiver:
        assert receiver.post(event()) == STORED
        assert [each.event.event_id for each in receiver.stored()] == ["evt_1"]
        assert [receiver.post(event()) for _ in range(2)] == [KNOWN, KNOWN]
        assert len(receiver.stored()) == 1


def test_of_many_who_deliver_one_event_at_once_one_stores_it(database: Database) -> None:
    """In one transaction, or in several: all are answered 2xx, and it is there once."""
    with receiving(database) as receiver, ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(receiver.post, [event(str(n)) for n in range(5)] * 6))
        assert sorted(said["status"] for _, said in answers) == ["known"] * 25 + ["stored"] * 5
        assert sorted(each.event.event_id for each in receiver.stored()) == list("01234")


REFUSED: dict[str, Callable[[bytes], dict[str, str]]] = {
    "missing": lambda _: {},
    "empty": lambda _: {HEADER: ""},
    "malformed": lambda body: {HEADER: signature(body).removeprefix("sha256=")},
    "too long": lambda body: {HEADER: f"{signature(body)}00"},
    "of another secret": lambda body: {HEADER: signature(body, OTHER)},
    "of another body": lambda body: {HEADER: signature(body + b" ")},
    "only in another header": lambda body: {"X-Signature": signature(body)},
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_not_signed_is_refused_in_one_way(receiver: Receiver, how: str) -> None:
    """Whoever tries learns nothing of what was wrong, and nothing is stored."""
    body = json.dumps(event()).encode()
    assert receiver.post(body, headers=REFUSED[how](body)) == UNSIGNED
    assert receiver.stored() == []


def test_two_signatures_are_as_bad_as_none(receiver: Receiver) -> None:
    """A proxy that adds one of its own is noticed, though one of them is right."""
    body = json.dumps(event()).encode()
    head = (
        f"POST /webhooks/formant_default HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"{HEADER}: {signature(body)}\r\n{HEADER}: {signature(body, OTHER)}\r\n\r\n"
    )
    assert receiver.raw(head.encode(), body).startswith(b"HTTP/1.1 401")


def test_the_bytes_are_what_is_signed(receiver: Receiver) -> None:
    """Equal JSON in other bytes has another signature, whoever has written it anew on the way."""
    told = event()
    pretty = json.dumps(told, indent=3).encode() + b"\n"
    assert receiver.post(pretty, headers={HEADER: signature(json.dumps(told).encode())}) == UNSIGNED
    assert receiver.post(pretty) == STORED


def test_white_space_around_the_signature_is_none_of_it(receiver: Receiver) -> None:
    """As HTTP has it: a proxy may add some, or take it off."""
    body = json.dumps(event()).encode()
    head = f"POST /webhooks/formant_default HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    answer = receiver.raw(f"{head}{HEADER}: \t{signature(body)} \t\r\n\r\n".encode(), body)
    assert answer.startswith(b"HTTP/1.1 200")


# Made by `openssl dgst -sha256 -hmac`, and none by our code.
LITERAL = (
    b'{"event_id": "evt_1", "event_type": "call.completed", "timestamp": "2026-03-18T10:00:00Z", "data": {}}'
)
OF_LITERAL = "sha256=e62722e656908087973a042f9b007981baaf779c3599782493ec35f5487c919c"


@pytest.mark.parametrize(
    ("seconds_later", "expected"),
    [
        pytest.param(0, "stored", id="now"),
        pytest.param(330, "stored", id="the vendor's last repeat"),
        pytest.param(3600, "stored", id="an hour"),
        pytest.param(3601, "timestamp: is more than 3600 seconds in the past", id="old"),
        pytest.param(86400 * 40, "timestamp: is more than 3600 seconds in the past", id="replayed"),
        pytest.param(-3600, "stored", id="a clock that is behind"),
        pytest.param(-3601, "timestamp: is more than 3600 seconds in the future", id="in the future"),
    ],
)
def test_the_signed_time_is_within_the_tolerance(sqlite: Database, seconds_later: int, expected: str) -> None:
    """An hour either way: longer than the vendor repeats, shorter than an event's id is known."""
    with receiving(sqlite, now=lambda: AT + timedelta(seconds=seconds_later)) as receiver:
        status, said = receiver.post(LITERAL, headers={HEADER: OF_LITERAL})
        assert said == {"status" if expected == "stored" else "error": expected}
        assert status == (200 if expected == "stored" else 400)
        assert len(receiver.stored()) == (expected == "stored")


def test_the_header_with_the_time_is_not_believed(sqlite: Database) -> None:
    """It is not signed: whoever replays an event could write it anew."""
    with receiving(sqlite, now=lambda: AT + timedelta(days=1)) as receiver:
        told = {HEADER: OF_LITERAL, "X-FormantAI-Timestamp": (AT + timedelta(days=1)).isoformat()}
        assert receiver.post(LITERAL, headers=told)[0] == 400


def test_a_replay_within_the_tolerance_changes_nothing(sqlite: Database) -> None:
    """Its id is known, whatever the headers say."""
    with receiving(sqlite, now=lambda: AT) as receiver:
        assert receiver.post(LITERAL, headers={HEADER: OF_LITERAL}) == STORED
        told = {HEADER: OF_LITERAL, "X-FormantAI-Event-Id": "evt_9"}
        assert receiver.post(LITERAL, headers=told) == KNOWN


def test_the_tolerance_is_the_connection_s(sqlite: Database) -> None:
    """A shorter one refuses what the default accepts."""
    with receiving(sqlite) as receiver:
        receiver.connect(webhook_tolerance=60)
        old = (datetime.now(UTC) - timedelta(seconds=90)).isoformat()
        assert receiver.post(event(timestamp=old))[0] == 400


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "body: must be a JSON object of at most 100 levels"),
        (b"not json", "body: must be a JSON object of at most 100 levels"),
        (b"[]", "body: must be a JSON object of at most 100 levels"),
        (b"\xff\xfe", "body: must be a JSON object of at most 100 levels"),
        (b'{"event_type": "call.busy", "timestamp": "2026-03-18T10:00:00Z"}', "event_id: must be text"),
        (b'{"event_id": "a", "timestamp": "2026-03-18T10:00:00Z"}', "event_type: must be text"),
        (b'{"event_id": "a", "event_type": "b"}', "timestamp: must be a moment in ISO 8601"),
    ],
)
def test_what_is_signed_and_is_no_event_is_refused(receiver: Receiver, body: bytes, error: str) -> None:
    """With a word on what is wrong, for whoever has the secret; the vendor does not repeat it."""
    assert receiver.post(body) == (400, {"error": error})
    assert receiver.post(body, secret=OTHER) == UNSIGNED
    assert receiver.stored() == []


def test_what_is_not_known_is_kept(receiver: Receiver) -> None:
    """Types and fields to come are accepted, and stored as they came, byte by byte."""
    told = {**event("evt_2", "agent.retired"), "data": {"agent": {"id": 7}}, "version": [2, None]}
    bodies = [json.dumps(each).encode() for each in (event(sentiment="good"), told)]
    assert [receiver.post(body) for body in bodies] == [STORED, STORED]
    with receiver.store.reading() as conn:
        kept = conn.execute(select(webhook_events.c.body).order_by(webhook_events.c.seq)).scalars().all()
    assert [receiver.store.digests.unsealed(text) for text in kept] == bodies


def test_either_of_two_secrets_is_right(receiver: Receiver) -> None:
    """While a secret is exchanged, some targets have the new one, and some the old one."""
    receiver.connect(webhook_secret=f"{OTHER},{SECRET}")
    assert [receiver.post(event(name), secret=name) for name in (SECRET, OTHER)] == [STORED, STORED]


def test_a_secret_is_exchanged_without_a_restart(receiver: Receiver) -> None:
    """What is signed with a new secret has the connection read anew, but only every few seconds."""
    assert receiver.post(event("a")) == STORED
    receiver.connect(webhook_secret=f"{OTHER},{SECRET}", later_s=0)
    assert receiver.post(event("b"), secret=OTHER) == UNSIGNED
    receiver.clock.ahead += 5
    assert [receiver.post(event(n), secret=n) for n in (OTHER, SECRET)] == [STORED, STORED]
    receiver.connect(webhook_secret=OTHER)
    assert receiver.post(event("c"), secret=SECRET) == UNSIGNED


def test_whoever_signs_wrong_does_not_have_connections_read_each_time(receiver: Receiver) -> None:
    """Airflow's database is asked once in five seconds, whatever comes."""
    receiver.post(event())
    before = len(receiver.channel.messages)
    assert [receiver.post(event(), secret=OTHER) for _ in range(10)] == [UNSIGNED] * 10
    assert len(receiver.channel.messages) == before


def test_nothing_is_accepted_without_a_secret(receiver: Receiver) -> None:
    """Not even what is signed with an empty one; the log says what is missing, and a repeat is accepted."""
    receiver.connect(webhook_secret="")
    with captured_logs() as lines:
        unsigned = {HEADER: signature(json.dumps(event()).encode(), "")}
        assert receiver.post(event(), headers=unsigned) == (503, {"error": "not stored"})
        assert receiver.post(event())[0] == 503
    assert "webhook_secret: is empty, so no webhook is accepted" in lines.text
    receiver.connect(later_s=5)
    assert receiver.post(event()) == STORED


def test_a_connection_that_is_deleted_receives_nothing_more(receiver: Receiver) -> None:
    """An hour later: until then, Airflow's database may just be down, which Airflow does not tell apart."""
    assert receiver.post(event("a")) == STORED
    del receiver.channel.connections["formant_default"]
    receiver.clock.ahead += 3500
    assert receiver.post(event("b")) == STORED
    receiver.clock.ahead += 200
    with captured_logs() as lines:
        assert receiver.post(event("c"))[0] == 503
    assert "connection 'formant_default' does not exist" in lines.text


def test_webhooks_are_received_while_airflow_s_database_is_down(receiver: Receiver) -> None:
    """What is known of the connections is relied on until they can be read again."""
    assert receiver.post(event("a")) == STORED
    receiver.channel.refused.add("GetConnection")
    for n in range(10):
        receiver.clock.ahead += 300
        assert receiver.post(event(str(n))) == STORED
    assert len(receiver.stored()) == 11


@pytest.mark.parametrize(
    "extra", [{"webhook_secret": "short"}, {"store_secret": ""}, {"store_conn_id": "no"}]
)
def test_a_connection_that_is_wrong_is_named_in_the_log(receiver: Receiver, extra: dict[str, Any]) -> None:
    """With its field, which somebody can mend while the vendor repeats."""
    receiver.connect(**extra)
    with captured_logs() as lines:
        assert receiver.post(event())[0] == 503
    assert next(iter(extra)) in lines.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/webhooks/other"),
        ("POST", "/webhooks/formant_default/"),
        ("POST", "/webhooks/formant_default/x"),
        ("POST", "/webhooks/"),
        ("POST", "/healthz"),
        ("GET", "/webhooks/formant_default"),
        ("PUT", "/webhooks/formant_default"),
        ("OPTIONS", "/webhooks/formant_default"),
        *[("GET", path) for path in ("/", "/webhooks", "/healthz/", "/docs", "/openapi.json", "/events")],
    ],
)
def test_there_is_nothing_else(receiver: Receiver, method: str, path: str) -> None:
    """Connections that were not named do not exist, and no address shows anything."""
    receiver.connect("other")
    body = json.dumps(event()).encode()
    signed = f"{HEADER}: {signature(body)}\r\nContent-Length: {len(body)}\r\nConnection: close"
    answer = receiver.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{signed}\r\n\r\n".encode(), body)
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b'\r\n\r\n{"error":"not found"}')
    assert receiver.stored() == []


def test_each_connection_has_its_own_secret_and_store_row(sqlite: Database) -> None:
    """Two connections may name one store; an event of the one is none of the other."""
    with receiving(sqlite, ("formant_default", "other")) as receiver:
        receiver.connect("other", webhook_secret=OTHER)
        assert receiver.post(event(), conn_id="other") == UNSIGNED
        assert receiver.post(event(), conn_id="other", secret=OTHER) == STORED
        assert receiver.post(event()) == STORED
        assert [each.conn_id for each in receiver.stored()] == ["other", "formant_default"]


def test_nothing_private_is_logged(receiver: Receiver) -> None:
    """Whatever is sent, at DEBUG: no number, no result, no word that was said, no secret, no id."""
    secrets = [
        SECRET,
        OTHER,
        STORE_SECRET,
        NUMBER[1:],
        OWN_NUMBER[1:],
        "promise to pay",
        "said so",
        "Asha",
        "evt_",
    ]
    told = event(results={"intent": "promise to pay"}, transcript="said so")
    with captured_logs() as lines:
        receiver.post(told)
        receiver.post(event("evt_2", f"call.{NUMBER}"))
        receiver.post(told, secret=OTHER)
        receiver.post(told, headers={HEADER: f"sha256={SECRET}"})
        receiver.post({**told, "timestamp": NUMBER})
        receiver.post({**told, "event_id": {"number": NUMBER}})
        receiver.post(told, conn_id=NUMBER)
        receiver.connect(webhook_secret=f"{SECRET},{OTHER},{SECRET}")
        receiver.post(told)
    ours = "\n".join(line for line in lines.raw if "urllib3" not in line)
    assert "Webhook for connection 'formant_default': call.completed" in ours
    assert "Webhook for connection 'formant_default': of another type" in ours
    assert not [secret for secret in secrets if secret in ours]
