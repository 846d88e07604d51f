"""What came of each row of a batch call's contacts: the conversation with who was called, or why nobody was.

The vendor lists neither the rows of a batch call nor its conversations. So the agent's conversations since it
began are read, and each recipient gets the newest one with their number. A call that somebody else places to
the same person through the same agent meanwhile cannot be told from the batch call's own.

What webhooks have told comes first, and of whom they have told the end nothing is read. The list is the word
that counts where it knows of a later attempt.

All sides meet in a database on disk, since a batch call may have a million recipients.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from formant_provider.api.fingerprints import whole_digits
from formant_provider.api.models import Conversation
from formant_provider.core.contacts.row_list import ListedRow

# What a recipient is listed as without whom no conversation is on record, and a row that is not called.
NO_RECORD = "no_record"
REJECTED = "rejected"
# A row without digits is one that is not called, and meets no conversation.
_TABLES = """
create table listed (
    place integer primary key, digits text unique,
    row_number integer, part text, reason text, number text, carried text
);
create table conversation (
    digits text primary key, start integer, rank integer, is_told integer, is_final integer, record text
);
create table came_in (conversation_id text, digits text, primary key (conversation_id, digits)) without rowid;
"""
_LIST = "insert or ignore into listed values (null, ?, ?, ?, ?, ?, ?)"
# An event may leave out the fraction of a moment that the list has.
_ADD = """
insert into conversation values (?, ?, ?, ?, ?, ?) on conflict (digits) do update
set start = excluded.start, rank = excluded.rank, is_told = excluded.is_told, is_final = excluded.is_final,
    record = excluded.record
where (excluded.start / 1000, excluded.rank, excluded.start) >= (start / 1000, rank, start)
"""
_CAME_IN = "select 1 from came_in where conversation_id = ? and digits = ?"
_NOT_OVER = """
select 1 from listed left join conversation using (digits)
where digits is not null and is_final is not 1 limit 1
"""
_NOTE_CALLER = "insert or ignore into came_in values (?, ?)"
# Of one attempt, what an event tells of its end counts most, and of two events the later one.
_UNFINISHED, _FROM_LIST = -1, 0
_ROWS = """
select row_number, part, reason, number, carried, record, is_told
from listed left join conversation using (digits) order by place
"""


class BatchReport:
    """The rows of one batch call and its conversations; to be used in a ``with`` block.

    :param folder: where the database lies; it holds what is private.
    :ivar has_parts: whether the rows are in several files.
    :ivar by_status: how many recipients have which status, once :meth:`rows` was read to its end.
    :ivar rejected: how many rows are not called; known then as well.
    :ivar from_webhooks: of how many recipients an event has told all; known then as well.
    """

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "report.db", isolation_level=None)
        self._database.executescript(f"pragma journal_mode = off; pragma synchronous = off; {_TABLES} begin;")
        self.by_status: Counter[str] = Counter()
        self.has_parts, self.rejected, self.from_webhooks = False, 0, 0

    def __enter__(self) -> BatchReport:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add_rows(self, rows: Iterable[ListedRow]) -> None:
        """List rows, in this order. Who is called is listed once."""
        self._database.executemany(_LIST, map(self._listed, rows))

    def add_recipient(self, number: str) -> None:
        """List somebody who was called, of whose row nothing is known."""
        self.add_rows([ListedRow(None, None, None, number, {})])

    def add(self, record: Conversation) -> None:
        """Note a conversation of the list; of several with one person the newest counts.

        One is passed over of which an event has told that it is a call from the recipient, under whose number
        it may be listed.
        """
        digits = _digits(record.contact_number)
        if not self._database.execute(_CAME_IN, (record.conversation_id, digits)).fetchone():
            self._add(record, digits, _FROM_LIST, is_told=False, is_final=False)

    def add_told(
        self,
        record: Conversation,
        sent_at: datetime,
        *,
        is_whole: bool,
        is_final: bool,
        from_phone: str | None = None,
    ) -> None:
        """Note what an event tells; of several of one person the newest counts.

        One that hides who was called tells nothing: the list may know.

        :param is_whole: whether its detail need not be read.
        :param is_final: whether no further attempt is made.
        :param from_phone: who has called.
        """
        called, caller = whole_digits(record.contact_number), whole_digits(from_phone)
        if caller and caller != called:
            self._database.execute(_NOTE_CALLER, (record.conversation_id, caller))
        if called:
            rank = round(sent_at.timestamp() * 1000) if is_whole else _UNFINISHED
            self._add(record, called, rank, is_told=is_whole, is_final=is_whole and is_final)

    @property
    def knows_all_ends(self) -> bool:
        """Whether events have told how the last attempt to reach each recipient ended."""
        return self._database.execute(_NOT_OVER).fetchone() is None

    def rows(
        self, complete: Callable[[Conversation], Conversation] = lambda record: record
    ) -> Iterator[tuple[ListedRow, Conversation | None]]:
        """Yield every row, and the conversation that came of it when there is one on record.

        :param complete: reads the rest of a record that is of the list.
        """
        for row_number, part, reason, number, carried, kept, is_told in self._database.execute(_ROWS):
            row = ListedRow(row_number, part, reason, number, json.loads(carried) if carried else {})
            record = Conversation(**json.loads(kept)) if kept else None
            if reason is not None:
                self.rejected += 1
            else:
                self.by_status[str(record.status or "unknown") if record else NO_RECORD] += 1
            self.from_webhooks += bool(is_told)
            yield row, record if record is None or is_told else complete(record)

    def _add(self, record: Conversation, digits: str, rank: int, *, is_told: bool, is_final: bool) -> None:
        kept = json.dumps({**asdict(record), "transcript": None})
        self._database.execute(_ADD, (digits, record.start_timestamp or 0, rank, is_told, is_final, kept))

    def _listed(self, row: ListedRow) -> tuple[object, ...]:
        self.has_parts = self.has_parts or row.part is not None
        *cells, carried = row
        digits = _digits(row.number) if row.reason is None else None
        return digits, *cells, json.dumps(carried) if carried else ""


def _digits(number: str | None) -> str:
    return re.sub(r"\D", "", number or "")
