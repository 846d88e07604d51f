"""Searches for something that the API may show only later, until it is there or the time is up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from formant_provider.api.errors import FormantError
from formant_provider.api.retry import may_repeat

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 10.0

T = TypeVar("T")


def search_until_found(
    search: Callable[[], T | None], timeout_s: float, sleep: Callable[[float], None]
) -> tuple[T | None, FormantError | None]:
    """Search until something is found or the time is up; return it, and the error of the last search.

    :param search: searches once; ``None`` means that nothing was found.
    :param timeout_s: seconds to search for; 0 searches once.
    :param sleep: waits for so many seconds.
    """
    waited_s, pause_s = 0.0, 1.0
    while True:
        found, error = _once(search)
        left_s = timeout_s - waited_s
        asked_s = (error.retry_after_s if error else None) or 0.0
        is_final = error is not None and not may_repeat(error)
        if found is not None or is_final or left_s <= 0 or asked_s > left_s:
            return found, error
        pause_s = max(min(pause_s, left_s), asked_s)
        sleep(pause_s)
        waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)


def _once(search: Callable[[], T | None]) -> tuple[T | None, FormantError | None]:
    try:
        return search(), None
    except FormantError as error:
        log.warning("%s. The search continues.", error)
        return None, error
