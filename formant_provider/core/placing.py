"""What placing a call and placing a batch call have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from formant_provider.api.errors import FormantError
from formant_provider.api.retry import may_repeat

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 10.0

T = TypeVar("T")


class Result(StrEnum):
    """How a placement ended, when it did not end in an error."""

    PLACED = "placed"
    FOUND = "found"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class BasePolicy:
    """What the user chose, and what is known of others who may place the same. Values only.

    :param taken_since: when somebody else can have placed it, or used its key, at the earliest, aware;
        ``None``: nobody else can have.
    :param lookup_timeout_s: seconds to look for what may have been placed already.
    :param was_cleared: whether the run was cleared, so that others are likely to have placed it.
    """

    taken_since: datetime | None
    lookup_timeout_s: float
    was_cleared: bool = False


@dataclass(frozen=True)
class Callbacks:
    """What a placement asks of its caller.

    :param now: tells the current time, aware.
    :param sleep: waits for so many seconds.
    :param check_before_send: asked right before every send; the error it returns is raised instead.
    :param about: what this is about, in words, for the log of who places many; empty: there is but one.
    """

    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    check_before_send: Callable[[], FormantError | None] | None = None
    about: str = ""

    def log(self, level: int, text: str, *values: object) -> None:
        """Log a line; where many are placed it says which one it is about."""
        if self.about:
            text, values = f"%s: {text}", (self.about, *values)
        log.log(level, text, *values)

    def search(self, look: Callable[[], T | None], timeout_s: float) -> tuple[T | None, FormantError | None]:
        """Look until something is found or the time is up; return it, and the error of the last look.

        :param timeout_s: seconds to look for; 0 looks once.
        """
        waited_s, pause_s = 0.0, 1.0
        while True:
            found, error = None, None
            try:
                found = look()
            except FormantError as caught:
                self.log(logging.WARNING, "%s. The search continues.", caught)
                error = caught
            left_s = timeout_s - waited_s
            asked_s = (error.retry_after_s if error else None) or 0.0
            is_final = error is not None and not may_repeat(error)
            if found is not None or is_final or left_s <= 0 or asked_s > left_s:
                return found, error
            pause_s = max(min(pause_s, left_s), asked_s)
            self.sleep(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)
