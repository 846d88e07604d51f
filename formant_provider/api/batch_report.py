"""Who of a campaign was reached: its recipients, each with the conversation that came of it.

The vendor lists neither the rows of a batch call nor its conversations. So the agent's conversations since it
began are read, and each recipient gets the newest one with their number. A call that somebody else places to
the same person through the same agent meanwhile cannot be told from the campaign's own.

Both sides meet in a database on disk, since a campaign may have a million recipients.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from formant_provider.api.models import Conversation

# What a recipient is listed as without whom no conversation is on record.
NO_RECORD = "no_record"
_TABLES = """
create table recipient (place integer primary key, number text, digits text unique);
create table conversation (digits text primary key, start integer, record text);
"""
_ROWS = """
select recipient.number, conversation.record from recipient left join conversation using (digits)
order by recipient.place
"""


class BatchReport:
    """The recipients of one campaign and their conversations; to be used in a ``with`` block.

    :param folder: where the database lies; it holds what is private.
    :ivar by_status: how many recipients have which status, once :meth:`rows` was read to its end.
    """

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "report.db", isolation_level=None)
        self._database.executescript(f"pragma journal_mode = off; pragma synchronous = off; {_TABLES} begin;")
        self.by_status: Counter[str] = Counter()

    def __enter__(self) -> BatchReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()

    def add_recipients(self, numbers: Iterable[str]) -> None:
        """List who was to be called, in this order."""
        rows = ((number, _digits(number)) for number in numbers)
        self._database.executemany("insert or ignore into recipient (number, digits) values (?, ?)", rows)

    def add(self, record: Conversation) -> None:
        """Note a conversation; of several with one person the newest counts."""
        self._database.execute(
            "insert into conversation values (?, ?, ?) on conflict (digits) do update"
            " set start = excluded.start, record = excluded.record where excluded.start >= start",
            (_digits(record.contact_number), record.start_timestamp or 0, _kept(record)),
        )

    def rows(self) -> Iterator[tuple[str, Conversation | None]]:
        """Yield every recipient, and their conversation when there is one on record."""
        for number, kept in self._database.execute(_ROWS):
            record = Conversation(**json.loads(kept)) if kept else None
            self.by_status[str(record.status or "unknown") if record else NO_RECORD] += 1
            yield number, record


def read_numbers(lines: Iterable[bytes]) -> Iterator[str]:
    """Read recipients, one on each line."""
    for line in lines:
        yield line.decode().strip()


def _kept(record: Conversation) -> str:
    return json.dumps({**asdict(record), "transcript": None})


def _digits(number: str | None) -> str:
    return re.sub(r"\D", "", number or "")
