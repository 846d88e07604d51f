"""Where a row of a list stands, and what is known of one that is called. Values only.

::

    rejected
    waiting ─► sending ─► in_progress ─► over
       ▲          │            │
       └──────────┴────────────┘  not sent after all; or not reached, and to be called again
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from formant_provider.core.call_lists.calls import Attempt

REJECTED = "rejected"


class State(StrEnum):
    """Where a row stands."""

    REJECTED = "rejected"
    WAITING = "waiting"
    SENDING = "sending"
    IN_PROGRESS = "in_progress"
    OVER = "over"


class About(NamedTuple):
    """What else is known of a row.

    :param carried: cells that are kept for the results.
    :param zone: IANA name of the time zone of its number, if there is one alone.
    """

    reference: str | None
    carried: Mapping[str, str]
    zone: str | None


class Call(NamedTuple):
    """A row that is called.

    :param attempt: the one that is due, or in progress.
    :param ended: attempts that are over.
    :param placed: what is known of the one in progress, plain values.
    :param row_number: as a person counts the rows of its file.
    :param due_ms: when it is due, in milliseconds since 1970.
    :param barred: why the person must not be called any more, in a word; ``None``: nothing says so.
    """

    place: int
    number: str
    reference: str | None
    zone: str | None
    agent_id: int
    key: str
    has_own_name: bool
    parameters: tuple[tuple[str, str], ...]
    metadata: str | None
    attempt: int
    ended: tuple[Attempt, ...]
    placed: Mapping[str, Any] | None
    barred: str | None = None
    due_ms: int = 0
    row_number: int = 0
