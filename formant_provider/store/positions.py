"""What the store knows of a position: one row of a task, in a run, whose tries may ask for different calls.

The first of them has none before it. If it asked a store that knew of its whole run, those that ask later
vouch for each other, as far as nothing tells of a try that had no store.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from formant_provider.store.schema import intents

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_AT_ONCE = 1000  # a database takes so many parameters at least
_PLACE = ("dag_id", "run_id", "task_id", "map_index")
_OF_POSITION = [intents.c[name] == bindparam(f"of_{name}") for name in _PLACE]
_KNEW_ALL = select(intents.c.id).where(*_OF_POSITION, intents.c.knew_all.is_(True)).limit(1)
_COUNT = select(func.count()).where(intents.c.id.in_(bindparam("ids", expanding=True)))


def knew_all(store: Store, place: tuple[str, str, str, int]) -> bool:
    """Whether a try of this position has asked the store that knew of all tries before it.

    :param place: DAG, run, task and map index.
    :raises SendAborted: the store does not answer.
    """
    named = {f"of_{name}": value for name, value in zip(_PLACE, place, strict=True)}
    with store.reading() as conn:
        return conn.execute(_KNEW_ALL, named).first() is not None


def knows(store: Store, keys: Collection[str]) -> bool:
    """Whether all these calls, or batch calls, are in the store.

    :param keys: the idempotency key of the first attempt of each.
    :raises SendAborted: the store does not answer.
    """
    ids = sorted({store.digests.idempotency_key(key) for key in keys})
    if not ids:
        return True
    some = [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
    with store.reading() as conn:
        return sum(int(conn.execute(_COUNT, {"ids": each}).scalar_one()) for each in some) == len(ids)
