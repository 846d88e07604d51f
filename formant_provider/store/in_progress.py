"""Which calls are in progress, for ``max_concurrent_calls``: placed or in doubt, and not known to be over.

A call is over once its outcome is in the store: written by whoever waits for it, or by whoever finds the
limit reached and asks the API. Nobody may ever say how it ended, so it counts for an hour at most. A
scheduled call counts from its time on, since that is when it occupies a line.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, or_, select

from formant_provider.core.conversations.over import Going
from formant_provider.store.intents import CALL, COUNTED
from formant_provider.store.schema import intents, turns
from formant_provider.store.store import to_moment

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

# The vendor names no longest call, and its samples last for minutes. A longer assumption would hold up others
# for longer when nobody learns how a call ended; a shorter one would take a long talk for ended.
LONGEST_CALL_MS = 3_600_000
# The clocks of workers, which ``call_at`` comes from, may be ahead by so much.
_AHEAD_MS = 60_000
# Who said to be back then, and is not, is dead. A deferred task is back within a minute, if Airflow keeps up.
_DEAD_AFTER_MS = 60_000
_LAST = 2**62


def occupied(conn: Connection, clock: Any, account: str, intent_id: str, came_at: int | None) -> int:
    """Return how many calls are in progress or come before this one.

    :param clock: the database's, in SQL.
    :param came_at: since when this call waits; ``None`` when it does not, so that all who wait come before.
    """
    named = {"of_account": account, "of_id": intent_id, "came": _LAST if came_at is None else came_at}
    return int(conn.execute(_occupied(clock), named).scalar_one())


def going(conn: Connection, clock: Any, account: str) -> list[Going]:
    """Return the calls in progress that the API can tell the end of: those with a receipt."""
    wanted = select(intents.c.agent_id, intents.c.trace_id, intents.c.conversation_id, intents.c.call_at)
    rows = conn.execute(wanted.where(_is_in_progress(clock)), {"of_account": account})
    return [
        Going(row.agent_id, row.trace_id, row.conversation_id, to_moment(row.call_at))
        for row in rows
        if row.trace_id or row.conversation_id
    ]


def settled(conn: Connection, clock: Any, account: str) -> set[str]:
    """Return the conversations of calls that are known to be over."""
    ids = select(intents.c.conversation_id).where(
        intents.c.account == account,
        intents.c.call_at > clock - 2 * LONGEST_CALL_MS,
        intents.c.conversation_id.is_not(None),
        intents.c.outcome_at.is_not(None),
    )
    return set(conn.execute(ids).scalars())


@functools.cache
def _occupied(clock: Any) -> Any:
    others = select(func.count()).where(_is_in_progress(clock), intents.c.id != bindparam("of_id"))
    before = select(func.count()).where(
        turns.c.account == bindparam("of_account"),
        turns.c.intent_id != bindparam("of_id"),
        or_(
            turns.c.came_at < bindparam("came"),
            (turns.c.came_at == bindparam("came")) & (turns.c.intent_id < bindparam("of_id")),
        ),
        turns.c.back_at > clock - _DEAD_AFTER_MS,
    )
    return select(others.scalar_subquery() + before.scalar_subquery())


def _is_in_progress(clock: Any) -> ColumnElement[bool]:
    call_at, over_at = intents.c.call_at, intents.c.outcome_at
    return (
        (intents.c.account == bindparam("of_account"))
        & (intents.c.kind == CALL)
        & intents.c.state.in_(COUNTED)
        & call_at.between(clock - LONGEST_CALL_MS, clock + _AHEAD_MS)
        & or_(over_at.is_(None), over_at < call_at)  # a redial is a call again
    )
