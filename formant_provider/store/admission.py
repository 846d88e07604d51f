"""May this person be called now? Asked in the transaction of a claim, so that the answer still holds then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, func, or_, select, union_all

from formant_provider.api.errors import NotAdmitted
from formant_provider.api.models import utc_text
from formant_provider.core.caps import CapRule, is_free, next_free
from formant_provider.store.bulk import among
from formant_provider.store.intents import BATCH_CALL, COUNTED
from formant_provider.store.schema import calls, intents, people
from formant_provider.store.store import to_moment, to_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.store import Store

# The API takes a call for at most so far ahead.
_FARTHEST = timedelta(days=30)
# For so long a person counts as called by a batch call that is not uploaded yet: its process may have died.
RESERVED_FOR = timedelta(hours=1)
_FROM_RESERVED_TO_UPLOADED = timedelta(hours=6)
# The two timeouts of a connection, and what the upload of a batch call may take.
_LONGEST_SEND_MS = 3_600_000
_SUPPRESSED_AT = select(people.c.suppressed_at).where(people.c.recipient == bindparam("recipient"))
_UPLOAD = select(func.max(calls.c.upload)).where(calls.c.intent_id == bindparam("of_id")).scalar_subquery()
_SUPPRESSED_IN = (
    select(calls.c.recipient)
    .join(people, people.c.recipient == calls.c.recipient)
    .where(calls.c.intent_id == bindparam("of_id"), calls.c.counted, people.c.suppressed_at.is_not(None))
    .where(calls.c.upload == _UPLOAD)  # whom an earlier one may have called is called by it, or not
    .limit(1)
)
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
            raise _suppressed()
        if self.cap is None:
            return
        since = call_at - self.cap.per
        known = call_times(conn, [recipient], since=since, now=now, other_than=other_than)[recipient]
        times = [ringing(*each) for each in known]
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


def refuse_suppressed(store: Store, number: str) -> None:
    """Refuse a number that is on the do-not-call list.

    :param number: in E.164.
    :raises NotAdmitted: it is.
    :raises SendAborted: the database does not answer.
    """
    with store.reading() as conn:
        if is_suppressed(conn, store.digests.recipient(number)):
            raise _suppressed()


def _suppressed() -> NotAdmitted:
    return NotAdmitted("The number is on the do-not-call list of the call store", reason=SUPPRESSED)


def is_suppressed(conn: Connection, recipient: str) -> bool:
    """Whether a person is on the do-not-call list."""
    return conn.execute(_SUPPRESSED_AT, {"recipient": recipient}).scalar() is not None


def is_anyone_suppressed(conn: Connection, batch_call: str) -> bool:
    """Whether somebody whom a batch call is about to call is on the do-not-call list by now.

    :param batch_call: the id of its intent; its newest upload is asked about.
    """
    return conn.execute(_SUPPRESSED_IN, {"of_id": batch_call}).first() is not None


def call_times(
    conn: Connection, recipients: Sequence[str], *, since: datetime, now: datetime, other_than: str
) -> Mapping[str, Sequence[tuple[int, int]]]:
    """Return when people were called, or will be, from a time on: all that may have been placed.

    :param other_than: an intent whose newest attempt is left out; all of it, if it is a batch call.
    :return: by recipient, between which moments each call begins, in milliseconds since 1970; nothing of
        whom was not called.
    """
    given = {"recipients": list(recipients), "since": to_ms(since), "other_than": other_than}
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    query = _times(conn.dialect.name)
    given["reserved_since"] = to_ms(now - RESERVED_FOR)
    given["since_reserved"] = to_ms(since - _FROM_RESERVED_TO_UPLOADED)
    for recipient, *moments in conn.execute(query, given):
        found[recipient].append(tuple(moments))
    return found


def ringing(earliest: int, latest: int) -> tuple[datetime, datetime]:
    """Return the two moments of :func:`call_times`, aware."""
    return to_moment(earliest), to_moment(latest)


@cache
def _times(dialect: str) -> Any:
    since: Any = bindparam("since")
    newest = select(intents.c.recipient, intents.c.call_at, _may_ring_until(intents)).where(
        among(intents.c.recipient, dialect),
        or_(
            intents.c.call_at > since, and_(intents.c.sending_until > since, _may_ring_until(intents) > since)
        ),
        intents.c.state.in_(COUNTED),
        intents.c.id != bindparam("other_than"),
    )
    batch = intents.alias("batch")
    of_a_batch = and_(batch.c.id == calls.c.intent_id, batch.c.kind == BATCH_CALL)
    is_uploaded = and_(calls.c.counted, batch.c.state.in_(COUNTED))
    rings_at = case((is_uploaded, batch.c.call_at), else_=calls.c.call_at)
    rings_until = case((is_uploaded, _may_ring_until(batch)), else_=calls.c.call_at)
    counts = or_(is_uploaded, calls.c.call_at > bindparam("reserved_since"))
    wanted = calls.c.recipient, rings_at, rings_until
    others = select(*wanted).select_from(calls.outerjoin(batch, of_a_batch))
    others = others.where(
        among(calls.c.recipient, dialect),
        calls.c.call_at > bindparam("since_reserved"),
        rings_until > since,
        or_(
            and_(batch.c.id.is_(None), calls.c.counted),
            and_(batch.c.id != bindparam("other_than"), counts),
        ),
    )
    return union_all(newest, others)


def _may_ring_until(table: Any) -> Any:
    """Return until when a call may begin: one that is being sent, until its process counts as dead.

    No event vouches for that, so it is believed for as long as a send may take, and never moves a call away
    from when it began.
    """
    of_send = table.c.sending_until.between(table.c.call_at, table.c.call_at + _LONGEST_SEND_MS)
    is_busy = and_(table.c.sending_by.is_not(None), of_send)
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
