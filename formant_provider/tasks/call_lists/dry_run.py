"""A dry run of a call list: who would be called when, and nobody is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from formant_provider.tasks.call_lists.ending import result_of
from formant_provider.tasks.dry_run import DRY_RUN, checked, tell_openings
from formant_provider.tasks.telling import tell

if TYPE_CHECKING:
    from formant_provider.tasks.call_lists.running import ListRun

_AT_ONCE = 5000


def dry_run_result(run: ListRun, row: Mapping[str, Any]) -> dict[str, Any]:
    """Do all that comes before calls are placed; return how many would be called, and when.

    :return: as that of a list, with ``scheduled``: how many would not be called yet for their
        ``scheduled_for``, or wait for their next attempt; ``by_opening`` of the others (see a dry run of a
        batch call); and ``capped``: how many of all are called as often as ``call_cap`` allows.
    """
    from formant_provider.core.conversations.listing import to_ms
    from formant_provider.core.hours.openings import Openings
    from formant_provider.tasks.call_lists.running import now

    _, reason = checked(run.restore)
    window = run.task.calling_window
    openings = Openings(window.hours if window else None, now())
    now_ms = to_ms(now())
    entries = tell_openings(openings, (call.number for call in run.board.waiting() if call.due_ms <= now_ms))
    scheduled = sum(call.due_ms > now_ms for call in run.board.waiting())
    uris = {"results_uri": None, "summary_uri": None}
    result = result_of(run.board, row, status=DRY_RUN, uris=uris)
    counts = {"scheduled": scheduled, "by_opening": entries, "capped": _capped(run)}
    result |= {"reason": reason, **counts}
    tell(run.context, result)
    return result


def _capped(run: ListRun) -> int | None:
    """Return how many of those who wait may not be called now for the cap; ``None`` without a store."""
    if run.ledgers.store is None:
        return None
    from formant_provider.store.reservation import Asking
    from formant_provider.tasks.call_lists.running import now

    asking = Asking(run.ledgers.store, run.cap.in_force(run.task.hook), now)
    numbers = (int(call.number) for call in run.board.waiting())
    capped = 0
    while some := list(islice(numbers, _AT_ONCE)):
        asking.suppressed(some)
        capped += len(asking.admit(some))
    return capped
