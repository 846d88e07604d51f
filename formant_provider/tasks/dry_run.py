"""A dry run: everything is checked as for a call that is placed, and nothing is sent to the vendor."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum

if TYPE_CHECKING:
    from formant_provider.core.hours.openings import Openings

log = logging.getLogger(__name__)

# The status of its result.
DRY_RUN = "dry_run"
_WORDS = {"true": True, "false": False}
T = TypeVar("T")


def is_dry_run(value: object) -> bool:
    """Return whether a task is to be a dry run, as its rendered field says: a bool, or one of two words."""
    from formant_provider.api.errors import InvalidInput

    if isinstance(value, bool):
        return value
    said = _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
    if said is None:  # to take it for False would call people
        raise InvalidInput("dry_run", "must be True or False, or a template that renders to one of the words")
    return said


def checked(check: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return what a check returns; or ``None``, and in a word why the task would be skipped."""
    from formant_provider.api.errors import CallNotAllowed

    try:
        return check(), None
    except CallNotAllowed as error:
        if not error.skips:
            raise
        log.warning("Dry run: this task would be skipped. %s.", error)
        return None, error.reason


def tell_openings(
    openings: Openings | None, numbers: Iterable[str], *, at: datetime | None = None
) -> list[dict[str, Any]]:
    """Log and return how many of these numbers, and of those that are closed, may be called when."""
    from formant_provider.api.models import utc_text
    from formant_provider.core.hours.openings import Openings, by_opening

    openings = openings or Openings(None, pendulum.now("UTC"))
    entries = by_opening(openings.closed + Counter(map(openings.of, numbers)))
    wanted = f"at {utc_text(at)}" if at else "now"
    for entry in entries:
        later = f"from {entry['opens_at']} on" if entry["opens_at"] else "at no time that is known"
        when = wanted if entry["is_open"] else later
        log.info("Dry run: %s may be called %s (%s).", entry["count"], when, entry["zones"] or "zone unknown")
    log.info("Dry run: nothing was sent to FormantAI, and nobody is called.")
    return entries
