"""Whether the rows of the store are what the last event about each of them says.

Read in pages, each with the events about its rows: intents, and people who are or were on the do-not-call
list. Who is at work on a row is no part of it, since that says nothing of what happened.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select

from formant_provider.store.bulk import people_of
from formant_provider.store.findings import PAGE, Report, where_of
from formant_provider.store.intents import BATCH_CALL, vouched
from formant_provider.store.kinds import ATTEMPTS, PEOPLE, STORE, payload_of
from formant_provider.store.schema import calls, events, intents, people

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from formant_provider.store.secrets import Digests

_SUPPRESSION = ("suppressed_at", "reason", "suppressed_by")
# recipient and time of each earlier attempt of a call, by its number
Attempts = dict[int, tuple[str, int]]


class Told(NamedTuple):
    """An event, as far as it is about a row."""

    seq: int
    at: int
    kind: str
    payload: dict[str, Any]


def check_rows(conn: Connection, digests: Digests, report: Report) -> None:
    """Compare each row with the last event about it."""
    for page in _pages(conn, intents, intents.c.id):
        _check_intents(conn, digests, report, page)
    for page in _pages(conn, people, people.c.recipient):
        _check_everybody(conn, report, page)
    for ids in _ids(conn, calls.c.intent_id):
        known = set(conn.execute(select(intents.c.id).where(intents.c.id.in_(ids))).scalars())
        for _ in set(ids) - known:
            report.add(None, "call", "its row in formant_calls is of no intent: it was inserted")


def check_subjects(conn: Connection, report: Report, page: Sequence[Any]) -> None:
    """Find rows that are gone, of which events tell; each at the last event about it."""
    subjects = {event.subject for event in page} - {STORE} - report.doubted
    for key in (intents.c.id, people.c.recipient):
        if subjects:
            subjects -= set(conn.execute(select(key).where(key.in_(subjects))).scalars())
    if not subjects:
        return
    newest = select(func.max(events.c.seq)).where(events.c.subject.in_(subjects)).group_by(events.c.subject)
    last = set(conn.execute(newest).scalars())
    for event in page:
        if event.subject in subjects and event.seq in last:
            _add_gone(report, event, payload_of(event.payload))


def attempts_in(payloads: Iterable[Mapping[str, Any]]) -> Attempts:
    """Return the earlier attempts of a call that its events tell of, in their order."""
    found: Attempts = {}
    before: Mapping[str, Any] | None = None
    for payload in payloads:
        with suppress(TypeError, ValueError):  # of an event that somebody has edited
            found |= {number: (who, at) for number, who, at in payload.get(ATTEMPTS, [])}
        if before is not None and _attempt(before) < _attempt(payload):
            found[_attempt(before)] = (before.get("recipient", ""), before.get("call_at", 0))
        before = payload
    return found


def told_of(conn: Connection, subjects: Sequence[str]) -> dict[str, list[Told]]:
    """Return all events about some subjects, in their order."""
    wanted = select(events.c.subject, events.c.seq, events.c.at, events.c.kind, events.c.payload)
    found: dict[str, list[Told]] = defaultdict(list)
    for row in conn.execute(wanted.where(events.c.subject.in_(subjects)).order_by(events.c.seq)):
        found[row.subject].append(Told(row.seq, row.at, row.kind, payload_of(row.payload)))
    return found


def _pages(conn: Connection, table: Table, key: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield all rows by their key."""
    for ids in _ids(conn, key):
        rows = select(table).where(key.in_(ids)).order_by(key)
        yield [dict(row) for row in conn.execute(rows).mappings()]


def _ids(conn: Connection, key: Any) -> Iterator[list[str]]:
    wanted, after = select(key).distinct().order_by(key).limit(PAGE), ""
    while ids := list(conn.execute(wanted.where(key > after)).scalars()):
        yield ids
        after = ids[-1]


def _check_intents(
    conn: Connection, digests: Digests, report: Report, page: Sequence[dict[str, Any]]
) -> None:
    ids = [row["id"] for row in page]
    told = told_of(conn, ids)
    of_calls = select(calls, calls.c.counted.is_(True).label("counts")).where(
        calls.c.intent_id.in_([row["id"] for row in page if row["kind"] != BATCH_CALL])
    )
    kept: dict[str, Attempts] = defaultdict(dict)
    for call in conn.execute(of_calls):
        kept[call.intent_id][call.attempt] = (call.recipient, call.call_at if call.counts else -1)
    report.rows += len(page)
    for row in page:
        about = told.get(row["id"])
        if row["id"] in report.doubted:
            continue
        if about is None:
            what = "its row in formant_intents was inserted: no event tells of it"
            report.add(None, row["kind"], what, where_of(row))
            continue
        _check_intent(report, about[-1], row)
        payloads = [each.payload for each in about]
        if about[-1].payload["kind"] == BATCH_CALL:
            _check_batch(conn, digests, report, about[-1], row)
        elif attempts_in(payloads) != kept.get(row["id"], {}):
            what = "its rows in formant_calls are not its earlier attempts"
            report.add(about[-1].seq, about[-1].kind, what, where_of(row))


def _check_intent(report: Report, last: Told, row: Mapping[str, Any]) -> None:
    columns = vouched(row)
    if changed := [name for name in columns if columns[name] != last.payload.get(name)]:
        what = f"its row in formant_intents was edited: {', '.join(changed)}"
        report.add(last.seq, last.kind, what, where_of(last.payload))


def _check_batch(
    conn: Connection, digests: Digests, report: Report, last: Told, row: Mapping[str, Any]
) -> None:
    """Compare the people of a batch call with what its last event tells; nothing, before the upload."""
    if PEOPLE not in last.payload:
        return
    if last.payload[PEOPLE] != people_of(conn, digests, row["id"]):
        what = "its rows in formant_calls are not the people of the batch call"
        report.add(last.seq, last.kind, what, where_of(row))


def _check_everybody(conn: Connection, report: Report, page: Sequence[dict[str, Any]]) -> None:
    told = told_of(conn, [row["recipient"] for row in page])
    for row in page:
        about = told.get(row["recipient"])
        if row["recipient"] in report.doubted:
            continue
        if about is None:
            if any(row[name] is not None for name in _SUPPRESSION):
                what = "the do-not-call list was changed for a person, and no event tells of it"
                report.add(None, "person", what)
        elif changed := [name for name in _SUPPRESSION if row[name] != about[-1].payload.get(name)]:
            what = f"its row in formant_people was edited: {', '.join(changed)}"
            report.add(about[-1].seq, about[-1].kind, what)


def _add_gone(report: Report, event: Any, payload: Mapping[str, Any]) -> None:
    if "suppressed_at" not in payload:
        report.add(event.seq, event.kind, "its row in formant_intents was deleted", where_of(payload))
    elif payload["suppressed_at"] is None:
        report.add(event.seq, event.kind, "its row in formant_people was deleted")
    else:
        what = "the person was taken off the do-not-call list: the row was deleted"
        report.add(event.seq, event.kind, what)


def _attempt(payload: Mapping[str, Any]) -> int:
    """Return which attempt of its call an event is about."""
    try:
        return int(json.loads(payload.get("intent", "{}")).get("attempt", 1))
    except (ValueError, TypeError, AttributeError):
        return 1
