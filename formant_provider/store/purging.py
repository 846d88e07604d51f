"""Deletes what is old from the store, so that it stays complete for what is new, and its chain unbroken.

Events can be cut off at the front of the chain alone. So the front is cut off piece by piece, each with the
rows whose last event it holds, in one short transaction; what has to stay although its last event is old (who
is on the do-not-call list, a call that is yet to ring) is stated again at the end of the chain in the same
transaction, and the last event of it tells where the chain begins from then on. So the store can be verified
at any moment, and the next purge goes on where one was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update

from formant_provider.store.events import append, append_all, append_facts
from formant_provider.store.failures import again
from formant_provider.store.kinds import ATTEMPTS, CUT, KEPT, PURGED, PURGING, STORE
from formant_provider.store.list_progress import forget_progress
from formant_provider.store.schema import calls, chain, events, intents, people
from formant_provider.store.store import PURGED_BEFORE, change, to_ms
from formant_provider.store.suppressions import REMOVED
from formant_provider.store.vouching import Told, attempts_in, told_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.store import Store

KEEP_FOR = timedelta(days=31)
# A day in which the vendor knows a key, and what follows from it.
LEAST_AGE = timedelta(hours=26)
# A run that began shortly after what was deleted is not relied on either: clocks differ.
_MARGIN = timedelta(hours=1)
# A task that has read right before this was announced may rely on all that is in the store for so long.
ANNOUNCED_FOR_S = 60.0
_EVENTS_AT_ONCE = 200
_PEOPLE_AT_ONCE = 500


@dataclass(frozen=True)
class Purged:
    """What was deleted.

    :param events: how many events were cut off the front of the chain.
    :param kept: how many rows were stated again, whose last event was among them.
    :param intents: how many calls and batch calls were deleted.
    :param people: how many people were forgotten.
    """

    events: int = 0
    kept: int = 0
    intents: int = 0
    people: int = 0

    def __add__(self, other: Purged) -> Purged:
        return Purged(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


@dataclass(frozen=True)
class _Piece:
    """The front of the chain up to an event, and what is to be done with what it tells of.

    :param kept: payloads to state again, by subject.
    :param removed: events to state again as they were, by subject, of people who were taken off the
        do-not-call list: an older run that would put them on it has to find when that was.
    :param old: subjects of which nothing stays.
    """

    base_seq: int
    end_seq: int
    end_hash: str
    events: int
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: dict[str, Told] = field(default_factory=dict)
    old: list[str] = field(default_factory=list)

    @property
    def stated(self) -> int:
        """How many rows are stated again."""
        return len(self.kept) + len(self.removed)


def least_age(*wanted: timedelta | None) -> timedelta:
    """Return how old what is deleted has to be at least: the longest of those, and :data:`LEAST_AGE`."""
    return max(LEAST_AGE, *(each for each in wanted if each is not None))


def would_purge(store: Store, *, before: datetime) -> Purged:
    """Return what :func:`purge` would delete now; of the people, those alone that events tell of.

    :raises SendAborted: the database does not answer.
    """
    found = Purged()
    with store.reading() as conn:
        through, base_seq = _through(conn, before), _base(conn)
        while piece := _next_piece(conn, base_seq, through, before):
            count = select(func.count()).select_from
            olds = (count(intents).where(intents.c.id.in_(piece.old)),
                    count(people).where(people.c.recipient.in_(piece.old)))  # fmt: skip
            found += Purged(piece.events, piece.stated, *(conn.execute(each).scalar_one() for each in olds))
            base_seq = piece.end_seq
    return found


def purge(
    store: Store,
    *,
    before: datetime,
    by: str,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> Purged:
    """Delete what is older, while others go on placing calls.

    :param before: see :func:`least_age`, aware.
    :param by: who does it, in a word.
    :raises SendAborted: the database does not answer; the next purge goes on.
    """
    forget_progress(store, before=before)
    with store.writing() as conn:
        through = _through(conn, before)
        if through <= _base(conn):
            return Purged()
        _announce(conn, store, before, through, by, at=to_ms(now()))
    sleep(ANNOUNCED_FOR_S)
    found = Purged()
    while some := _cut_next(store, through, before, at=to_ms(now())):
        found += some
    found += Purged(people=_forget_people(store))
    with store.writing() as conn:
        _tell(conn, store, PURGED, to_ms(now()), {**vars(found), "by": by})
    return found


def _through(conn: Connection, before: datetime) -> int:
    """Return the last event of those at the front that are all older."""
    newer = select(events.c.seq).where(events.c.at >= to_ms(before)).order_by(events.c.seq).limit(1)
    first: int | None = conn.execute(newer).scalar()
    if first is not None:
        return first - 1
    end: int = conn.execute(select(chain.c.seq).where(chain.c.id == 1)).scalar_one()
    return end


def _base(conn: Connection) -> int:
    base: int = conn.execute(select(chain.c.base_seq).where(chain.c.id == 1)).scalar_one()
    return base


def _announce(conn: Connection, store: Store, before: datetime, through: int, by: str, *, at: int) -> None:
    """Let nobody rely on the store for what is going to be deleted."""
    relied_on = to_ms(before + _MARGIN)
    change(conn, PURGED_BEFORE, lambda known: str(max(int(known), relied_on)))
    payload = {"through": through, "by": by}
    append_facts(conn, store.digests, at=at, kind=PURGING, payload=payload)


def _tell(conn: Connection, store: Store, kind: str, at: int, payload: Mapping[str, Any]) -> None:
    append(conn, store.digests, at=at, kind=kind, subject=STORE, payload=payload)


def _next_piece(
    conn: Connection, base_seq: int, through: int, before: datetime, *, is_locked: bool = False
) -> _Piece | None:
    """Return what is to be cut off next; ``None`` at the end.

    :param is_locked: whether nobody may change its rows until the transaction ends.
    """
    front = select(events.c.seq, events.c.subject, events.c.hash)
    front = front.where(events.c.seq > base_seq, events.c.seq <= through)
    page = conn.execute(front.order_by(events.c.seq).limit(_EVENTS_AT_ONCE)).all()
    if not page:
        return None
    piece = _Piece(base_seq, page[-1].seq, page[-1].hash, len(page))
    subjects = sorted({event.subject for event in page} - {STORE})
    stay = _that_stay(conn, subjects, before, is_locked=is_locked)
    # Only now, since rows may have been changed until they were locked.
    for subject, told in told_of(conn, subjects).items():
        is_last = told[-1].seq <= piece.end_seq
        if is_last and subject not in stay:
            piece.old.append(subject)
        elif is_last and told[-1].kind == REMOVED:
            piece.removed[subject] = told[-1]
        elif is_last or _attempts(told) != _attempts(told, after=piece.end_seq):
            piece.kept[subject] = {**told[-1].payload, **_attempts(told)}
    return piece


def _that_stay(conn: Connection, subjects: Sequence[str], before: datetime, *, is_locked: bool) -> set[str]:
    """Return which rows stay however old their last event is."""
    called = select(intents.c.id, intents.c.call_at >= to_ms(before)).where(intents.c.id.in_(subjects))
    listed = select(people.c.recipient, people.c.reason.is_not(None))
    listed = listed.where(people.c.recipient.in_(subjects))
    stay: set[str] = set()
    # In the order in which a claim locks them: calls, then people.
    for wanted in (called.order_by(intents.c.id), listed.order_by(people.c.recipient)):
        rows = conn.execute(wanted.with_for_update() if is_locked else wanted)
        stay |= {subject for subject, stays in rows if stays}
    return stay


def _attempts(told: Sequence[Told], after: int = 0) -> dict[str, Any]:
    """Return the earlier attempts that events tell of, as a payload holds them."""
    found = attempts_in(each.payload for each in told if each.seq > after)
    return {ATTEMPTS: [[number, *found[number]] for number in sorted(found)]} if found else {}


@again
def _cut_next(store: Store, through: int, before: datetime, *, at: int) -> Purged | None:
    """Cut the next piece off, and return what went with it; ``None`` when all is done."""
    with store.writing() as conn:
        piece = _next_piece(conn, _base(conn), through, before, is_locked=True)
        if piece is None:
            return None
        forgotten = conn.execute(delete(people).where(people.c.recipient.in_(piece.old))).rowcount
        conn.execute(delete(calls).where(calls.c.intent_id.in_(piece.old)))
        deleted = conn.execute(delete(intents).where(intents.c.id.in_(piece.old))).rowcount
        gone = events.c.seq > piece.base_seq, events.c.seq <= piece.end_seq
        is_there = conn.execute(delete(events).where(*gone)).rowcount == piece.events
        # The chain is locked from here on: last, and for a moment.
        append_all(conn, store.digests, at=at, kind=KEPT, payloads=piece.kept.items())
        for subject, told in piece.removed.items():
            append(conn, store.digests, at=told.at, kind=told.kind, subject=subject, payload=told.payload)
        moved = update(chain).where(chain.c.id == 1, chain.c.base_seq == piece.base_seq)
        new = {"base_seq": piece.end_seq, "base_hash": piece.end_hash}
        if not is_there or conn.execute(moved.values(new)).rowcount != 1:
            conn.rollback()  # another purge was faster
            return Purged()
        append_facts(conn, store.digests, at=at, kind=CUT, payload={})
    return Purged(piece.events, piece.stated, deleted, forgotten)


def _forget_people(store: Store) -> int:
    """Delete the rows of people of whom nothing else is left; return how many."""
    of_events = select(events.c.seq).where(events.c.subject == people.c.recipient).exists()
    of_intents = select(intents.c.id).where(intents.c.recipient == people.c.recipient).exists()
    of_calls = select(calls.c.attempt).where(calls.c.recipient == people.c.recipient).exists()
    unknown = select(people.c.recipient).where(
        people.c.suppressed_at.is_(None), ~of_events, ~of_intents, ~of_calls
    )
    # Who is being called now is left alone, and nobody is waited for.
    some = unknown.limit(_PEOPLE_AT_ONCE).with_for_update(of=people, skip_locked=True)
    count = 0
    while True:
        with store.writing() as conn:
            found = conn.execute(some).scalars().all()
            conn.execute(delete(people).where(people.c.recipient.in_(found)))
        count += len(found)
        if not found:
            return count
