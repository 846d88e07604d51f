"""Has a task asked from this position before? Then its earlier tries were those of this store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from formant_provider.store.schema import intents

if TYPE_CHECKING:
    from formant_provider.store.store import Store

_PLACE = ("dag_id", "run_id", "task_id", "map_index")
_ASKED = select(intents.c.id).where(*(intents.c[name] == bindparam(f"of_{name}") for name in _PLACE)).limit(1)


def has_asked(store: Store, place: tuple[str, str, str, int]) -> bool:
    """Whether this row of this task, in this run, has asked the store for any call.

    :param place: DAG, run, task and map index.
    :raises SendAborted: the store does not answer.
    """
    named = {f"of_{name}": value for name, value in zip(_PLACE, place, strict=True)}
    with store.reading() as conn:
        return conn.execute(_ASKED, named).first() is not None
