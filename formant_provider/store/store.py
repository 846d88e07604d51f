"""The call store, as everybody who uses it is given it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from formant_provider.store.failures import translated
from formant_provider.store.schema import chain
from formant_provider.store.schema import store as facts
from formant_provider.store.secrets import Digests, new_digest_key, opened
from formant_provider.store.upgrades import SCHEMA_VERSION, check, upgrade, version

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

DIGEST_KEY, INSTALLED_AT, PURGED_BEFORE = "digest_key", "installed_at", "purged_before"
# A run that is younger than this began after any purge that is allowed.
_NEVER_PURGED = timedelta(hours=25)


@dataclass(frozen=True)
class Store:
    """An open call store.

    :param where: the database in words for people, without a password.
    :param known_since: from when on the store knows of all calls, as of when it was opened, aware.
    """

    engine: Engine = field(repr=False)
    where: str
    digests: Digests
    known_since: datetime

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction, which is committed at the end of the ``with`` statement.

        :raises SendAborted: the database does not answer, or refuses; nothing was written.
        """
        with translated(self.where), self.engine.begin() as conn:
            yield conn

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to read with.

        :raises SendAborted: the database does not answer, or refuses.
        """
        with translated(self.where), _reader(self.engine).begin() as conn:
            yield conn

    def knows_since(self, began: datetime, *, now: datetime, conn: Connection | None = None) -> bool:
        """Whether the store knows of all calls that a run may have asked for which began then.

        :param conn: the transaction for which it has to hold; ``None`` means now.
        """
        since = self.known_since
        if began < now - _NEVER_PURGED:  # somebody may have purged since
            with nullcontext(conn) if conn is not None else self.reading() as reader:
                since = _known_since(_facts(reader))
        return began >= since


def set_up(engine: Engine, where: str, secret: str, *, now: datetime) -> bool:
    """Make the tables of a store, or bring them up to date; return whether there was anything to do.

    :raises InvalidInput: there is a store, which this secret does not open.
    """
    with translated(where), engine.begin() as conn:
        was_changed = upgrade(conn)
        known = _facts(conn)
        if DIGEST_KEY not in known:
            key, at = new_digest_key(secret), str(to_ms(now))
            values = {DIGEST_KEY: key, INSTALLED_AT: at, PURGED_BEFORE: at}
            conn.execute(insert(facts), [{"name": name, "value": text} for name, text in values.items()])
            seq, first = first_base(opened(key, secret), at)
            conn.execute(
                insert(chain), {"id": 1, "seq": seq, "hash": first, "base_seq": seq, "base_hash": first}
            )
        else:
            opened(known[DIGEST_KEY], secret)
    return was_changed


def is_up_to_date(engine: Engine, where: str) -> bool:
    """Whether the tables are there, and of this version.

    :raises SendAborted: the database does not answer.
    """
    with translated(where), _reader(engine).begin() as conn:
        return version(conn) == SCHEMA_VERSION


def open_up(engine: Engine, where: str, secret: str) -> Store:
    """Open a store.

    :raises InvalidInput: its tables are of another version, or the secret does not open it.
    :raises SendAborted: the database does not answer.
    """
    with translated(where), _reader(engine).begin() as conn:
        check(conn, where)
        known = _facts(conn)
    return Store(engine, where, opened(str(known.get(DIGEST_KEY)), secret), _known_since(known))


def change(conn: Connection, name: str, changed: Callable[[str], str]) -> None:
    """Change one of the facts about a store."""
    row = facts.c.name == name
    value = conn.execute(select(facts.c.value).where(row).with_for_update()).scalar_one()
    conn.execute(update(facts).where(row).values(value=changed(value)))


def first_base(digests: Digests, installed_at: str) -> tuple[int, str]:
    """Return what a chain begins with: no event, and a hash that vouches for when the store was set up."""
    return 0, digests.chained(INSTALLED_AT, installed_at)


def facts_in(conn: Connection) -> dict[str, str]:
    """Return what is known of the store as a whole; but for its key, without which no hash is right."""
    return {name: value for name, value in _facts(conn).items() if name != DIGEST_KEY}


def to_ms(moment: datetime) -> int:
    """Return a moment as the tables have it."""
    return round(moment.timestamp() * 1000)


def to_moment(ms: int) -> datetime:
    """Return a moment of the tables, aware."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def _reader(engine: Engine) -> Engine:
    return engine.execution_options(formant_reads=True)


def _facts(conn: Connection) -> dict[str, Any]:
    return {row.name: row.value for row in conn.execute(select(facts.c.name, facts.c.value))}


def _known_since(known: dict[str, Any]) -> datetime:
    try:
        return to_moment(max(int(known[INSTALLED_AT]), int(known[PURGED_BEFORE])))
    except (KeyError, ValueError, OverflowError):  # somebody has edited them, so nothing is relied on
        return datetime.max.replace(tzinfo=UTC)
