"""Gives out turns to place a call, in the order of arrival, so that no minute holds more calls than it may.

Two moments are kept. *Tail* is the next place in the queue: who has to wait is given it, first come, first
served, and it moves on by the spacing. *Gate* is when the next call may be placed at the earliest. A place
says from when on one may pass the gate. So whoever comes late loses no turn, and the gate alone is exact.

All moments are milliseconds of one clock, the database's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from formant_provider.api.errors import SendAborted

# A turn may be taken so much late, and the request may leave so much after that. Whoever takes longer asks
# again.
LATEST_MS = 1000
_WINDOW_MS = 60_000
# A place that nobody has taken for so long was a dead task's, and with it the places behind are: a task that
# wakes from a deferral is back within a minute, if Airflow keeps up.
ABANDONED_MS = 120_000


def spacing_ms(calls_per_minute: float) -> int:
    """Return how far apart turns are, so that no 60 seconds at the API hold more than ``calls_per_minute``.

    A request leaves up to two seconds after its turn. So those of any 60 seconds had their turns within 62,
    and 62 seconds are shared out. Part of a call is none: 2.5 a minute are 2, and 0.5 are one in two minutes.
    """
    calls = max(1, math.floor(calls_per_minute))
    window = _WINDOW_MS if calls_per_minute >= 1 else _WINDOW_MS / calls_per_minute
    return math.ceil((window + 2 * LATEST_MS) / calls)


class PaceExceeded(SendAborted):
    """It is not this call's turn yet. No task ends with it: each waits, here or without a worker.

    :param retry_after_s: seconds until it is, or until it is worth asking again.
    :param waits_here: whether that is short enough to be waited for where the call is placed.
    """

    def __init__(self, message: str, *, retry_after_s: float, waits_here: bool = False) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.waits_here = waits_here


@dataclass(frozen=True)
class Queue:
    """Where the queue of an account stands.

    :param tail: the place of the next one who has to wait.
    :param gate: when the next call may be placed at the earliest.
    """

    tail: int = 0
    gate: int = 0

    def after(self, turn: int, spacing: int, *, is_new: bool = False) -> Queue:
        """Return the queue after a turn at the gate.

        :param is_new: whether the places in it count no more.
        """
        gate = turn + spacing
        return Queue(gate if is_new else max(self.tail, gate), gate)


@dataclass(frozen=True)
class Turn:
    """What somebody who waits was given.

    :param at: from when on they may pass the gate.
    :param is_exact: the gate has been moved for them already; it is theirs at ``at``, and no second later.
    """

    at: int
    is_exact: bool = False


def passed(queue: Queue, turn: Turn | None, now: int, spacing: int) -> Queue | None:
    """Return the queue after a call that is placed now; ``None`` when it may not be.

    :param turn: what was given to the call before; ``None`` when it has not waited.
    """
    if turn is not None and turn.is_exact:
        return queue if 0 <= now - turn.at <= LATEST_MS else None
    is_abandoned, due = _due(queue, turn, now)
    at = max(due, queue.gate)
    if at > now:
        return None
    # A turn that is taken a little late does not move those that follow.
    return queue.after(max(at, now - LATEST_MS), spacing, is_new=is_abandoned)


def reserved(queue: Queue, turn: Turn | None, now: int, spacing: int, *, near: int) -> tuple[Queue, Turn]:
    """Return the queue with one more who waits, and their turn.

    :param near: for how many milliseconds they wait on the spot; only then is the gate kept for them.
    """
    if turn is not None and turn.is_exact and now <= turn.at + LATEST_MS:
        return queue, turn
    is_abandoned, due = _due(queue, turn, now)
    at = max(now, queue.gate)
    if due <= now and at <= now + near:
        return queue.after(at, spacing, is_new=is_abandoned), Turn(at, is_exact=True)
    if turn is not None and due > now:
        return queue, turn
    at = max(now, queue.gate, queue.tail)  # whoever missed a turn for which there is a rush queues again
    return Queue(at + spacing, queue.gate), Turn(at)


def _due(queue: Queue, turn: Turn | None, now: int) -> tuple[bool, int]:
    """Return whether the queue is a dead one, and from when on the call may pass the gate."""
    if turn is not None:
        return False, turn.at
    is_abandoned = queue.gate < now - ABANDONED_MS and queue.tail > now
    return is_abandoned, queue.gate if is_abandoned else queue.tail
