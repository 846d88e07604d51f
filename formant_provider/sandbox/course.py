"""The course of a call: its first attempt, and those that the platform adds until somebody answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from formant_provider.sandbox.numbers import COMPLETED, Ending
from formant_provider.sandbox.settings import Settings


@dataclass(frozen=True)
class Leg:
    """One attempt; all times are virtual and count from the start of the first.

    :param redial: 0 for the first attempt, n for the n-th redial.
    :param recorded: when the record can be read; None is never.
    """

    redial: int
    starts: timedelta
    ends: timedelta
    recorded: timedelta | None
    ending: Ending


def course_of(ending: Ending, settings: Settings) -> tuple[Leg, ...]:
    """Return the attempts of a call whose first one has this ending. The last that is tried is answered."""
    redials = 0 if ending.talked else settings.platform_redials
    legs, starts = [], timedelta()
    for redial in range(redials + 1):
        leg = leg_of(redial, starts, COMPLETED if redial and redial == redials else ending, settings)
        legs.append(leg)
        starts = leg.ends + timedelta(seconds=settings.platform_redial_after_seconds)
    return tuple(legs)


def leg_of(redial: int, starts: timedelta, ending: Ending, settings: Settings) -> Leg:
    """Return the attempt that begins after so long and has this ending."""
    ends = starts + timedelta(seconds=ending.lasts_seconds / settings.call_speed)
    return Leg(redial, starts, ends, _recorded(starts, ends, ending, settings), ending)


def _recorded(starts: timedelta, ends: timedelta, ending: Ending, settings: Settings) -> timedelta | None:
    if ending.record_delay_seconds is None:
        return None
    if ending.record_delay_seconds == 0 and settings.record_appears == "start":
        return starts
    return ends + timedelta(seconds=ending.record_delay_seconds / settings.call_speed)
