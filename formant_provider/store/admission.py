"""May this person be called now? Asked in the transaction of a claim, so that the answer still holds then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, null, or_, select, union_all

from formant_provider.api.errors import NotAdmitted
from formant_provider.core.caps import CapRule, is_free, next_free
from formant_provider.store.intents import COUNTED
from formant_provider.store.schema import calls, intents, people
from formant_provider.store.store import to_moment, to_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The API takes a call for at most so far ahead.
_FARTHEST = timedelta(days=30)
_SUPPRESSED_AT = select(people.c.suppressed_at).where(people.c.recipient == bindparam("recipient"))
# A call that is being sent is placed when it is answered, or not at all; its process counts as dead after that.
_NEWEST = select(intents.c.call_at, intents.c.sending_until.label("busy_until")).where(
    intents.c.recipient == bindparam("recipient"),
    or_(intents.c.call_at > bindparam("since"), intents.c.sending_until > bindparam("since")),
    intents.c.state.in_(COUNTED),
    intents.c.id != bindparam("other_than"),
)
_OTHERS = select(calls.c.call_at, null()).where(
    calls.c.recipient == bindparam("recipient"), calls.c.call_at > bindparam("since"), calls.c.counted
)
_TIMES = union_all(_NEWEST, _OTHERS)
SUPPRESSED, CAPPED = "suppressed", "capped"


@dataclass(frozen=True)
class Admission:
    """What is asked of the store before a person is called.

    :param cap: how often a person may be called; ``None`` means however often.
    :param on_capped: ``"skip"``, ``"fail"``, or ``"schedule"`` for when the cap allows it.
    """

    cap: CapRule | None = None
    on_capped: str = "skip"

    def admit(self, conn: Connection, row: Mapping[str, Any], *, now: datetime) -> None:
        """Let a person be called; with a cap, no other capped call to them is admitted until this one is in.

        :param row: of the intent, as it is in the store by now.
        :raises NotAdmitted: the person is on the do-not-call list, or was called as often as allowed.
        """
        recipient, call_at = row["recipient"], to_moment(row["call_at"])
        if self.cap is not None:
            lock_person(conn, recipient)
        if is_suppressed(conn, recipient):
            raise NotAdmitted("The number is on the do-not-call list of the call store", reason=SUPPRESSED)
        if self.cap is None:
            return
        times = call_times(conn, recipient, since=call_at - self.cap.per, other_than=row["id"])
        if not is_free(times, call_at, self.cap):
            raise self._capped(next_free(times, call_at, self.cap), now)

    def _capped(self, free_at: datetime, now: datetime) -> NotAdmitted:
        text = f"This person is called as often as call_cap allows: {self.cap}"
        is_later = self.on_capped == "schedule" and free_at <= now + _FARTHEST
        error = NotAdmitted(text, reason=CAPPED, free_at=free_at if is_later else None)
        error.skips = self.on_capped != "fail"
        return error


def lock_person(conn: Connection, recipient: str) -> None:
    """Keep others from counting the calls of a person until the transaction ends."""
    conn.execute(upserted(conn, people, {"recipient": recipient}, keep="recipient"))


def is_suppressed(conn: Connection, recipient: str) -> bool:
    """Whether a person is on the do-not-call list."""
    return conn.execute(_SUPPRESSED_AT, {"recipient": recipient}).scalar() is not None


def call_times(conn: Connection, recipient: str, *, since: datetime, other_than: str) -> list[datetime]:
    """Return when a person was called, or will be, from a time on: all that may have been placed.

    :param other_than: an intent, whose newest attempt is left out.
    """
    found = conn.execute(_TIMES, {"recipient": recipient, "since": to_ms(since), "other_than": other_than})
    return [to_moment(max(row.call_at, row.busy_until or 0)) for row in found]


def upserted(conn: Connection, table: Any, values: Any, *, keep: str | Iterable[str]) -> Any:
    """Return a statement that inserts a row, or writes some of its values into the one that is there.

    :param keep: the columns that are written then.
    """
    names = [keep] if isinstance(keep, str) else list(keep)
    if conn.dialect.name in {"mysql", "mariadb"}:
        from sqlalchemy.dialects.mysql import insert as insert_mysql

        mysql = insert_mysql(table).values(values)
        return mysql.on_duplicate_key_update({name: mysql.inserted[name] for name in names})
    if conn.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment] # of the same shape
    statement = insert(table).values(values)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: statement.excluded[name] for name in names},
    )
