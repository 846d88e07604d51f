"""Bodies that are too large, too slow or too many, and a store that does not answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from formant_provider.webhooks.bodies import Limits
from support.databases import Database, postgres_database
from support.log_capture import captured_logs
from support.stores import new_store
from support.webhook_server import Receiver, event, receiving, signature, wait_until

KNOWN, STORED = (200, {"status": "known"}), (200, {"status": "stored"})
NOT_STORED = (503, {"error": "not stored"})
MIB = 1024 * 1024


@contextmanager
def held_up(database: Database) -> Iterator[threading.Event]:
    """Let nobody write to a store until the event is set, or the ``with`` statement ends."""
    release, holds = threading.Event(), threading.Event()

    def hold() -> None:
        with database.engine().begin() as conn:
            if database.kind == "postgres":
                conn.execute(text("LOCK TABLE formant_cursors IN EXCLUSIVE MODE"))
            holds.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(10)
    try:
        yield release
    finally:
        release.set()
        thread.join()


def head(length: int | None, *more: str) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /webhooks/formant_default HTTP/1.1", "Host: x", size, *more]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def padded(size: int) -> bytes:
    """An event of just so many bytes."""
    body = json.dumps(event(transcript="")).encode()
    return body.replace(b'"transcript": ""', b'"transcript": "%s"' % (b"x" * (size - len(body))))


def test_a_body_may_have_a_mebibyte(receiver: Receiver) -> None:
    """And not a byte more, whoever has signed it."""
    assert receiver.post(padded(MIB)) == STORED
    assert receiver.post(padded(MIB + 1)) == (413, {"error": "body"})
    assert len(receiver.stored()) == 1


def test_what_says_that_it_is_too_large_is_not_read(receiver: Receiver) -> None:
    """The answer is there before the body."""
    assert receiver.raw(head(10**15)).startswith(b"HTTP/1.1 413")


def test_a_body_in_chunks_is_counted_while_it_comes(receiver: Receiver) -> None:
    """It does not say how long it is; and a small one is accepted."""
    body = padded(700_000)
    sent = head(None, f"X-FormantAI-Signature: {signature(body)}"), chunk(body[:99]), chunk(body[99:])
    assert receiver.raw(*sent, b"0\r\n\r\n").endswith(b'{"status":"stored"}')
    assert receiver.raw(head(None), *[chunk(body)] * 2).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come_is_not_waited_for(sqlite: Database) -> None:
    """Whether nothing comes, or a byte from time to time."""
    with receiving(sqlite, limits=Limits(body_s=0.3)) as receiver:
        assert receiver.raw(head(100)).startswith(b"HTTP/1.1 408")
        assert receiver.raw(head(100), *[b"{"] * 8, pause_s=0.06).startswith(b"HTTP/1.1 408")
        assert receiver.post(event()) == STORED


def test_whoever_goes_away_leaves_nothing(receiver: Receiver) -> None:
    """A body that was cut off is no event, and the next one is accepted."""
    with captured_logs() as lines, pytest.raises(TimeoutError):
        receiver.raw(head(100), b"{", pause_s=0.05, timeout_s=0.1)
    assert receiver.post(event()) == STORED
    assert "Traceback" not in lines.text


def test_a_slow_store_is_not_waited_for_longer_than_the_vendor_waits(database: Database) -> None:
    """It is answered 503, which the vendor repeats; the repeat is stored, or known if the first one was."""
    new_store(database)
    with receiving(database, limits=Limits(store_s=0.8)) as receiver:
        wait_until(lambda: receiver.post(event("a")) in (STORED, KNOWN))  # the store is open from here on
        with held_up(database), captured_logs() as lines:
            assert receiver.post(event("b")) == NOT_STORED
            assert receiver.post(event("c")) == NOT_STORED
        assert "not stored within 0.8 seconds" in lines.text
        assert receiver.post(event("b")) in (STORED, KNOWN)
        assert receiver.post(event("c")) in (STORED, KNOWN)
        assert [each.event.event_id for each in receiver.stored()] == ["a", "b", "c"]


def test_more_than_fits_is_refused_at_once(sqlite: Database) -> None:
    """While the store is slow, requests neither pile up in memory nor wait; those in hand are stored."""
    new_store(sqlite)
    with receiving(sqlite, limits=Limits(in_hand=3)) as receiver, ThreadPoolExecutor(6) as threads:
        receiver.post(event("first"))
        with held_up(sqlite) as release:
            sent = [threads.submit(receiver.post, event(str(n))) for n in range(6)]
            wait_until(lambda: sum(each.done() for each in sent) == 3)
            release.set()
            answers = sorted(each.result()[0] for each in sent)
        assert answers == [200] * 3 + [503] * 3
        assert receiver.post(event("more")) == STORED


def test_large_bodies_together_have_a_limit(sqlite: Database) -> None:
    """Many of them at once are refused as well, though each of them is small enough."""
    with receiving(sqlite, limits=Limits(in_hand_bytes=MIB // 2)) as receiver:
        assert receiver.post(padded(MIB))[0] == 503
        assert receiver.post(padded(MIB // 4)) == STORED


def test_a_database_that_comes_back_is_used(receiver_on_postgres: tuple[Receiver, Database]) -> None:
    """While it is down events are answered 503, and after it they are stored: nothing is to be restarted."""
    receiver, database = receiver_on_postgres
    assert database.server is not None
    assert (receiver.post(event("a")), receiver.get("/healthz").status_code) == (STORED, 200)
    database.server.kill()
    with captured_logs() as lines:
        assert receiver.post(event("b")) == NOT_STORED
        wait_until(lambda: receiver.get("/healthz").status_code == 503)
    assert "Webhook for connection 'formant_default': answered 503: The call store" in lines.text
    database.server.start()
    assert receiver.post(event("b")) == STORED
    wait_until(lambda: receiver.get("/healthz").status_code == 200)
    assert receiver.post(event("a")) == KNOWN


@pytest.fixture
def receiver_on_postgres() -> Iterator[tuple[Receiver, Database]]:
    with postgres_database() as database, receiving(database) as receiver:
        yield receiver, database


def test_health_says_whether_the_store_answers_and_nothing_else(receiver: Receiver) -> None:
    """To whoever asks: no name, no version, no number."""
    answer = receiver.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"")
    receiver.connect(store_secret="")
    wait_until(lambda: receiver.get("/healthz").status_code == 503)
    assert receiver.get("/healthz").content == b""
