"""What a placement goes by, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from formant_provider.api.errors import FormantError
from formant_provider.api.models import CallReceipt


class Result(StrEnum):
    """How a placement ended, when it did not end in an error."""

    PLACED = "placed"
    FOUND = "found"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class Placement:
    """Where a call stands.

    :param result: ``placed``: the receipt is the API's own; ``found``: an earlier send had placed it, and its
        ids were found; ``unconfirmed``: it may have been placed before, and no conversation is
        proven to be its.
    :param receipt: ``None`` when unconfirmed.
    :param since: when its conversation can begin at the earliest, aware.
    :param until: when it can have begun at the latest, aware; ``None`` when it has a receipt, which tells
        more, and when no conversation can ever be told to be its.
    """

    result: Result
    receipt: CallReceipt | None
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True)
class Rules:
    """What the user chose, and what the caller knows.

    :param taken_since: when somebody else can have used the key of a fresh intent at the earliest, aware;
        ``None`` or not in the past: nobody else can have.
    :param look_since: when somebody else can have placed the call so long ago that the vendor has forgotten
        its key, aware: then it is looked for before it is sent. ``None``: nobody can have.
    :param own_traces: asked when a conversation has to be told from others: trace ids of calls that this task
        has placed, as far as they are known.
    :param was_cleared: whether the run was cleared, so that others are likely to have used the key: then a
        call is not held back before it was looked for.
    :param lookup_timeout_s: seconds to look for the record of a call that was placed already.
    :param now: tells the current time, aware.
    :param sleep: waits for so many seconds.
    :param redial_on: statuses of a conversation after which a further try places a further call.
    :param keep_back: asked right before every send; the error it returns is raised instead.
    :param when: says, of the moment that was asked for and the current time, when a call that is sent now is
        to ring; ``None`` means at once. Raises ``CallNotAllowed`` or ``InvalidInput`` if it is not to.
    """

    taken_since: datetime | None
    lookup_timeout_s: float
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    look_since: datetime | None = None
    was_cleared: bool = False
    own_traces: Callable[[], Collection[str]] = tuple
    redial_on: frozenset[str] = frozenset()
    keep_back: Callable[[], FormantError | None] | None = None
    when: Callable[[datetime | None, datetime], datetime | None] = lambda asked, _now: asked
