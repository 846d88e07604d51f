"""The chain of events: what happened, in an order that nobody can change unseen.

Each event is hashed together with the hash before it, under the key of the store. So whoever can write to the
database, and has no ``store_secret``, cannot edit, delete or move one without :func:`verify` finding it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from formant_provider.store.kinds import BASE, FACTS, STORE
from formant_provider.store.schema import chain, events
from formant_provider.store.store import facts_in

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.secrets import Digests

# Made once: to build a statement takes as long as to run it.
_END = select(chain.c.seq, chain.c.hash).where(chain.c.id == 1).with_for_update()
_BASE = select(chain.c.base_seq, chain.c.base_hash).where(chain.c.id == 1).with_for_update()
_ADD = insert(events).values({column.name: bindparam(column.name) for column in events.c})
_MOVE = update(chain).where(chain.c.id == 1).values(seq=bindparam("seq"), hash=bindparam("hash"))
_ADD_AND_MOVE = _MOVE.add_cte(_ADD.cte("added"))


def append(
    conn: Connection, digests: Digests, *, at: int, kind: str, subject: str, payload: Mapping[str, Any]
) -> None:
    """Append an event; the last thing in a transaction, since the end of the chain is locked until its end.

    :param at: milliseconds since 1970.
    """
    end = conn.execute(_END).one()
    seq, text = end.seq + 1, canonical(payload)
    link = digests.chained(end.hash, seq, at, kind, subject, text)
    event = {"seq": seq, "at": at, "kind": kind, "subject": subject, "payload": text, "hash": link}
    if conn.dialect.name == "postgresql":  # one way to the server less
        conn.execute(_ADD_AND_MOVE, event)
    else:
        conn.execute(_ADD, event)
        conn.execute(_MOVE, {"seq": seq, "hash": link})


def append_all(
    conn: Connection,
    digests: Digests,
    *,
    at: int,
    kind: str,
    payloads: Iterable[tuple[str, Mapping[str, Any]]],
) -> None:
    """Append many events of one kind, as :func:`append` does, under one lock of the chain.

    :param payloads: the subject of each, and its payload.
    """
    end = conn.execute(_END).one()
    seq, link = end.seq, end.hash
    added: list[dict[str, Any]] = []
    for subject, payload in payloads:
        seq, text = seq + 1, canonical(payload)
        link = digests.chained(link, seq, at, kind, subject, text)
        added.append({"seq": seq, "at": at, "kind": kind, "subject": subject, "payload": text, "hash": link})
    if added:
        conn.execute(_ADD, added)
        conn.execute(_MOVE, {"seq": seq, "hash": link})


def append_facts(
    conn: Connection, digests: Digests, *, at: int, kind: str, payload: Mapping[str, Any]
) -> None:
    """Append an event that tells the facts about the store as a whole, while nobody else can tell any.

    :param kind: one of those that :func:`verify` takes the facts from.
    """
    base = list(conn.execute(_BASE).one())
    payload = {**payload, FACTS: facts_in(conn), BASE: base}
    append(conn, digests, at=at, kind=kind, subject=STORE, payload=payload)


def canonical(payload: Mapping[str, Any]) -> str:
    """Write a payload in the one way in which it is hashed."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
