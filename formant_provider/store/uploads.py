"""The rows of the people of a batch call: one for each person, of the first upload that they are in.

Those of a first upload count from when they are reserved. An upload that may have been accepted is never
taken back, so a further one is an attempt of its own, whose people count for good once it is claimed, and
which can be given back alone until then. Who is in both has a row already, which tells of the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, false, func, select, update

from formant_provider.store.bulk import among
from formant_provider.store.schema import calls

if TYPE_CHECKING:
    from sqlalchemy import Connection

_OWN = calls.c.intent_id == bindparam("of_id")
_IS_RESERVED = calls.c.counted == false()
# Also those of a process that died, whose marks are still there.
_LAST = select(func.max(calls.c.upload)).where(_OWN)
_PEOPLE = select(calls.c.recipient).where(_OWN)
_COUNT = update(calls).where(_OWN).values(counted=True, call_at=bindparam("at"))
_GIVE_BACK = delete(calls).where(_OWN)
_GIVE_BACK_RESERVED = _GIVE_BACK.where(_IS_RESERVED)


def next_upload(conn: Connection, intent_id: str) -> int:
    """Return the number of a further upload, from 1."""
    return int(conn.execute(_LAST, {"of_id": intent_id}).scalar() or 0) + 1


def who_is_new(conn: Connection, intent_id: str, recipients: Sequence[str], upload: int) -> list[str]:
    """Return, in their order, those who are in no upload up to now; the others' rows tell of this one."""
    theirs = among(calls.c.recipient, conn.dialect.name), calls.c.counted
    named = {"of_id": intent_id, "recipients": list(recipients)}
    found = set(conn.execute(_PEOPLE.where(*theirs), named).scalars())
    if found:
        conn.execute(update(calls).where(_OWN, *theirs).values(upload=upload), named)
    return [one for one in recipients if one not in found]


def count_people(conn: Connection, intent_id: str, at: int) -> None:
    """Let those of a further upload count as called when it is sent, and whoever may be in it as well.

    :param at: milliseconds since 1970.
    """
    conn.execute(_COUNT, {"of_id": intent_id, "at": at})


def give_back(conn: Connection, intent_id: str, *, was_sent: bool) -> None:
    """Delete what is reserved.

    :param was_sent: whether an upload may have been accepted, whose people stay.
    """
    conn.execute(_GIVE_BACK_RESERVED if was_sent else _GIVE_BACK, {"of_id": intent_id})
