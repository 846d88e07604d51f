"""How a call list stands, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of one list.

    :param rows: all rows of the list; each is in one of the following five.
    :param rejected: rows that are not called, and never were.
    :param waiting: rows that are to be called, or called again.
    :param in_progress: rows whose newest attempt is not over, as far as is known.
    :param reached: rows whose last attempt was a success.
    :param closed: rows that were called, were not reached, and are not called again.
    :param calls: attempts that were placed, or may have been.
    :param ended: attempts that are over.
    :param failed: attempts that are over and were no success.
    :param seconds: how long all conversations lasted together.
    :param by_reason: rows that were rejected, by the reason.
    :param by_status: rows that were called, by the status of their last attempt that is over.
    """

    rows: int = 0
    rejected: int = 0
    waiting: int = 0
    in_progress: int = 0
    reached: int = 0
    closed: int = 0
    calls: int = 0
    ended: int = 0
    failed: int = 0
    seconds: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
