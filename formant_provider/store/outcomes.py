"""Writes down how calls ended, for whoever asks later what came of them, and for the pace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from formant_provider.api.models import CallReceipt
from formant_provider.store.events import append, append_all
from formant_provider.store.failures import again
from formant_provider.store.intents import BATCH_CALL, CALL, COUNTED, PLACED, as_event, fitting
from formant_provider.store.kinds import ENDED
from formant_provider.store.schema import NAME_LENGTH, intents
from formant_provider.store.store import to_ms

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from formant_provider.core.call_lists.calls import Attempt
    from formant_provider.store.store import Store


@again
def record_outcome(
    store: Store,
    *,
    trace_id: str | None,
    conversation_id: str | None,
    outcome: str,
    ended_at: datetime | None,
    now: datetime,
    intent_id: str | None = None,
    keeps_later: bool = False,
) -> bool:
    """Write down how the call ended that has one of these ids; return whether the store knows it.

    :param outcome: the status of its conversation.
    :param ended_at: when that ended, aware; ``None`` if unknown, which means now.
    :param intent_id: of the row of a call whose answer was lost: it is given the ids, if it has none yet, and
        whoever asks for the call again finds it.
    :param keeps_later: whether to leave the outcome of an attempt that ended later.
    :raises SendAborted: the store does not answer.
    """
    trace_id, conversation_id = trace_id and fitting(trace_id), conversation_id and fitting(conversation_id)
    outcome_at = to_ms(ended_at or now)
    changed = {"outcome": fitting(outcome[:NAME_LENGTH]), "outcome_at": outcome_at}
    is_lost = intents.c.id == intent_id, intents.c.trace_id.is_(None), intents.c.conversation_id.is_(None)
    with store.writing() as conn:
        row = None
        if trace_id:
            row = _locked(conn, intents.c.trace_id == trace_id, intents.c.kind == CALL)
        if row is None and conversation_id:
            row = _locked(conn, intents.c.conversation_id == conversation_id, intents.c.kind == CALL)
        if row is None and intent_id and (row := _locked(conn, *is_lost)) is not None:
            changed |= _found(row, trace_id, conversation_id)
        if row is None:
            return False
        if keeps_later and (row["outcome_at"] or 0) > outcome_at:
            return True
        found = {"conversation_id": conversation_id or row["conversation_id"]}
        _write(store, conn, row, {**found, **changed}, now)
    return True


@again
def record_ends(store: Store, ended: Sequence[tuple[str, Attempt]], *, now: datetime) -> None:
    """Write down, in one transaction, attempts at calls of a list that are over.

    An attempt that is not the newest of its call changes no row: an event alone tells of it.

    :param ended: with the id of its row each, some hundred of them. Of a row that is gone nothing is written.
    :raises SendAborted: the store does not answer.
    """
    ids, told = sorted({intent_id for intent_id, _ in ended}), []
    with store.writing() as conn:
        wanted = select(intents).where(intents.c.id.in_(ids)).order_by(intents.c.id).with_for_update()
        rows = {row["id"]: dict(row) for row in conn.execute(wanted).mappings()}
        for intent_id, attempt in ended:
            if intent_id in rows:
                rows[intent_id] |= _ended(rows[intent_id], attempt, now)
                told.append((intent_id, {**as_event(rows[intent_id]), ENDED: attempt.to_json()}))
        for intent_id in dict(told):
            conn.execute(update(intents).where(intents.c.id == intent_id).values(rows[intent_id]))
        append_all(conn, store.digests, at=to_ms(now), kind="outcome", payloads=told)


def known_ids(store: Store, ids: Iterable[tuple[str | None, str | None]]) -> set[str | None]:
    """Return those of some ids by which the store knows a call, with one query for each kind of id.

    :param ids: the trace id and the conversation id of each call, some hundred of them.
    """
    found: set[str | None] = set()
    columns = (intents.c.trace_id, intents.c.conversation_id)
    with store.reading() as conn:
        for column, of_calls in zip(columns, zip(*ids, strict=True), strict=False):
            names = {fitting(name): name for name in of_calls if name}
            wanted = select(column).where(column.in_(names), intents.c.kind == CALL)
            found |= {names[name] for name in conn.execute(wanted).scalars()} if names else set()
    return found


def record_batch_outcome(
    store: Store, *, batch_id: int, agent_id: int | None, outcome: str, now: datetime
) -> bool:
    """Write down that a batch call is over; return whether the store knows it.

    :param agent_id: as far as it is known: two accounts may each have a batch call of this id.
    :param outcome: in a word.
    :raises SendAborted: the store does not answer.
    """
    wanted = [intents.c.batch_id == batch_id, intents.c.kind == BATCH_CALL]
    if agent_id is not None:
        wanted.append(intents.c.agent_id == agent_id)
    with store.writing() as conn:
        row = _locked(conn, *wanted)
        if row is None:
            return False
        _write(store, conn, row, {"outcome": fitting(outcome[:NAME_LENGTH]), "outcome_at": to_ms(now)}, now)
    return True


def _locked(conn: Connection, *wanted: ColumnElement[bool]) -> Any:
    return conn.execute(select(intents).where(*wanted).with_for_update()).mappings().first()


def _write(store: Store, conn: Connection, row: Any, changed: Mapping[str, Any], now: datetime) -> None:
    is_news = changed["outcome"] != row["outcome"] or row["outcome_at"] is None
    if not is_news and all(row[name] == value for name, value in changed.items() if name != "outcome_at"):
        return
    newer = {**row, **changed, "version": row["version"] + 1}
    conn.execute(update(intents).where(intents.c.id == row["id"]).values(newer))
    append(conn, store.digests, at=to_ms(now), kind="outcome", subject=row["id"], payload=as_event(newer))


def _found(row: Any, trace_id: str | None, conversation_id: str | None) -> dict[str, Any]:
    """Return what a row is given whose call was found, as if the API had answered."""
    receipt = CallReceipt(row["agent_id"], trace_id, "initiated", conversation_id)
    intent = {**json.loads(row["intent"]), "sent": "unclear", "receipt": asdict(receipt)}
    return {
        "state": PLACED,
        "trace_id": trace_id,
        "conversation_id": conversation_id,
        "intent": json.dumps(intent, sort_keys=True, separators=(",", ":")),
    }


def _ended(row: Mapping[str, Any], attempt: Attempt, now: datetime) -> dict[str, Any]:
    """Return the columns that change with an attempt that is over."""
    changed: dict[str, Any] = {"version": row["version"] + 1}
    if _attempt_in(row) != attempt.number:
        return changed
    trace_id = attempt.trace_id and fitting(attempt.trace_id)
    conversation_id = attempt.conversation_id and fitting(attempt.conversation_id)
    if conversation_id and row["trace_id"] is None and row["conversation_id"] is None:
        changed |= _found(row, trace_id, conversation_id)
    changed["conversation_id"] = conversation_id or row["conversation_id"]
    outcome_at = to_ms(now) if attempt.end_ms is None else attempt.end_ms
    return {**changed, "outcome": fitting(attempt.status[:NAME_LENGTH]), "outcome_at": outcome_at}


def _attempt_in(row: Mapping[str, Any]) -> int:
    """Return the number of the attempt whose ids a row has: before a redial is sent, of the one before."""
    intent = json.loads(row["intent"])
    is_begun = row["state"] not in COUNTED and intent.get("last_receipt") is not None
    return int(intent.get("attempt", 1)) - is_begun
