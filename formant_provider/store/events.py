"""The chain of events: what happened, in an order that nobody can change unseen.

Each event is hashed together with the hash before it, under the key of the store. So whoever can write to the
database, and has no ``store_secret``, cannot edit, delete or move one without :func:`verify` finding it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from formant_provider.store.schema import chain, events

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.secrets import Digests

FIRST_HASH = "0" * 64


def append(
    conn: Connection, digests: Digests, *, at: int, kind: str, subject: str, payload: Mapping[str, Any]
) -> None:
    """Append an event; the last thing in a transaction, since the end of the chain is locked until its end.

    :param at: milliseconds since 1970.
    """
    end = conn.execute(select(chain.c.seq, chain.c.hash).where(chain.c.id == 1).with_for_update()).one()
    seq, text = end.seq + 1, canonical(payload)
    link = digests.chained(end.hash, seq, at, kind, subject, text)
    row = {"seq": seq, "at": at, "kind": kind, "subject": subject, "payload": text, "hash": link}
    conn.execute(insert(events), row)
    conn.execute(update(chain).where(chain.c.id == 1).values(seq=seq, hash=link))


def canonical(payload: Mapping[str, Any]) -> str:
    """Write a payload in the one way in which it is hashed."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
