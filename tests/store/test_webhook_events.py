"""What webhooks have brought, in a real database: once each, in order, and unreadable without the secret."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from formant_provider.api.errors import InvalidInput
from formant_provider.api.webhook_models import WebhookEvent
from formant_provider.store.schema import webhook_events
from formant_provider.store.store import Store
from formant_provider.store.webhook_events import (
    events_after,
    events_of_conversations,
    forget,
    forget_people,
    last_heard,
    last_seq,
    read_cursor,
    seq_before,
    write_cursor,
)
from support.databases import Database
from support.stores import new_store
from support.webhook_events import AT, NUMBER, store_events, webhook


@pytest.fixture
def store(database: Database) -> Store:
    return new_store(database)


def test_an_event_that_is_delivered_again_is_stored_once(store: Store) -> None:
    """By its id; the second delivery may be in the same transaction, or in a later one."""
    assert store_events(store, webhook("a"), webhook("a")) == [True, False]
    assert store_events(store, webhook("a")) == [False]
    assert len(events_after(store, 0).events) == 1


def test_two_targets_that_tell_the_same_are_stored_once(store: Store) -> None:
    """Each target has ids of its own: conversation, type and attempt tell that it is the same."""
    assert store_events(store, webhook("a"), webhook("b")) == [True, False]


def test_attempts_that_share_a_conversation_id_are_each_stored(store: Store) -> None:
    """The vendor does not say whether an id is an attempt's or a chain's."""
    attempts = [webhook(str(n), "call.no_answer", retry={"attempt_number": n}) for n in (1, 2, 3)]
    assert store_events(store, *attempts) == [True, True, True]


def test_attempts_without_a_number_are_told_by_their_beginning(store: Store) -> None:
    """Without ``retry`` two attempts still began at two moments."""
    first = webhook("a", "call.busy", retry=None)
    second = webhook("b", "call.busy", retry=None, started_at="2026-03-18T10:30:00Z")
    assert store_events(store, first, second) == [True, True]


def test_further_calls_that_share_a_conversation_id_are_each_stored(store: Store) -> None:
    """Each has an attempt 1: by its trace id, or by when it began, it is another one."""
    retry = {"attempt_number": 1}
    later = "2026-03-18T11:58:00Z"
    told = [
        webhook("a", retry=retry),
        webhook("b", retry=retry, trace_id="trace_2"),
        webhook("c", retry=retry, started_at=later),
        webhook("d", retry=retry, started_at=later),
    ]
    assert store_events(store, *told) == [True, True, True, False]


def test_attempts_that_say_little_are_told_by_their_end_or_not_at_all(store: Store) -> None:
    """Of two that say neither number nor time nobody knows whether they are one: both are stored."""
    ends = ["2026-03-18T10:00:00Z", "2026-03-18T10:30:00Z", "2026-03-18T10:30:00Z", None, None]
    told = [webhook(str(n), retry=None, started_at=None, ended_at=end) for n, end in enumerate(ends)]
    assert store_events(store, *told) == [True, True, False, True, True]


def test_events_that_name_no_conversation_are_known_by_their_ids_alone(store: Store) -> None:
    """An event of a type to come may tell of something else."""
    events = [{**webhook(name, "agent.updated"), "data": {}} for name in ("a", "b", "a")]
    assert store_events(store, *events) == [True, True, False]


def test_events_are_numbered_in_the_order_of_their_commits(store: Store) -> None:
    """Of many receivers at once, none makes an event appear before one that a reader has passed."""
    seen: list[int] = []

    def deliver(worker: int) -> None:
        for n in range(10):
            store_events(store, webhook(f"{worker}-{n}", conversation_id=f"{worker}-{n}"))

    with ThreadPoolExecutor(4) as threads:
        work = [threads.submit(deliver, worker) for worker in range(4)]
        while len(seen) < 40:
            page = events_after(store, seen[-1] if seen else 0)
            seen += [event.seq for event in page.events]
            if all(job.done() for job in work):
                [job.result() for job in work]
                seen += [event.seq for event in events_after(store, seen[-1] if seen else 0).events]
                break
    assert seen == list(range(1, 41))


def test_a_reader_goes_on_where_it_was(store: Store) -> None:
    """Pages hold as many as are asked for; each says after which number to go on."""
    store_events(store, *(webhook(str(n), conversation_id=str(n), agent_id=n % 2) for n in range(10)))
    first = events_after(store, 0, agent_id=1, limit=3)
    rest = events_after(store, first.seq, agent_id=1, limit=3)
    assert not first.is_last
    assert rest.is_last
    told = [each.event.conversation for each in first.events + rest.events]
    assert [record.conversation_id for record in told if record] == ["1", "3", "5", "7", "9"]
    assert events_after(store, rest.seq, agent_id=1) == ([], rest.seq, True)


def test_events_are_found_by_type_conversation_and_time(store: Store) -> None:
    """What readers ask for, each with a query of its own."""
    store_events(store, webhook("a", conversation_id="x"), received_at=AT)
    store_events(store, webhook("b", "call.busy", conversation_id="y"), received_at=AT + timedelta(hours=1))
    assert [each.seq for each in events_after(store, 0, event_types=["call.busy"]).events] == [2]
    assert [each.seq for each in events_of_conversations(store, ["y", "z", "y"])] == [2]
    assert [seq_before(store, AT + timedelta(minutes=m)) for m in (0, 30, 90)] == [0, 1, 2]
    assert last_heard(store, 456) == AT + timedelta(hours=1)
    assert last_heard(store, 1) is None


def test_a_cursor_never_goes_back(store: Store) -> None:
    """Of two readers under one name, the slower one does not make the faster read again."""
    assert read_cursor(store, "reader") is None
    for seq in (3, 7, 5):
        write_cursor(store, "reader", seq)
    assert read_cursor(store, "reader") == 7


def test_what_is_old_is_deleted_and_numbers_go_on(store: Store) -> None:
    """A reader's cursor stays valid: a number is never given twice."""
    store_events(store, webhook("a", conversation_id="x"))
    assert forget(store, AT + timedelta(seconds=1)) == 1
    store_events(store, webhook("b", conversation_id="y"))
    assert [each.seq for each in events_after(store, 0).events] == [last_seq(store)] == [2]


def test_who_was_forgotten_stays_so_when_an_event_is_delivered_again(store: Store, caplog) -> None:
    """By the same target or another one: digests stay, until they are as old as other events."""
    store_events(store, webhook("a"), webhook("b", conversation_id="y", to_phone="+14155550155"))
    assert forget_people(store, {int(NUMBER)}) == 1
    assert forget_people(store, {int(NUMBER)}) == 0
    assert store_events(store, webhook("a"), webhook("c")) == [False, False]
    assert [each.event.event_id for each in events_after(store, 0).events] == ["b"]
    with store.engine.connect() as conn:
        row = conn.execute(select(webhook_events).where(webhook_events.c.seq == 1)).one()
    assert (row.body, row.recipient, row.trace_id, row.conversation_id) == ("", None, None, None)
    assert not caplog.text
    assert forget(store, AT + timedelta(seconds=1)) == 2


def test_the_database_holds_nothing_that_can_be_read(store: Store) -> None:
    """Neither numbers nor results nor what was said: they are encrypted with a key of the store."""
    store_events(
        store, webhook("event-of-a-call", transcript="said so", results={"intent": "promise to pay"})
    )
    with store.engine.connect() as conn:
        row = str(conn.execute(text("SELECT * FROM formant_webhook_events")).mappings().one())
    assert not [
        secret for secret in (NUMBER, NUMBER[1:], "said so", "promise", "event-of-a-call") if secret in row
    ]
    [stored] = events_after(store, 0).events
    told = stored.event.conversation
    assert told is not None
    assert (told.contact_number, told.transcript) == (NUMBER, "said so")


def test_an_event_that_was_changed_in_the_database_is_left_out(store: Store, caplog) -> None:
    """It is warned of, and holds up no reader."""
    store_events(store, webhook("a", conversation_id="x"), webhook("b", conversation_id="y"))
    with store.engine.begin() as conn:
        conn.execute(update(webhook_events).where(webhook_events.c.seq == 1).values(body="other"))
    page = events_after(store, 0)
    assert ([each.seq for each in page.events], page.seq) == ([2], 2)
    assert "Webhook event 1 of the call store cannot be read" in caplog.text


@pytest.mark.parametrize("body", [b"not json", b"{}", b"[" * 5000])
def test_a_stored_body_that_cannot_be_read_is_left_out(store: Store, caplog, body: bytes) -> None:
    """Another version of this package may have taken it: the rest of its page is read."""
    store_events(store, webhook("a", conversation_id="x"), webhook("b", conversation_id="y"))
    with store.engine.begin() as conn:
        sealed = store.digests.sealed(body)
        conn.execute(update(webhook_events).where(webhook_events.c.seq == 1).values(body=sealed))
    page = events_after(store, 0)
    assert ([each.seq for each in page.events], page.seq) == ([2], 2)
    assert "Webhook event 1 of the call store cannot be read" in caplog.text


@pytest.mark.parametrize(
    "name", ["long " * 100, "nul\x00nul", "lone \ud800 surrogate", "line\nline", "é" * 250]
)
def test_ids_that_no_database_takes_are_stored_all_the_same(store: Store, name: str) -> None:
    """What the vendor sends is no reason to lose an event."""
    assert store_events(store, webhook(name, name, conversation_id=name, trace_id=name)) == [True]
    [stored] = events_of_conversations(store, [name])
    assert stored.event.event_type == name


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("body", b"not json"),
        ("body", b"[]"),
        ("body", b"\xff\xfe"),
        ("body", b"[" * 100_000),
        ("event_id", b'{"event_id": 7, "event_type": "a", "timestamp": "2026-03-18T10:00:00Z"}'),
        ("event_type", b'{"event_id": "a", "event_type": " ", "timestamp": "2026-03-18T10:00:00Z"}'),
        ("timestamp", b'{"event_id": "a", "event_type": "b", "timestamp": "yesterday"}'),
        ("timestamp", b'{"event_id": "a", "event_type": "b", "timestamp": 1773828000}'),
    ],
)
def test_a_body_that_is_no_event_is_refused_by_field(field: str, body: bytes) -> None:
    """The error names what is wrong, and repeats nothing."""
    with pytest.raises(InvalidInput) as refused:
        WebhookEvent.from_body(body)
    assert refused.value.field == field


@pytest.mark.parametrize("data", [None, [], "x", {}, {"call": 1}, {"call": {"agent_id": 10**30}, "retry": 3}])
def test_what_an_event_tells_is_read_leniently(data: object) -> None:
    """Only one sample is documented; what is missing, or of another type, is not known."""
    event = WebhookEvent.from_body(
        b'{"event_id": "a", "event_type": "b", "timestamp": "2026-03-18T10:00:00", "data": %s}'
        % json.dumps(data).encode()
    )
    assert event.conversation is None
    assert event.sent_at == AT
