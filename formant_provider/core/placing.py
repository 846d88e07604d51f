"""What placing a call and placing a batch call have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from formant_provider.api.errors import FormantError


class Result(StrEnum):
    """How a placement ended, when it did not end in an error."""

    PLACED = "placed"
    FOUND = "found"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True)
class Callbacks:
    """What a placement asks of its caller.

    :param now: tells the current time, aware.
    :param sleep: waits for so many seconds.
    :param check_before_send: asked right before every send; the error it returns is raised instead.
    """

    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    check_before_send: Callable[[], FormantError | None] | None = None
