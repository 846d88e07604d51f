"""Whether anybody has changed the store behind its back: the chain of events, and the rows it vouches for.

The chain is walked from its beginning in pages, and each hash is made anew. What it cannot tell is whether
its newest events were cut off and the end put back to what it was before: for that, a head that was noted
elsewhere is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from formant_provider.store.failures import translated
from formant_provider.store.findings import PAGE, Head, Report, where_of
from formant_provider.store.kinds import BASE, FACTS, STORE, TELL_FACTS, payload_of
from formant_provider.store.schema import chain, events
from formant_provider.store.store import INSTALLED_AT, PURGED_BEFORE, facts_in, first_base
from formant_provider.store.vouching import check_rows, check_subjects

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.secrets import Digests
    from formant_provider.store.store import Store


def verify(store: Store, *, expected: Head | None = None, first: int = 20) -> Report:
    """Look for whatever was edited, deleted, moved or inserted, while others go on writing.

    :param expected: a head that was noted elsewhere.
    :param first: how many findings to keep.
    :raises SendAborted: the database does not answer.
    """
    report = Report(first)
    with snapshot(store) as conn:
        _check_chain(conn, store.digests, report, expected)
        check_rows(conn, store.digests, report)
    return report


@contextmanager
def snapshot(store: Store) -> Iterator[Connection]:
    """Give a connection that sees the store as it is now, whatever is written meanwhile."""
    options: dict[str, Any] = {"formant_reads": True}
    if store.engine.dialect.name != "sqlite":  # which has no other level
        options["isolation_level"] = "REPEATABLE READ"
    with translated(store.where), store.engine.execution_options(**options).connect() as conn:
        yield conn


def _check_chain(conn: Connection, digests: Digests, report: Report, expected: Head | None) -> None:
    ends = _ends(conn, report)
    if ends is None:
        return
    report.base, report.head = base, head = ends
    told, last, was_met = _first(conn, digests), base, expected in (None, base)
    for page in walk(conn):
        report.events += len(page)
        for event in page:
            if not _check_link(digests, report, last, event):
                report.doubted.add(event.subject)
            elif event.subject == STORE and event.kind in TELL_FACTS:
                told = payload_of(event.payload)
            if isinstance(event.seq, int):
                last = Head(event.seq, event.hash)
            was_met = was_met or last == expected
        check_subjects(conn, report, page)
    _check_end(report, last, head)
    if expected is not None and not was_met:
        report.add(expected.seq, "chain", _why_unmet(expected, base, head))
    _check_store(conn, report, told, base)


def _ends(conn: Connection, report: Report) -> tuple[Head, Head] | None:
    """Return where the chain begins and ends, as its row says; ``None`` when that cannot be told."""
    found = {row.id: row for row in conn.execute(select(chain))}
    end = found.pop(1, None)
    if found:
        report.add(None, "chain", "a second row was inserted into formant_chain")
    if end is None:
        report.add(None, "chain", "its row is missing, which says where the chain begins and ends")
    elif not (isinstance(end.seq, int) and isinstance(end.base_seq, int)):
        report.add(None, "chain", "its row was edited: where the chain begins or ends is no number")
    else:
        return Head(end.base_seq, end.base_hash), Head(end.seq, end.hash)
    return None


def walk(conn: Connection) -> Iterator[Sequence[Any]]:
    """Yield all events in their order, in pages."""
    wanted = select(events).order_by(events.c.seq).limit(PAGE)
    page = conn.execute(wanted).all()
    while page:
        yield page
        page = conn.execute(wanted.where(events.c.seq > page[-1].seq)).all()


def _check_link(digests: Digests, report: Report, last: Head, event: Any) -> bool:
    """Return whether an event is what was chained to the one before."""
    if not isinstance(event.seq, int):
        report.add(None, event.kind, "has something else than a number: it was edited or inserted")
        return False
    if event.seq <= last.seq:
        report.add(event.seq, event.kind, "is older than the beginning of the chain: it was inserted")
        return False
    if event.seq > last.seq + 1:
        # What the event after a gap was chained to is gone with it.
        others = f", and so were all up to {event.seq - 1}" if event.seq > last.seq + 2 else ""
        report.add(last.seq + 1, "event", f"was deleted{others}")
        return False
    link = digests.chained(last.hash, event.seq, event.at, event.kind, event.subject, event.payload)
    if link != event.hash:
        where = where_of(payload_of(event.payload))
        report.add(event.seq, event.kind, "does not match its hash: it was edited, moved or inserted", where)
    return bool(link == event.hash)


def _check_end(report: Report, last: Head, head: Head) -> None:
    if last.seq < head.seq:
        what = f"was deleted, and so were all up to {head.seq}, the end of the chain"
        report.add(last.seq + 1, "event", what)
    elif last.seq > head.seq:
        what = "comes after the end of the chain: it was inserted, or the end was edited"
        report.add(head.seq + 1, "event", what)
    elif last.hash != head.hash:
        report.add(head.seq, "chain", "its end has another hash than the last event")


def _why_unmet(expected: Head, base: Head, head: Head) -> str:
    if expected.seq < base.seq:
        return "the expected head was purged since; compare with a newer one"
    if expected.seq > head.seq:
        return "ends before the expected head: its newest events were cut off"
    return "has another hash than the expected head: it was rewritten, or is the chain of another store"


def _first(conn: Connection, digests: Digests) -> dict[str, Any]:
    """Return what is told of the store as a whole before anything was purged from it."""
    at = facts_in(conn).get(INSTALLED_AT, "")
    return {FACTS: {INSTALLED_AT: at, PURGED_BEFORE: at}, BASE: list(first_base(digests, at))}


def _check_store(conn: Connection, report: Report, told: Mapping[str, Any], base: Head) -> None:
    """Compare the store as a whole with what was told of it last, by the event of a purge or a hold."""
    found, known = facts_in(conn), told[FACTS]
    for name in sorted(name for name in {*found, *known} if found.get(name) != known.get(name)):
        which = f"{name} was edited" if name in known else "a fact was inserted"
        report.add(None, "store", f"its facts in formant_store are not as they were left: {which}")
    if [*base] != told[BASE]:
        what = "does not begin where it was left: its front was cut off, or installed_at was edited"
        report.add(base.seq, "chain", what)
