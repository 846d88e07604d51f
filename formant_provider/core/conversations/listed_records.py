"""Keeps the records of a list, by number, for :mod:`formant_provider.core.conversations.shared_listing`.

They lie in a database that SQLite keeps in memory while it is small, and otherwise in a file without a name:
a hundred thousand of them take no more memory than a hundred.
"""

from __future__ import annotations

import json
import sqlite3

from formant_provider.api.models import Conversation
from formant_provider.core.conversations.listing import digits_of, tells_number
from formant_provider.core.conversations.statuses import Endings

# What a look goes by. What was said stays with the vendor.
_FIELDS = (
    "conversation_id",
    "agent_id",
    "contact_number",
    "trace_id",
    "status",
    "start_timestamp",
    "end_timestamp",
    "duration_seconds",
)
# `digits` is null while nothing has told the number; `asked` is the reading after which its detail did not.
_TABLES = """
create table record (id text primary key, began, digits text, is_over, asked, fields text);
create index by_number on record (digits, began);
create index going_on on record (began) where not is_over;
"""
_TAKE = """
insert into record values (?, ?, ?, ?, 0, ?) on conflict (id) do update set began = excluded.began,
digits = coalesce(excluded.digits, digits), is_over = excluded.is_over, fields = excluded.fields
"""
_SINCE = "(began is null or began >= ?)"
_WITH_NUMBER = f"select fields from record where digits = ? and {_SINCE}"  # noqa: S608 - of constants alone
_TO_ASK = f"select fields from record where digits is null and asked < ? and {_SINCE}"  # noqa: S608 - the same
_NOTE = "update record set digits = ?, asked = ? where id = ?"
_NOT_OVER = "select id from record where not is_over and began >= ?"


class ListedRecords:
    """The records of one list, of each the newest copy. For one thread at a time."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(f"pragma journal_mode = off; {_TABLES} begin;")
        self._readings = 1

    def __len__(self) -> int:
        (count,) = self._database.execute("select count(*) from record").fetchone()
        return int(count)

    def close(self) -> None:
        """Forget all of them."""
        self._database.close()

    def finish_reading(self) -> None:
        """Note that the list was read: what nothing told before may be told now."""
        self._readings += 1

    def take(self, record: Conversation) -> None:
        """Keep a record as the list has it."""
        digits = digits_of(record.contact_number) if tells_number(record) else None
        fields = json.dumps({name: getattr(record, name) for name in _FIELDS})
        row = (record.conversation_id, record.start_timestamp, digits, _is_over(record), fields)
        self._database.execute(_TAKE, row)

    def not_over(self, since_ms: int) -> set[str]:
        """Return the ids of those that began since a moment and may still change."""
        return {id_ for (id_,) in self._database.execute(_NOT_OVER, (since_ms,))}

    def with_number(self, number: str, since_ms: int) -> list[Conversation]:
        """Return those with a number that began since a moment, or do not say when."""
        return self._found(_WITH_NUMBER, digits_of(number), since_ms)

    def to_ask(self, since_ms: int) -> list[Conversation]:
        """Return those since a moment whose number only their detail can tell, as far as it is not known."""
        return self._found(_TO_ASK, self._readings, since_ms)

    def note_detail(self, conversation_id: str, detail: Conversation | None) -> None:
        """Keep the number that a detail has told; one that did not is asked again after the next reading."""
        is_told = detail is not None and (tells_number(detail) or _is_over(detail))
        digits = digits_of(detail.contact_number) if detail is not None and is_told else None
        self._database.execute(_NOTE, (digits, self._readings, conversation_id))

    def _found(self, query: str, *values: object) -> list[Conversation]:
        return [Conversation(**json.loads(fields)) for (fields,) in self._database.execute(query, values)]


def _is_over(record: Conversation) -> bool:
    return Endings().is_over(record.status) or record.end_timestamp is not None
