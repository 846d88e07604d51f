"""Who must not be called: people are put on the list and taken off it here, each with who did it and why.

A person is a digest here, never a number. Each change is an event of its own, in the same transaction, so
that the chain tells who was on the list when. Nothing undoes what was decided after it was asked for: a run
that is cleared after weeks neither takes off who was put on since, nor puts on who was taken off since.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, update

from formant_provider.api.errors import InvalidInput
from formant_provider.core.numbers.in_text import may_hold_number
from formant_provider.store.admission import upserted
from formant_provider.store.events import append_all
from formant_provider.store.failures import again
from formant_provider.store.schema import NAME_LENGTH, events, people
from formant_provider.store.store import to_moment, to_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

ADDED, REMOVED = "suppressed", "unsuppressed"
Asked = Mapping[str, datetime | None]
# So many people are changed in one transaction: calls that are placed meanwhile wait for no longer than that.
AT_ONCE = 5_000
# So many digests fit into one statement, whatever the database.
_IN_ONE = 1_000

_CHANGED = "suppressed_at", "reason", "suppressed_by", "asked_at"
_THOSE = people.c.recipient.in_(bindparam("recipients", expanding=True))
_LISTED = select(people).where(_THOSE, people.c.suppressed_at.is_not(None))
_CHANGE = update(people).where(_THOSE).values({name: bindparam(f"new_{name}") for name in _CHANGED})
_ASK_AGAIN = update(people).where(_THOSE).values(asked_at=bindparam("new_asked_at"))
_LAST = (
    select(events.c.subject, func.max(events.c.at))
    .where(events.c.subject.in_(bindparam("recipients", expanding=True)))
    .group_by(events.c.subject)
)
_LAST_REMOVED = _LAST.where(events.c.kind == REMOVED)


@dataclass(frozen=True)
class Suppression:
    """An entry of the list.

    :param recipient: the digest of a person.
    """

    recipient: str
    since: datetime
    reason: str
    by: str


@dataclass(frozen=True)
class Change:
    """What came of a change.

    :param changed: people who were put on the list, or taken off it.
    :param unchanged: people who were on it already, or were not on it.
    :param decided_since: people of whom it was decided otherwise after this was asked for.
    """

    changed: int = 0
    unchanged: int = 0
    decided_since: int = 0

    def __add__(self, other: Change) -> Change:
        return Change(
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.decided_since + other.decided_since,
        )


@dataclass(frozen=True)
class Decision:
    """Why somebody is put on the list or taken off it, and who says so.

    :param reason: text of at most 250 characters, without a number.
    :param by: a person's name, or the task of a DAG; at most 250 characters.
    :param at: when the list is changed, aware.
    """

    reason: str
    by: str
    at: datetime

    def __post_init__(self) -> None:
        for name, value in (("reason", self.reason), ("by", self.by)):
            check_text(name, value)
        refuse_number("reason", self.reason)


def add(store: Store, asked: Asked, decision: Decision) -> Change:
    """Put people on the list. Who is on it already stays so, with the reason and date of then.

    :param asked: their digests, each with the moment, aware, when this was asked for: who was taken off the
        list after that is not put on it again. ``None`` means now, after all that was decided before,
        whatever the clocks of others have said.
    :raises SendAborted: the database does not answer. Some may be on the list; the same once more adds the
        rest.
    """
    change = _in_turn(store, asked, decision, _add)
    _log(store, "%s added, %s already on it, %s removed since it was asked for", change, decision)
    return change


def remove(store: Store, asked: Asked, decision: Decision) -> Change:
    """Take people off the list.

    :param asked: their digests, each with the moment, aware, when this was asked for: who was put on the list
        after that stays on it, and so does who was on it, and was to be put on it after that once more.
        ``None`` as of :func:`add`.
    :raises SendAborted: as of :func:`add`.
    """
    change = _in_turn(store, asked, decision, _remove)
    _log(store, "%s removed, %s not on it, %s added since it was asked for", change, decision)
    return change


def refuse_number(field: str, text: str) -> None:
    """Refuse a text that may hold a phone number: the store keeps it as it is.

    :raises InvalidInput: without the text.
    """
    if may_hold_number(text):
        raise InvalidInput(
            field,
            "holds what may be a phone number, and the call store keeps none; name a case by letters or by"
            " fewer than seven digits",
        )


def digests_of(store: Store, numbers: Iterable[int]) -> list[str]:
    """Return the digests of numbers, each an integer of the digits of E.164."""
    return [store.digests.recipient(f"+{number}") for number in numbers]


def listing(store: Store) -> Iterator[Suppression]:
    """Yield all entries, the oldest first."""
    wanted = select(people).where(people.c.suppressed_at.is_not(None))
    with store.reading() as conn:
        yield from map(_entry, conn.execute(wanted.order_by(people.c.suppressed_at, people.c.recipient)))


def entries_of(conn: Connection, recipients: Iterable[str]) -> dict[str, Suppression]:
    """Return the entries of those among some people who are on the list, by digest."""
    rows = _rows(conn, _LISTED, recipients)
    return {row.recipient: _entry(row) for row in rows}


def which_suppressed(conn: Connection, recipients: Iterable[str]) -> set[str]:
    """Return those among some people who are on the list."""
    return {row.recipient for row in _rows(conn, _LISTED.with_only_columns(people.c.recipient), recipients)}


def _in_turn(store: Store, asked: Asked, decision: Decision, apply: Any) -> Change:
    """Change some at a time, in the order of their digests, so that two who do so wait for each other."""
    change = Change()
    for some in _chunks(sorted(asked), AT_ONCE):
        change += _change(store, {each: asked[each] for each in some}, decision, apply)
    return change


@again
def _change(store: Store, asked: Asked, decision: Decision, apply: Any) -> Change:
    with store.writing() as conn:
        changed: Change = apply(store, conn, asked, decision)
    return changed


def _add(store: Store, conn: Connection, asked: Asked, decision: Decision) -> Change:
    everybody = list(asked)
    # Who is new has a row from here on, and each row is ours until the end.
    locked = upserted(conn, people, {"recipient": bindparam("recipient")}, keep="recipient")
    conn.execute(locked, [{"recipient": each} for each in everybody])
    listed = {row.recipient: row.asked_at or row.suppressed_at for row in _rows(conn, _LISTED, everybody)}
    last_removed = dict(_rows(conn, _LAST_REMOVED, everybody))
    at = _later(conn, everybody, decision, listed.values())
    moments = _moments(asked, at)
    others = [each for each in everybody if each not in listed]
    new = [each for each in others if last_removed.get(each, -1) <= moments[each]]
    _put(store, conn, new, decision, at=at, kind=ADDED)
    _ask_again(conn, {each: moments[each] for each, before in listed.items() if before < moments[each]})
    return Change(len(new), len(listed), len(others) - len(new))


def _remove(store: Store, conn: Connection, asked: Asked, decision: Decision) -> Change:
    rows = _rows(conn, _LISTED.order_by(people.c.recipient).with_for_update(), asked)
    listed = {row.recipient: row.asked_at or row.suppressed_at for row in rows}
    at = _later(conn, listed, decision, listed.values())
    moments = _moments(asked, at)
    old = [recipient for recipient, since in listed.items() if since <= moments[recipient]]
    _put(store, conn, old, decision, at=at, kind=REMOVED)
    return Change(len(old), len(asked) - len(listed), len(listed) - len(old))


def _later(conn: Connection, recipients: Iterable[str], decision: Decision, known: Iterable[int]) -> int:
    """Return when a decision is made: after all before it, also by somebody whose clock was fast."""
    told = (at for _, at in _rows(conn, _LAST, recipients))
    return max(to_ms(decision.at), 1 + max((*told, *known), default=0))


def _moments(asked: Asked, now: int) -> dict[str, int]:
    return {each: now if moment is None else to_ms(moment) for each, moment in asked.items()}


def _ask_again(conn: Connection, moments: Mapping[str, int]) -> None:
    """Note that people on the list are to be on it, so that nobody takes them off who was asked before."""
    together = defaultdict[int, list[str]](list)
    for recipient, moment in moments.items():
        together[moment].append(recipient)
    for moment, recipients in together.items():
        for some in _chunks(recipients, _IN_ONE):
            conn.execute(_ASK_AGAIN, {"recipients": some, "new_asked_at": moment})


def _put(
    store: Store, conn: Connection, recipients: Sequence[str], decision: Decision, *, at: int, kind: str
) -> None:
    suppressed_at = at if kind == ADDED else None
    new = dict(zip(_CHANGED, (suppressed_at, decision.reason, decision.by, None), strict=True))
    for some in _chunks(recipients, _IN_ONE):
        conn.execute(_CHANGE, {"recipients": some, **{f"new_{name}": value for name, value in new.items()}})
    payloads = ((recipient, {"recipient": recipient, **new}) for recipient in recipients)
    append_all(conn, store.digests, at=at, kind=kind, payloads=payloads)


def _rows(conn: Connection, wanted: Any, recipients: Iterable[str]) -> list[Any]:
    chunks = _chunks(recipients, _IN_ONE)
    return [row for some in chunks for row in conn.execute(wanted, {"recipients": some})]


def _chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def _entry(row: Any) -> Suppression:
    return Suppression(row.recipient, to_moment(row.suppressed_at), row.reason, row.suppressed_by)


def _log(store: Store, counts: str, change: Change, decision: Decision) -> None:
    numbers = (change.changed, change.unchanged, change.decided_since)
    text = f"Do-not-call list of the call store (%s): {counts}. By %s: %s"
    log.info(text, store.where, *numbers, decision.by, decision.reason)


def check_text(name: str, value: str) -> None:
    """Refuse what is no line of text that fits into the store.

    :raises InvalidInput: without the text.
    """
    if not isinstance(value, str) or value.strip() in {"", "None"}:
        raise InvalidInput(name, "is missing or blank: it says later why somebody is not called, or is again")
    if len(value) > NAME_LENGTH or not value.isprintable():
        raise InvalidInput(name, f"must be one line of at most {NAME_LENGTH} characters")
