"""The rows of the people of a batch call: one for each upload that they are in, since each may call them.

Those of a first upload count from when they are reserved. An upload that may have been accepted is never
taken back, so a further one is an attempt of its own, whose people count for good once it is claimed, and
which can be given back alone until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, false, func, select, update

from formant_provider.store.schema import calls

if TYPE_CHECKING:
    from sqlalchemy import Connection

_OWN = calls.c.intent_id == bindparam("of_id")
_IS_RESERVED = calls.c.counted == false()
_LAST = select(func.max(calls.c.attempt)).where(_OWN)
_PEOPLE = select(calls.c.recipient).where(_OWN)
_COUNT = update(calls).where(_OWN, _IS_RESERVED).values(counted=True)
_GIVE_BACK = delete(calls).where(_OWN)
_GIVE_BACK_RESERVED = _GIVE_BACK.where(_IS_RESERVED)


def next_upload(conn: Connection, intent_id: str) -> int:
    """Return the number of a further upload, from 1."""
    return int(conn.execute(_LAST, {"of_id": intent_id}).scalar() or 0) + 1


def people_of(conn: Connection, intent_id: str) -> list[str]:
    """Return who is called by the uploads up to now, and by the one that is reserved; once for each."""
    return list(conn.execute(_PEOPLE, {"of_id": intent_id}).scalars())


def count_people(conn: Connection, intent_id: str) -> None:
    """Let those of a further upload count as called, since it is sent now."""
    conn.execute(_COUNT, {"of_id": intent_id})


def give_back(conn: Connection, intent_id: str, *, was_sent: bool) -> None:
    """Delete what is reserved.

    :param was_sent: whether an upload may have been accepted, whose people stay.
    """
    conn.execute(_GIVE_BACK_RESERVED if was_sent else _GIVE_BACK, {"of_id": intent_id})
