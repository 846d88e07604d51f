"""The statements that a ledger makes about its row, built once: to build one takes as long as to run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from formant_provider.api.errors import Superseded
from formant_provider.store.intents import CHANGING
from formant_provider.store.kinds import payload_of
from formant_provider.store.schema import calls, events, intents

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INSERT = insert(intents)
_FIND = select(intents).where(intents.c.id == bindparam("of_id"))
_LOCK = _FIND.with_for_update()
_IDS_OF_OTHERS = select(intents.c.trace_id, intents.c.conversation_id).where(
    intents.c.recipient == bindparam("of_recipient"), intents.c.id != bindparam("of_id")
)
# A row tells the ids of its newest attempt alone.
_REDIALLED = (
    select(calls.c.intent_id)
    .join(intents, intents.c.id == calls.c.intent_id)
    .where(intents.c.recipient == bindparam("of_recipient"), intents.c.id != bindparam("of_id"))
)
_TOLD_OF_REDIALLED = select(events.c.payload).where(events.c.subject.in_(_REDIALLED))
_UPDATE = (
    update(intents)
    .where(intents.c.id == bindparam("of_id"), intents.c.version == bindparam("of_version"))
    .values({name: bindparam(name) for name in CHANGING})
)
_STAY = (
    update(intents)
    .where(intents.c.id == bindparam("of_id"), intents.c.sending_by == bindparam("of_process"))
    .values(sending_until=bindparam("sending_until"))
)


def find_row(conn: Connection, intent_id: str, *, locks: bool = False) -> dict[str, Any] | None:
    """Return the row as it is; ``None`` when there is none.

    :param locks: whether nobody may change it until the transaction ends.
    """
    found = conn.execute(_LOCK if locks else _FIND, {"of_id": intent_id}).mappings().first()
    return None if found is None else dict(found)


def insert_row(conn: Connection, row: Mapping[str, Any]) -> None:
    """Insert the row.

    :raises Superseded: there is one.
    """
    is_known = False
    try:
        conn.execute(_INSERT, row)
    except IntegrityError:
        is_known = True
    if is_known:  # outside of the ``except``, so that no text of the database's goes along
        raise superseded()


def update_row(conn: Connection, intent_id: str, version: int, changed: Mapping[str, Any]) -> None:
    """Update the row that was read.

    :raises Superseded: it has been changed since, or deleted.
    """
    if conn.execute(_UPDATE, {**changed, "of_id": intent_id, "of_version": version}).rowcount != 1:
        raise superseded()


def prolong(conn: Connection, intent_id: str, process: str, until: int) -> None:
    """Leave a process that is at work on the row more time.

    :param until: milliseconds since 1970.
    :raises Superseded: another one has taken over.
    """
    named = {"of_id": intent_id, "of_process": process, "sending_until": until}
    if conn.execute(_STAY, named).rowcount != 1:
        raise superseded()


def ids_of_others(conn: Connection, intent_id: str, recipient: str) -> set[str]:
    """Return trace ids and conversations of all other rows about a recipient, of each attempt."""
    named = {"of_recipient": recipient, "of_id": intent_id}
    found = [tuple(row) for row in conn.execute(_IDS_OF_OTHERS, named)]
    for text in conn.execute(_TOLD_OF_REDIALLED, named).scalars():
        told = payload_of(text)
        found.append((told.get("trace_id"), told.get("conversation_id")))
    return {id_ for ids in found for id_ in ids if id_}


def superseded() -> Superseded:
    """Return the error of a process that no longer has the row in hand."""
    return Superseded("Another process has this call in hand")
