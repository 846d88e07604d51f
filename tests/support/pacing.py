"""Checks that limits on calls were kept, by the times of the requests; and processes that place calls."""

from __future__ import annotations

import multiprocessing
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formant_provider.store.pace import Pace
    from formant_provider.store.store import Store

ACCOUNT = "a" * 32


def most_in_a_minute(times_ms: Iterable[int]) -> int:
    """Return how many of these times the fullest 60 seconds hold."""
    times = sorted(times_ms)
    return max(bisect_left(times, at + 60_000) - first for first, at in enumerate(times))


def shortest_by(times_ms: Sequence[int], spacing: int) -> int:
    """Return by how many milliseconds any calls were closer together than turns of this spacing are, at most.

    No more than 2000 of them keep every minute's limit.
    """
    times = sorted(times_ms)
    ahead, most = [at - nth * spacing for nth, at in enumerate(times)], 0
    latest = ahead[0]
    for _, current in pairwise(ahead):
        most, latest = max(most, latest - current), max(latest, current)
    return most


def run_processes(
    url: str, secret: str, *, processes: int, calls: int, **limits: Any
) -> list[tuple[str, int, int, int]]:
    """Have processes place calls at once; return of each its process, and when it asked, began and ended."""
    context = multiprocessing.get_context("spawn")
    results, start = context.Queue(), context.Barrier(processes)
    workers = [
        context.Process(target=place_many, args=((url, secret), str(nth), calls, limits, (start, results)))
        for nth in range(processes)
    ]
    for worker in workers:
        worker.start()
    placed = [results.get(timeout=90) for _ in range(calls * processes)]
    for worker in workers:
        worker.join()
    return placed


def place(store: Store, pace: Pace, key: str) -> tuple[int, int]:
    """Place one call as a task does, but to nobody; return when it asked first, and when it was placed."""
    from dataclasses import replace

    from formant_provider.api.models import CallReceipt
    from formant_provider.core.calls.intent import Intent
    from formant_provider.core.conversations.evidence import SendRecord
    from formant_provider.core.ledger import Sent
    from formant_provider.core.pace import PaceExceeded
    from support.stores import asked, ledger_in

    began = now_ms()
    ledger = ledger_in(store, Intent, asked(key, account=ACCOUNT), guesses=True, pace=pace)
    ledger.read()
    while True:
        now = datetime.now(UTC)
        doubt = Intent(key, now, Sent.UNCLEAR, sends=(SendRecord(now),))
        try:
            ledger.claim(doubt)
        except PaceExceeded as error:
            if not error.waits_here:
                raise
            time.sleep(error.retry_after_s or 0)
        else:
            sent = now_ms()
            ledger.write(replace(doubt, receipt=CallReceipt(456, key, "initiated", None, None)))
            return began, sent


def place_many(database: tuple[str, str], name: str, calls: int, limits: dict[str, Any], ends: Any) -> None:
    """Place calls one after the other: the life of one process.

    :param database: its URL, and the secret of the store in it.
    :param ends: a barrier before the first call, and a queue for the times of each.
    """
    from formant_provider.store.engines import create
    from formant_provider.store.outcomes import record_outcome
    from formant_provider.store.pace import Pace
    from formant_provider.store.store import open_up

    url, secret = database
    store = open_up(create(url), "call store 'test'", secret)
    start, results = ends
    start.wait()
    for nth in range(calls):
        key = f"{name}-{nth}"
        began, sent = place(store, Pace(ACCOUNT, **limits), key)
        if limits.get("max_concurrent_calls"):
            time.sleep(0.05)
        over, now = now_ms(), datetime.now(UTC)
        record_outcome(store, trace_id=key, conversation_id=None, outcome="completed", ended_at=None, now=now)
        results.put((name, began, sent, over))
    store.engine.dispose()


def most_at_once(spans_ms: Iterable[tuple[int, int]]) -> int:
    """Return how many of these calls were in progress at one time, at most."""
    changes = sorted(change for begin, end in spans_ms for change in ((begin, 1), (end, -1)))
    return max(accumulate(change for _, change in changes))


def now_ms() -> int:
    return round(time.time() * 1000)
