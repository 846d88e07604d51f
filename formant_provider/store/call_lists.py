"""What a store knows of the calls of a list, many at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import select

from formant_provider.core.call_lists.calls import Attempt, Known
from formant_provider.core.calls.intent import Intent
from formant_provider.store.intents import intent_of
from formant_provider.store.kinds import ENDED, KEPT, payload_of
from formant_provider.store.schema import events, intents

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.store import Store

_AT_ONCE = 1000


def calls_known(store: Store, keys: Collection[str]) -> dict[str, Known]:
    """Return what is known of some calls, by the idempotency key of their first attempt.

    Attempts are over of which a list has written so: an outcome that somebody else has learnt may be followed
    by a further attempt of the platform's.

    :raises SendAborted: the store does not answer.
    """
    found: dict[str, Known] = {}
    with store.reading() as conn:
        for ids in _some(store, keys):
            ended = _ended(conn, list(ids))
            for row in conn.execute(select(intents).where(intents.c.id.in_(ids))).mappings():
                key = ids[row["id"]]
                attempts = ended.get(row["id"], {})
                known = (
                    intent_of(dict(row), Intent, key),
                    tuple(attempts[number] for number in sorted(attempts)),
                )
                found[key] = Known(row["agent_id"], *known)
    return found


def _some(store: Store, keys: Collection[str]) -> Iterator[dict[str, str]]:
    """Yield keys by the ids of their rows, as many as fit into one question."""
    named = [(store.digests.idempotency_key(key), key) for key in keys]
    for start in range(0, len(named), _AT_ONCE):
        yield dict(named[start : start + _AT_ONCE])


def _ended(conn: Connection, ids: Sequence[str]) -> dict[str, dict[int, Attempt]]:
    """Return the attempts that are over, by row and number; what was told last counts."""
    told = select(events.c.subject, events.c.payload)
    told = told.where(events.c.subject.in_(ids), events.c.kind.in_(("outcome", KEPT))).order_by(events.c.seq)
    found: dict[str, dict[int, Attempt]] = defaultdict(dict)
    for event in conn.execute(told):
        with suppress(TypeError):  # somebody has edited it, which is for others to find
            attempt = Attempt.from_json(payload_of(event.payload).get(ENDED) or {})
            found[event.subject][attempt.number] = attempt
    return found
