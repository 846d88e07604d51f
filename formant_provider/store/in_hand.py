"""Waits for whoever has a call in hand: two that place one call at once would both send it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from formant_provider.store.intent_rows import find_row

if TYPE_CHECKING:
    from formant_provider.store.store import Store

log = logging.getLogger(__name__)

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


def busy_s(row: Mapping[str, Any], process: str, task: str, *, try_number: int, now: int) -> float:
    """Return for how many seconds another process may still be at work on a row.

    :param process: this one's name, which begins with that of its task, as all of them do.
    :param now: milliseconds since 1970.
    """
    if row["sending_until"] is None or row["sending_by"] == process:
        return 0.0
    if row["sending_by"].startswith(task) and row["try_number"] < try_number:
        return 0.0  # Airflow has given it up
    return float(row["sending_until"] - now) / 1000


def row_at_rest(
    store: Store,
    intent_id: str,
    busy_s: Callable[[Mapping[str, Any]], float],
    *,
    longest_s: float,
    sleep: Callable[[float], None],
) -> dict[str, Any] | None:
    """Return the row of an intent, once nobody else has it in hand; ``None`` when there is none.

    :param busy_s: returns for how many seconds somebody else may still have a row in hand, by its own word.
    :param longest_s: for how long that word is believed, since the clock behind it may be wrong.
    :raises SendAborted: the store does not answer.
    """
    pause_s, waited_s = _SHORTEST_PAUSE_S, 0.0
    while True:
        with store.reading() as conn:
            row = find_row(conn, intent_id)
        left_s = 0.0 if row is None else min(busy_s(row), longest_s - waited_s)
        if left_s <= 0:
            return row
        if not waited_s:
            log.info("Another process is placing the same call: waiting for it, %.0f s at most.", left_s)
        sleep(min(pause_s, left_s))
        pause_s, waited_s = min(2 * pause_s, _LONGEST_PAUSE_S), waited_s + min(pause_s, left_s)
