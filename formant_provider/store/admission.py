"""May this person be called now? Asked in the transaction of a claim, so that the answer still holds then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, or_, select, union_all

from formant_provider.api.errors import NotAdmitted
from formant_provider.api.models import utc_text
from formant_provider.core.caps import CapRule, is_free, next_free
from formant_provider.store.bulk import among
from formant_provider.store.intents import BATCH_CALL, COUNTED
from formant_provider.store.schema import calls, intents, people
from formant_provider.store.store import to_moment, to_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

# The API takes a call for at most so far ahead.
_FARTHEST = timedelta(days=30)
# For so long a person counts as called by a batch call that is not uploaded yet: its process may have died.
RESERVED_FOR = timedelta(hours=1)
_FROM_RESERVED_TO_UPLOADED = timedelta(hours=6)
_SUPPRESSED_AT = select(people.c.suppressed_at).where(people.c.recipient == bindparam("recipient"))
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
        self.ask(conn, recipient, call_at, now=now, other_than=row["id"])

    def ask(
        self, conn: Connection, recipient: str, call_at: datetime, *, now: datetime, other_than: str
    ) -> None:
        """Refuse a call to a person, and keep nobody from asking the same at the same time.

        :param recipient: digest of the person.
        :param other_than: the intent of the call, whose newest attempt is not counted.
        :raises NotAdmitted: as :meth:`admit`.
        """
        if is_suppressed(conn, recipient):
            raise NotAdmitted("The number is on the do-not-call list of the call store", reason=SUPPRESSED)
        if self.cap is None:
            return
        since = call_at - self.cap.per
        known = call_times(conn, [recipient], since=since, now=now, other_than=other_than)[recipient]
        times = [to_moment(ms) for ms in known]
        if not is_free(times, call_at, self.cap):
            raise self._capped(next_free(times, call_at, self.cap), now)

    def _capped(self, free_at: datetime, now: datetime) -> NotAdmitted:
        free_from = (free_at + timedelta(microseconds=999_999)).replace(microsecond=0)
        text = (
            f"This person has already been called as often as call_cap allows ({self.cap}); the next call is"
            f" free at {utc_text(free_from)}"
        )
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


def call_times(
    conn: Connection, recipients: Sequence[str], *, since: datetime, now: datetime, other_than: str
) -> Mapping[str, Sequence[int]]:
    """Return when people were called, or will be, from a time on: all that may have been placed.

    :param other_than: an intent whose newest attempt is left out; all of it, if it is a batch call.
    :return: milliseconds since 1970, by recipient; nothing of whom was not called.
    """
    given = {"recipients": list(recipients), "since": to_ms(since), "other_than": other_than}
    found: dict[str, list[int]] = defaultdict(list)
    query = _times(conn.dialect.name)
    given["reserved_since"] = to_ms(now - RESERVED_FOR)
    given["since_reserved"] = to_ms(since - _FROM_RESERVED_TO_UPLOADED)
    for recipient, ms in conn.execute(query, given):
        found[recipient].append(ms)
    return found


@cache
def _times(dialect: str) -> Any:
    since: Any = bindparam("since")
    newest = select(intents.c.recipient, _may_ring_at(intents)).where(
        among(intents.c.recipient, dialect),
        or_(intents.c.call_at > since, intents.c.sending_until > since),
        intents.c.state.in_(COUNTED),
        intents.c.id != bindparam("other_than"),
    )
    batch = intents.alias("batch")
    of_a_batch = and_(batch.c.id == calls.c.intent_id, batch.c.kind == BATCH_CALL)
    is_uploaded = batch.c.state.in_(COUNTED)
    rings_at = case((is_uploaded, _may_ring_at(batch)), else_=calls.c.call_at)
    counts = or_(is_uploaded, calls.c.call_at > bindparam("reserved_since"))
    others = select(calls.c.recipient, rings_at).select_from(calls.outerjoin(batch, of_a_batch))
    others = others.where(
        among(calls.c.recipient, dialect),
        calls.c.call_at > bindparam("since_reserved"),
        rings_at > since,
        calls.c.counted,
        or_(batch.c.id.is_(None), and_(batch.c.id != bindparam("other_than"), counts)),
    )
    return union_all(newest, others)


def _may_ring_at(table: Any) -> Any:
    """Return until when a call may begin: one that is being sent, until its process counts as dead."""
    is_busy = table.c.sending_until > table.c.call_at
    return case((is_busy, table.c.sending_until), else_=table.c.call_at)


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
