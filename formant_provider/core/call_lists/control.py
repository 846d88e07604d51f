"""What is asked while a list is worked off, and what its work comes to for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Rest:
    """There is nothing to do before a moment."""

    until: datetime


@dataclass
class Control:
    """What is asked again and again while a list is worked off.

    :param stopped: whether this process is to end.
    :param held: who lets nothing more go out for now, in words; ``None``: nobody.
    :param over: in a word and in words, why nothing is placed any more for good; ``None``: nothing says so.
    :param tell: says how the list stands, at most so often as it wants.
    """

    stopped: Callable[[], bool]
    held: Callable[[], str | None]
    over: Callable[[], tuple[str, str] | None]
    tell: Callable[[], None]


# Where nothing has happened for so long, the worker is given back for as long.
QUIET = timedelta(minutes=5)


def rest(
    now: datetime,
    due_at: datetime | None,
    longest_wait: timedelta,
    *,
    blocked_for: timedelta,
    quiet_for: timedelta | None,
) -> Rest | None:
    """Return until when there is nothing to do, if that is long; ``None`` if it is not.

    :param due_at: when the next call may be sent; ``None`` if none is waiting.
    :param longest_wait: for how long the worker may wait for it.
    :param blocked_for: for how long nothing may be asked, of whatever.
    :param quiet_for: for how long nothing has happened, if calls are in progress; ``None`` if none is.
    """
    # While calls are in progress a poll may be under way: one that is given up has to begin anew.
    if blocked_for > (longest_wait if quiet_for is None else max(longest_wait, QUIET)):
        return Rest(now + blocked_for)
    is_near = due_at is not None and due_at - now <= longest_wait
    if is_near or (quiet_for is None and due_at is None):
        return None
    if quiet_for is None:
        return None if due_at is None else Rest(due_at)
    return Rest(min(due_at or now + QUIET, now + QUIET)) if quiet_for > QUIET else None
