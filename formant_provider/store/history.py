"""What a store knows of a person, or of a DAG: what was asked for, by whom, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from formant_provider.store.intents import BATCH_CALL, COUNTED, PLACED
from formant_provider.store.kinds import KEPT, payload_of
from formant_provider.store.schema import calls, intents, people
from formant_provider.store.store import to_moment, to_ms
from formant_provider.store.verify import snapshot
from formant_provider.store.vouching import Told, told_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.store import Store

AT_ONCE = 500
# What of a row is told as it is.
_AS_IT_IS = ("kind", "agent_id", "dag_id", "run_id", "task_id", "map_index", "reference", "asked_by", "state",
             "trace_id", "conversation_id", "batch_id", "outcome")  # fmt: skip
_OF_SEND = ("at", "ended_at", "scheduled_for")


def of_people(store: Store, numbers: Sequence[str], *, since: datetime | None = None) -> dict[str, Any]:
    """Return what was asked for a person, and whether they are on the do-not-call list.

    :param numbers: theirs, E.164: one, or the same under several numbering plans; none is returned.
    :param since: leave out what was asked for before, aware; ``None`` means nothing.
    :return: plain values, times as ISO 8601 in UTC.
    :raises SendAborted: the database does not answer.
    """
    digests = [store.digests.recipient(number) for number in numbers]
    in_batches = select(calls.c.intent_id).where(calls.c.recipient.in_(digests), calls.c.counted)
    is_theirs = or_(intents.c.recipient.in_(digests), intents.c.id.in_(in_batches))
    listed = select(people).where(people.c.recipient.in_(digests), people.c.suppressed_at.is_not(None))
    with snapshot(store) as conn:
        asked = _asked(conn, is_theirs, since=since)
        row = conn.execute(listed.order_by(people.c.suppressed_at).limit(1)).mappings().first()
        told = [each for some in told_of(conn, digests).values() for each in some]
    listed_now = None if row is None else _listed(dict(row))
    return {"on_do_not_call_list": listed_now, "changes_of_the_list": _changes(told), "asked": asked}


def of_dag(
    store: Store, dag_id: str | None, run_id: str | None, *, since: datetime | None = None
) -> dict[str, Any]:
    """Return what was asked for by a DAG, by a run, or by a run of a DAG.

    :param since: as of :func:`of_people`.
    """
    named = {"dag_id": dag_id, "run_id": run_id}
    wanted = [intents.c[name] == value for name, value in named.items() if value is not None]
    with snapshot(store) as conn:
        return {"asked": _asked(conn, *wanted, since=since)}


def _asked(conn: Connection, *wanted: Any, since: datetime | None) -> list[dict[str, Any]]:
    rows = select(intents).where(*wanted)
    if since is not None:
        rows = rows.where(intents.c.asked_at >= to_ms(since))
    found = [dict(row) for row in conn.execute(rows.order_by(intents.c.asked_at, intents.c.id)).mappings()]
    told: dict[str, list[Told]] = {}
    for start in range(0, len(found), AT_ONCE):
        told |= told_of(conn, [row["id"] for row in found[start : start + AT_ONCE]])
    return [_as_told(row, told.get(row["id"], [])) for row in found]


def _as_told(row: dict[str, Any], told: Sequence[Told]) -> dict[str, Any]:
    intents_told = [_intent(each.payload) for each in told] + [_intent(row)]
    sends = {
        (each.get("attempt", 1), send["at"]): send for each in intents_told for send in each.get("sends", ())
    }
    return {
        "asked_at": _moment(row["asked_at"]),
        **{name: row[name] for name in _AS_IT_IS},
        "people": intents_told[-1].get("people", {}).get("count") if row["kind"] == BATCH_CALL else None,
        **_last_call(row, intents_told[-1]),
        "reason": intents_told[-1].get("refused"),
        "outcome_at": _moment(row["outcome_at"]),
        "sends": [
            {"attempt": attempt, **{name: sends[attempt, at].get(name) for name in _OF_SEND}}
            for attempt, at in sorted(sends)
        ],
        "events": [{"seq": each.seq, "at": _moment(each.at), "kind": each.kind} for each in told],
    }


def _last_call(row: dict[str, Any], intent: dict[str, Any]) -> dict[str, Any]:
    """Return state and time of the newest call: while a redial is not sent, of the call before it."""
    if row["state"] in COUNTED:
        return {"state": row["state"], "call_at": _moment(row["call_at"])}
    if intent.get("last_receipt"):
        return {"state": PLACED, "call_at": intent.get("last_at")}
    return {"state": row["state"], "call_at": None}


def _changes(told: Sequence[Told]) -> list[dict[str, Any]]:
    return [
        {
            "seq": each.seq,
            "at": _moment(each.at),
            "kind": each.kind,
            "reason": each.payload.get("reason"),
            "by": each.payload.get("suppressed_by"),
        }
        for each in told
        if each.kind != KEPT
    ]


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    return {"since": _moment(row["suppressed_at"]), "reason": row["reason"], "by": row["suppressed_by"]}


def _intent(row: dict[str, Any]) -> dict[str, Any]:
    intent: dict[str, Any] = payload_of(row.get("intent", ""))
    return intent


def _moment(ms: int | None) -> str | None:
    return None if ms is None else to_moment(ms).isoformat(timespec="milliseconds")
