"""The attempts that one accepted call leads to: the first, and the redials that the platform adds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from formant_provider.sandbox.calls import Attempt
from formant_provider.sandbox.numbers import COMPLETED, Ending
from formant_provider.sandbox.settings import Settings


@dataclass(frozen=True)
class PlannedAttempt:
    """One attempt of a call. All times are virtual and count from the start of the first attempt.

    :param redial: 0 for the first attempt, n for the n-th redial.
    :param recorded: when its record can be read; None is never.
    """

    redial: int
    starts: timedelta
    ends: timedelta
    recorded: timedelta | None
    ending: Ending

    def fields_at(self, start: datetime) -> dict[str, Any]:
        """Return the fields of an ``Attempt`` that follow from this plan, if the first one starts then."""
        return {
            "starts_at": start + self.starts,
            "ends_at": start + self.ends,
            "recorded_at": None if self.recorded is None else start + self.recorded,
            "ending": self.ending,
            "redial": self.redial,
        }


def plan_attempts(ending: Ending, settings: Settings) -> tuple[PlannedAttempt, ...]:
    """Return the attempts of a call whose first attempt has this ending. The last redial is answered."""
    redials = 0 if ending.talked else settings.platform_redials
    attempts, starts = [], timedelta()
    for redial in range(redials + 1):
        answered = redial and redial == redials
        attempts.append(plan_attempt(COMPLETED if answered else ending, settings, starts, redial))
        starts = attempts[-1].ends + timedelta(seconds=settings.platform_redial_after_seconds)
    return tuple(attempts)


def plan_attempt(
    ending: Ending, settings: Settings, starts: timedelta = timedelta(), redial: int = 0
) -> PlannedAttempt:
    """Return one attempt with this ending."""
    ends = starts + timedelta(seconds=ending.lasts_seconds / settings.call_speed)
    delay = ending.record_delay_seconds
    if delay is None:
        recorded = None
    elif delay == 0 and settings.record_appears == "start":
        recorded = starts
    else:
        recorded = ends + timedelta(seconds=delay / settings.call_speed)
    return PlannedAttempt(redial, starts, ends, recorded, ending)


def next_redial_at(attempt: Attempt, settings: Settings) -> datetime | None:
    """Return when the platform redials after this attempt; None when it was the last."""
    if attempt.ending.talked or attempt.redial >= settings.platform_redials:
        return None
    return attempt.ends_at + timedelta(seconds=settings.platform_redial_after_seconds)
