"""Whether all call lists of a store are held: they place no call until somebody releases them.

A hold is one of the facts about the store as a whole. Each change of it is an event that tells who made it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from formant_provider.store.events import append_facts, canonical
from formant_provider.store.failures import again
from formant_provider.store.kinds import HELD, RELEASED, STORE, payload_of
from formant_provider.store.schema import events
from formant_provider.store.schema import store as facts
from formant_provider.store.store import DIGEST_KEY, to_moment, to_ms
from formant_provider.store.suppressions import check_text, refuse_number

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.store import Store

HOLD = "hold"
_SHOWN = 10
_HOLD = select(facts.c.value).where(facts.c.name == HOLD)
# There is no row to lock while nothing is held; this one is always there, and rarely changed.
_LOCK = select(facts.c.name).where(facts.c.name == DIGEST_KEY).with_for_update()


@dataclass(frozen=True)
class Held:
    """A hold.

    :param since: aware.
    :param by: who holds, in a word.
    :param reason: why; ``None`` if nobody has said.
    """

    since: datetime
    by: str
    reason: str | None = None

    def __str__(self) -> str:
        text = f"since {self.since:%Y-%m-%d %H:%M} UTC, by {self.by}"
        return f"{text}: {self.reason}" if self.reason else text


def held(store: Store) -> Held | None:
    """Return the hold; ``None`` while there is none.

    :raises SendAborted: the database does not answer.
    """
    with store.reading() as conn:
        return _held(conn)


def hold(store: Store, *, by: str, reason: str | None, now: datetime) -> bool:
    """Let no call list place a call from now on; return whether they could before.

    What is held already stays so, with the reason and date of then.

    :param by: who does it, in a word.
    :param reason: text of at most 250 characters, without a number, or none.
    :raises InvalidInput: the reason is something else.
    :raises SendAborted: the database does not answer.
    """
    if reason is not None:
        check_text("--reason", reason)
        refuse_number("--reason", reason)
    return _change(store, HELD, at=to_ms(now), by=by, reason=reason)


def release(store: Store, *, by: str, now: datetime) -> bool:
    """Let call lists place calls again; return whether they were held.

    :param by: who does it, in a word.
    :raises SendAborted: the database does not answer.
    """
    return _change(store, RELEASED, at=to_ms(now), by=by, reason=None)


def changes(store: Store) -> list[dict[str, Any]]:
    """Return the last changes, the newest first: ``kind``, ``at`` (ISO 8601, UTC), ``by`` and ``reason``.

    :raises SendAborted: the database does not answer.
    """
    wanted = select(events.c.at, events.c.kind, events.c.payload)
    wanted = wanted.where(events.c.subject == STORE, events.c.kind.in_((HELD, RELEASED)))
    with store.reading() as conn:
        found = conn.execute(wanted.order_by(events.c.seq.desc()).limit(_SHOWN)).all()
    return [
        {
            "kind": event.kind,
            "at": to_moment(event.at).isoformat(timespec="seconds"),
            **{name: payload_of(event.payload).get(name) for name in ("by", "reason")},
        }
        for event in found
    ]


@again
def _change(store: Store, kind: str, *, at: int, by: str, reason: str | None) -> bool:
    with store.writing() as conn:
        conn.execute(_LOCK)
        if (_held(conn) is not None) == (kind == HELD):
            return False
        if kind == HELD:
            told = {"at": at, "by": by, "reason": reason}
            conn.execute(insert(facts).values(name=HOLD, value=canonical(told)))
        else:
            conn.execute(delete(facts).where(facts.c.name == HOLD))
        payload = {"by": by, "reason": reason}
        append_facts(conn, store.digests, at=at, kind=kind, payload=payload)
    return True


def _held(conn: Connection) -> Held | None:
    value = conn.execute(_HOLD).scalar()
    if value is None:
        return None
    try:
        told = json.loads(value)
        return Held(to_moment(told["at"]), str(told["by"]), told["reason"] and str(told["reason"]))
    except (KeyError, TypeError, ValueError, OverflowError, OSError):  # somebody has edited it, not released
        return Held(to_moment(0), "somebody who has edited it")
