"""Events are forwarded to a queue: each at least once, none when it would be lost, and nothing private."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.store.store import Store, open_up
from formant_provider.store.webhook_events import record
from formant_provider.webhooks.forwarding import Forwarder, forwarder_to
from formant_provider.webhooks.queues import queue_of
from support.log_capture import captured_logs
from support.queues import PASSWORD, RedisServer, redis_server, sqs
from support.stores import SECRET, sqlite_store
from support.webhook_events import NUMBER, delivery, store_events, webhook

ACCOUNT = "123456789012"


@pytest.fixture
def store() -> Iterator[Store]:
    with sqlite_store() as database:
        yield open_up(database.engine(), "the test", SECRET)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def bring(store: Store, *names: str, **changed: Any) -> None:
    store_events(store, *(webhook(name, conversation_id=name, trace_id=name, **changed) for name in names))


def told(messages: list[dict[str, Any]]) -> list[str]:
    return [message["event_id"] for message in messages]


class Listener:
    """A subscriber of a channel, as common-messaging's trigger is one."""

    def __init__(self, server: RedisServer, channel: str) -> None:
        self._pubsub = server.client().pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(channel)
        self._pubsub.get_message(timeout=60)

    def messages(self) -> list[dict[str, Any]]:
        found = []
        while message := self._pubsub.get_message(timeout=0.2):
            found.append(json.loads(message["data"]))
        return found


def test_what_is_published_is_public_and_in_order(server: RedisServer, store: Store) -> None:
    """From the first start on; the results that the URL names, and of one conversation by attempt."""
    forwarder = forwarder_to(f"{server.url}?channel=calls&results=intent,payment.date")
    bring(store, "old")
    assert not forwarder.advance(store)
    listener = Listener(server, "calls")
    bring(store, "a", transcript="hello Asha", results={"intent": "pay", "payment": {"date": "2026-04-01"}})
    attempts = [
        webhook(f"try {n}", "call.busy", conversation_id=str(n), retry={"attempt_number": n}) for n in (2, 1)
    ]
    store_events(store, *attempts)
    assert not forwarder.advance(store)
    assert not forwarder.advance(store)
    messages = listener.messages()
    assert told(messages) == ["a", "try 1", "try 2"]
    assert messages[0]["results"] == {"intent": "pay", "payment.date": "2026-04-01"}
    assert not any(each in json.dumps(messages) for each in (NUMBER[1:], "Asha"))


def test_nothing_is_published_while_nobody_listens(server: RedisServer, store: Store) -> None:
    """A message without a listener is lost, so it waits in the store until there is one."""
    now = [0.0]
    queue = queue_of(f"{server.url}?channel=quiet")
    forwarder = Forwarder(queue, clock=lambda: now[0])
    forwarder.advance(store)
    bring(store, "a", "b")
    with captured_logs() as lines:
        for now[0] in (0.0, 5.0, 10.0):
            assert not forwarder.advance(store)
        listener = Listener(server, "quiet")
        now[0] = 100.0
        forwarder.advance(store)
    assert told(listener.messages()) == ["a", "b"]
    assert lines.text.count("nobody listens") == 1
    assert lines.text.count("again") == 1


def test_an_outage_of_the_queue_is_waited_for_longer_each_time_and_logged_once(
    server: RedisServer, store: Store
) -> None:
    """Nothing is lost, and the password of the URL is in no log."""
    now = [0.0]
    queue = queue_of(f"{server.url}?channel=calls")
    forwarder = Forwarder(queue, clock=lambda: now[0])
    forwarder.advance(store)
    bring(store, "a")
    server.kill()
    with captured_logs() as lines:
        for now[0] in (0.0, 0.5, 1.0, 2.0, 3.0):
            assert not forwarder.advance(store)
        assert forwarder._again_at == 3.0 + 4.0
        server.start()
        listener = Listener(server, "calls")
        now[0] = 60.0
        forwarder.advance(store)
    assert told(listener.messages()) == ["a"]
    assert lines.text.count("wait to be forwarded") == 1
    assert PASSWORD not in lines.text
    assert PASSWORD not in forwarder.name


def test_a_receiver_that_starts_again_goes_on_where_it_was(server: RedisServer, store: Store) -> None:
    """Also when the password in the URL has changed meanwhile; pages come one after another."""
    url = f"{server.url}?channel=calls"
    forwarder_to(url).advance(store)
    listener = Listener(server, "calls")
    bring(store, *(str(n) for n in range(600)))
    assert forwarder_to(url).advance(store)
    assert not forwarder_to(url).advance(store)
    assert told(listener.messages()) == [str(n) for n in range(600)]
    assert forwarder_to(url).name == forwarder_to(url.replace(PASSWORD, "another")).name


def test_only_events_of_the_connections_that_are_received_for_are_forwarded(
    server: RedisServer, store: Store
) -> None:
    """A store may be shared with others."""
    forwarder = forwarder_to(f"{server.url}?channel=mine", conn_ids=["mine"])
    forwarder.advance(store)
    listener = Listener(server, "mine")
    record(store, [delivery(webhook(each), conn_id=each) for each in ("other", "mine")])
    record(store, [delivery(webhook("check", "formant.check", conversation_id="none"), conn_id="mine")])
    forwarder.advance(store)
    assert told(listener.messages()) == ["mine"]


class ListQueue:
    """A queue that takes everything."""

    where, at_once = "a list", 10

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, messages: Sequence[tuple[dict[str, Any], str]]) -> None:
        self.sent += [payload for payload, _ in messages]


def test_two_receivers_of_other_connections_forward_from_one_store_to_one_queue(store: Store) -> None:
    """Each goes on where it was itself: what the one passes over is the other's."""
    queue = ListQueue()
    forwarders = [Forwarder(queue, conn_ids=names) for names in (["a"], ["b", "c"])]
    for each in forwarders:
        each.advance(store)
    record(store, [delivery(webhook(name, conversation_id=name), conn_id=name) for name in "abc"])
    for each in [*forwarders, Forwarder(queue, conn_ids=["c", "b", "c"])]:
        each.advance(store)
    assert told(queue.sent) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["calls", "calls.fifo"])
def test_events_are_sent_to_sqs(monkeypatch: pytest.MonkeyPatch, store: Store, name: str) -> None:
    """Ten at once; a FIFO queue keeps the order of each conversation, and what comes twice is known to it."""
    attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    with sqs(monkeypatch) as client:
        forwarder = forwarder_to(f"sqs://eu-west-1/{ACCOUNT}/{name}?results=intent")
        forwarder.advance(store)
        bring(store, *(str(n) for n in range(25)))
        with captured_logs() as lines:
            assert not forwarder.advance(store)  # there is no such queue yet
        assert "NonExistentQueue" in lines.text or "QueueDoesNotExist" in lines.text
        url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        forwarder._again_at = 0
        assert not forwarder.advance(store)
        found: list[dict[str, Any]] = []
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"]) for message in messages]
            for message in messages:
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sorted(told(found), key=int) == [str(n) for n in range(25)]
    assert found[0]["results"] == {"intent": "pay"}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kafka://host/topic",
        "redis://host:6379/0",
        f"redis://user:{PASSWORD}@host:nonsense/0?channel=x",
        f"redis://user:{PASSWORD}@host/0?channel=x&nonsense_option=1",
        "redis:///0?channel=x",
        "sqs://eu-west-1/queue",
        "https://example.com/123/queue",
    ],
)
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    """Before anything is received, and without a password in the error."""
    if "option" in url:
        pytest.importorskip("redis")
    with pytest.raises(InvalidInput, match="forward") as refused:
        forwarder_to(url)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("redis://host?channel=x", "redis", "[redis]"), (f"sqs://eu-west-1/{ACCOUNT}/q", "boto3", "[sqs]")],
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str
) -> None:
    """With how to install it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidInput) as refused:
        forwarder_to(url)
    assert extra in str(refused.value)


def test_the_url_of_a_queue_names_its_region_and_account() -> None:
    """As the console shows it; both forms lead to the same queue."""
    pytest.importorskip("boto3")
    long = queue_of(f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/calls")
    assert long.where == queue_of(f"sqs://eu-west-1/{ACCOUNT}/calls").where
