"""Keeps what webhooks have brought, once each, and gives it to whoever reads on from where they were.

Events are numbered in the order in which they were committed, under one lock, so whoever has read up to a
number has read all up to it. An event that is delivered again is known by its id, and one that another target
of the same agent sends under an id of its own by what it tells: conversation, call, type and attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.fernet import InvalidToken
from sqlalchemy import bindparam, delete, func, insert, select, update

from formant_provider.api.errors import InvalidInput
from formant_provider.api.webhook_models import WebhookEvent
from formant_provider.store.failures import again
from formant_provider.store.intents import fitting
from formant_provider.store.schema import LAST_EVENT, cursors, webhook_events
from formant_provider.store.store import to_moment, to_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row, Select

    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 500
_KEYS_AT_ONCE = 500
# Made once: to build a statement takes as long as to run it.
_LAST = select(cursors.c.seq).where(cursors.c.name == LAST_EVENT)
_LOCKED_LAST = _LAST.with_for_update()
_ADD = insert(webhook_events).values({column.name: bindparam(column.name) for column in webhook_events.c})
_EMPTY: dict[str, Any] = {"body": "", "recipient": None, "trace_id": None, "conversation_id": None}
_MOVE = update(cursors).where(cursors.c.name == LAST_EVENT).values(seq=bindparam("new_seq"))


@dataclass(frozen=True)
class Delivery:
    """What came, with a signature that is right.

    :param conn_id: the formant connection to whose address it was sent.
    :param body: as it came; private.
    """

    event: WebhookEvent
    conn_id: str
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True)
class StoredEvent:
    """An event of the store, and its place in the order of their commits."""

    seq: int
    conn_id: str
    received_at: datetime
    event: WebhookEvent


class Page(NamedTuple):
    """Some events, in order.

    :param seq: after which to read on; nothing new lies between the last event and it.
    :param is_last: whether there are no more.
    """

    events: list[StoredEvent]
    seq: int
    is_last: bool


@again
def record(store: Store, deliveries: Sequence[Delivery]) -> list[bool]:
    """Store events in one transaction; return of each whether it was new.

    :raises SendAborted: the store does not answer; none was stored.
    """
    rows = [_row(store, delivery) for delivery in deliveries]
    with store.writing() as conn:
        seq: int = conn.execute(_LOCKED_LAST).scalar_one()
        keys, happenings = _known(conn, rows)
        added = []
        is_new = []
        for row in rows:
            is_new.append(row["event_key"] not in keys and row["happening"] not in happenings)
            if is_new[-1]:
                seq += 1
                added.append({**row, "seq": seq})
                keys.add(row["event_key"])
                happenings |= {row["happening"]} - {None}
        if added:
            conn.execute(_ADD, added)
            conn.execute(_MOVE, {"new_seq": seq})
    return is_new


def last_seq(store: Store) -> int:
    """Return the number of the newest event; 0 when there was none."""
    with store.reading() as conn:
        return conn.execute(_LAST).scalar() or 0


def seq_before(store: Store, moment: datetime) -> int:
    """Return a number before that of every event that came since."""
    first = select(func.min(webhook_events.c.seq)).where(webhook_events.c.received_at >= to_ms(moment))
    with store.reading() as conn:
        seq: int | None = conn.execute(first).scalar()
        return (conn.execute(_LAST).scalar() or 0) if seq is None else seq - 1


def events_after(
    store: Store,
    seq: int,
    *,
    agent_id: int | None = None,
    event_types: Collection[str] = (),
    limit: int = AT_ONCE,
) -> Page:
    """Return the events after a number.

    :param agent_id: ``None`` means of all agents.
    :param event_types: empty means of all types.
    :raises SendAborted: the store does not answer.
    """
    wanted = select(webhook_events).where(webhook_events.c.seq > seq)
    if agent_id is not None:
        wanted = wanted.where(webhook_events.c.agent_id == agent_id)
    if event_types:
        wanted = wanted.where(webhook_events.c.event_type.in_(sorted(event_types)))
    rows = _rows(store, wanted.limit(limit))
    return Page(_events(store, rows), rows[-1].seq if rows else seq, len(rows) < limit)


def events_of_conversations(store: Store, conversation_ids: Iterable[str]) -> list[StoredEvent]:
    """Return all events of these conversations, in order."""
    column = webhook_events.c.conversation_id
    names = [fitting(name) for name in dict.fromkeys(conversation_ids)]
    found: list[StoredEvent] = []
    for start in range(0, len(names), _KEYS_AT_ONCE):
        wanted = select(webhook_events).where(column.in_(names[start : start + _KEYS_AT_ONCE]))
        found += _events(store, _rows(store, wanted))
    return sorted(found, key=lambda each: each.seq)


def last_heard(store: Store, agent_id: int) -> datetime | None:
    """Return when the newest event of an agent came, aware; ``None`` when there is none."""
    mine = webhook_events.c.agent_id == agent_id
    newest = select(webhook_events.c.received_at).where(mine).order_by(webhook_events.c.seq.desc()).limit(1)
    with store.reading() as conn:
        at: int | None = conn.execute(newest).scalar()
    return None if at is None else to_moment(at)


def read_cursor(store: Store, name: str) -> int | None:
    """Return up to which event a reader has come; ``None`` for one that has never said so."""
    with store.reading() as conn:
        return conn.execute(select(cursors.c.seq).where(cursors.c.name == name)).scalar()


@again
def write_cursor(store: Store, name: str, seq: int) -> None:
    """Note up to which event a reader has come. It never goes back."""
    row = cursors.c.name == name
    with store.writing() as conn:
        known = conn.execute(select(cursors.c.seq).where(row).with_for_update()).scalar()
        if known is None:
            conn.execute(insert(cursors).values(name=name, seq=seq))
        elif known < seq:
            conn.execute(update(cursors).where(row).values(seq=seq))


def forget(
    store: Store,
    before: datetime,
    *,
    conn_id: str | None = None,
    besides: Collection[str] = (),
    through: int | None = None,
    most: int | None = None,
) -> int:
    """Delete the events that came before a moment; return how many there were.

    :param conn_id: of which connection; ``None`` means of all but ``besides``.
    :param through: the last number that may be deleted; ``None`` means any.
    :param most: how many to delete at once, the oldest first; ``None`` means all.
    """
    seq = webhook_events.c.seq
    old = [webhook_events.c.received_at < to_ms(before)]
    old += [webhook_events.c.conn_id == fitting(conn_id)] if conn_id is not None else []
    old += [webhook_events.c.conn_id.not_in([fitting(each) for each in besides])] if besides else []
    old += [seq <= through] if through is not None else []
    with store.writing() as conn:
        if most is not None:
            last = conn.execute(select(seq).where(*old).order_by(seq).offset(most - 1).limit(1)).scalar()
            old += [seq <= last] if last is not None else []
        return conn.execute(delete(webhook_events).where(*old)).rowcount


def count_before(store: Store, before: datetime) -> int:
    """Return how many events :func:`forget` would delete now."""
    old = select(func.count()).where(webhook_events.c.received_at < to_ms(before))
    with store.reading() as conn:
        return conn.execute(old).scalar_one()


def forget_people(store: Store, numbers: Collection[int]) -> int:
    """Empty the events of calls to these people, or from them; return how many there were.

    Digests stay: an event that is delivered again is not stored again. All events are read for it.

    :param numbers: each an integer of the digits of E.164.
    """
    emptied, seq, is_last = 0, 0, False
    while not is_last:
        events, seq, is_last = events_after(store, seq)
        theirs = [stored.seq for stored in events if not stored.event.numbers().isdisjoint(numbers)]
        if theirs:
            with store.writing() as conn:
                found = webhook_events.c.seq.in_(theirs)
                emptied += conn.execute(update(webhook_events).where(found).values(_EMPTY)).rowcount
    return emptied


def _row(store: Store, delivery: Delivery) -> dict[str, Any]:
    event, digests, told = delivery.event, store.digests, delivery.event.conversation
    number = told.contact_number if told else None
    return {
        "event_key": digests.webhook_event(delivery.conn_id, event.event_id),
        "happening": digests.happening(delivery.conn_id, *parts) if (parts := _happening(event)) else None,
        "conn_id": fitting(delivery.conn_id),
        "event_type": fitting(event.event_type),
        "agent_id": told.agent_id if told else None,
        "trace_id": fitting(told.trace_id) if told and told.trace_id else None,
        "conversation_id": fitting(told.conversation_id) if told else None,
        "recipient": digests.recipient(number) if number else None,
        "sent_at": to_ms(event.sent_at),
        "received_at": to_ms(delivery.received_at),
        "body": digests.sealed(delivery.body),
    }


def _happening(event: WebhookEvent) -> tuple[object, ...]:
    """Return what an event tells, if that can be told from what another one tells.

    All attempts of a call, and further calls to the same person, may share one conversation id.
    """
    told, number = event.conversation, event.attempt.number
    if told is None:
        return ()
    at = told.end_timestamp if told.start_timestamp is None else told.start_timestamp
    if number is None and at is None:
        return ()
    return told.conversation_id, event.event_type, told.trace_id, number, at


def _known(conn: Connection, rows: Sequence[dict[str, Any]]) -> tuple[set[str], set[str]]:
    """Return the keys, and the happenings, of these rows that are stored."""
    keys, happenings = webhook_events.c.event_key, webhook_events.c.happening
    found: tuple[set[str], set[str]] = (set(), set())
    for column, name, known in ((keys, "event_key", found[0]), (happenings, "happening", found[1])):
        wanted = [row[name] for row in rows if row[name] is not None]
        if wanted:
            known.update(conn.execute(select(column).where(column.in_(wanted))).scalars())
    return found


def _rows(store: Store, wanted: Select[Any]) -> Sequence[Row[Any]]:
    with store.reading() as conn:
        return conn.execute(wanted.order_by(webhook_events.c.seq)).all()


def _events(store: Store, rows: Iterable[Row[Any]]) -> list[StoredEvent]:
    return [event for row in rows if (event := _event(store, row)) is not None]


def _event(store: Store, row: Row[Any]) -> StoredEvent | None:
    if not row.body:
        return None
    try:
        event = WebhookEvent.from_body(store.digests.unsealed(row.body))
    except InvalidToken:
        log.warning("Webhook event %s of the call store cannot be read: it was changed there.", row.seq)
        return None
    except InvalidInput as error:  # another version of this package has taken it
        log.warning("Webhook event %s of the call store cannot be read: %s.", row.seq, error)
        return None
    return StoredEvent(row.seq, row.conn_id, to_moment(row.received_at), event)
