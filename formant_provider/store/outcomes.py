"""Writes down how calls ended, for whoever asks later what came of them, and for the pace."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from formant_provider.store.events import append
from formant_provider.store.failures import again
from formant_provider.store.intents import as_event
from formant_provider.store.schema import NAME_LENGTH, intents
from formant_provider.store.store import to_ms

if TYPE_CHECKING:
    from formant_provider.store.store import Store


@again
def record_outcome(
    store: Store,
    *,
    trace_id: str | None,
    conversation_id: str | None,
    outcome: str,
    ended_at: datetime | None,
    now: datetime,
) -> bool:
    """Write down how the call ended that has one of these ids; return whether the store knows it.

    :param outcome: the status of its conversation.
    :param ended_at: when that ended, aware; ``None`` if unknown, which means now.
    :raises SendAborted: the store does not answer.
    """
    ids = {"trace_id": trace_id, "conversation_id": conversation_id}
    same = [intents.c[name] == value for name, value in ids.items() if value]
    if not same:
        return False
    with store.writing() as conn:
        row = conn.execute(select(intents).where(or_(*same)).with_for_update()).mappings().first()
        if row is None:
            return False
        changed = {
            "outcome": outcome[:NAME_LENGTH],
            "outcome_at": to_ms(ended_at or now),
            "conversation_id": conversation_id or row["conversation_id"],
        }
        if all(row[name] == value for name, value in changed.items()):
            return True
        newer = {**row, **changed, "version": row["version"] + 1}
        conn.execute(update(intents).where(intents.c.id == row["id"]).values(newer))
        append(conn, store.digests, at=to_ms(now), kind="outcome", subject=row["id"], payload=as_event(newer))
    return True
