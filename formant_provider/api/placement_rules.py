"""What a placement goes by, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
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
        ids were found; ``unconfirmed``: the key was used, and no record was found yet.
    :param receipt: ``None`` when unconfirmed.
    :param since: when its conversation can begin at the earliest, aware.
    """

    result: Result
    receipt: CallReceipt | None
    since: datetime


@dataclass(frozen=True)
class Rules:
    """What the user chose, and what the caller knows.

    :param taken_since: when somebody else can have used the key of a fresh intent at the earliest, aware;
        ``None`` or not in the past: nobody else can have.
    :param lookup_timeout_s: seconds to look for the record of a call that was placed already.
    :param now: tells the current time, aware.
    :param sleep: waits for so many seconds.
    :param redial_on: statuses of a conversation after which a further try places a further call.
    :param is_ours_alone: asked when the vendor refused a send and then called its key used, and somebody else
        may have sent it: whether nobody else did, for sure.
    :param keep_back: asked right before every send; the error it returns is raised instead.
    :param when: says, of the moment that was asked for and the current time, when a call that is sent now is
        to ring; ``None`` means at once. Raises ``HeldBack`` or ``InvalidInput`` if it is not to.
    """

    taken_since: datetime | None
    lookup_timeout_s: float
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    redial_on: frozenset[str] = frozenset()
    is_ours_alone: Callable[[], bool] = lambda: False
    keep_back: Callable[[], FormantError | None] | None = None
    when: Callable[[datetime | None, datetime], datetime | None] = lambda asked, _now: asked
