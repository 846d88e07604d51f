"""What came of each row of a batch call's contacts: the conversation with who was called, or why nobody was.

The vendor lists neither the rows of a batch call nor its conversations. So the agent's conversations since it
began are read, and each recipient gets the newest one with their number. A call that somebody else places to
the same person through the same agent meanwhile cannot be told from the batch call's own.

Both sides meet in a database on disk, since a batch call may have a million recipients.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

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
create table conversation (digits text primary key, start integer, record text);
"""
_LIST = "insert or ignore into listed values (null, ?, ?, ?, ?, ?, ?)"
_ROWS = """
select row_number, part, reason, number, carried, record from listed left join conversation using (digits)
order by place
"""


class BatchReport:
    """The rows of one batch call and its conversations; to be used in a ``with`` block.

    :param folder: where the database lies; it holds what is private.
    :ivar has_parts: whether the rows are in several files.
    :ivar by_status: how many recipients have which status, once :meth:`rows` was read to its end.
    :ivar rejected: how many rows are not called; known then as well.
    """

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "report.db", isolation_level=None)
        self._database.executescript(f"pragma journal_mode = off; pragma synchronous = off; {_TABLES} begin;")
        self.by_status: Counter[str] = Counter()
        self.has_parts, self.rejected = False, 0

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
        """Note a conversation; of several with one person the newest counts."""
        self._database.execute(
            "insert into conversation values (?, ?, ?) on conflict (digits) do update"
            " set start = excluded.start, record = excluded.record where excluded.start >= start",
            (
                _digits(record.contact_number),
                record.start_timestamp or 0,
                json.dumps({**asdict(record), "transcript": None}),
            ),
        )

    def rows(self) -> Iterator[tuple[ListedRow, Conversation | None]]:
        """Yield every row, and the conversation that came of it when there is one on record."""
        for row_number, part, reason, number, carried, kept in self._database.execute(_ROWS):
            row = ListedRow(row_number, part, reason, number, json.loads(carried) if carried else {})
            record = Conversation(**json.loads(kept)) if kept else None
            if reason is not None:
                self.rejected += 1
            else:
                self.by_status[str(record.status or "unknown") if record else NO_RECORD] += 1
            yield row, record

    def _listed(self, row: ListedRow) -> tuple[object, ...]:
        self.has_parts = self.has_parts or row.part is not None
        *cells, carried = row
        digits = _digits(row.number) if row.reason is None else None
        return digits, *cells, json.dumps(carried) if carried else ""


def _digits(number: str | None) -> str:
    return re.sub(r"\D", "", number or "")
