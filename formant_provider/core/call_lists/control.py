"""What is asked while a list is worked off, and what its work comes to for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


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
