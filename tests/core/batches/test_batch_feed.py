"""All who wait for batch calls share one poll, here and in an event loop, at the rate the API allows."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from formant_provider.api.client import GET_BATCH_CALL, GET_BATCH_METRICS, FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.api.errors import NotFound
from formant_provider.core.batches.feed import BatchFeed, BatchWaiter, BatchWatch
from formant_provider.core.polling.async_poller import Poller
from formant_provider.core.polling.pacing import RateLimiter
from formant_provider.core.polling.waits import utc_now
from formant_provider.sandbox import Fault, Sandbox
from formant_provider.sandbox.batches import Batch
from support.feeds import ONCE
from support.ledgers import NOON, NUMBER
from support.scripted_server import Answer
from support.worker import HOUR
from support.worker import Worker as AnyWorker

QUICK = [NUMBER, "+14155550101", "+14155550102"]
NEVER_ADDS_UP = [NUMBER, "+14155550106"]


class Worker(AnyWorker):
    """Waits for batch calls."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(BatchFeed(sandbox.now), sandbox)

    def join(self, batch: Batch | int, total: int | None = None, **fields: Any) -> BatchWaiter:
        batch_id = batch if isinstance(batch, int) else batch.batch_id
        return self.feed.join(BatchWatch(batch_id, total, **{"stall_timeout_s": HOUR, **fields}))

    def wait(self, waiter: BatchWaiter, timeout_s: float = 24 * HOUR) -> BatchWaiter:
        return self.wait_for(waiter, timeout_s)

    def asked_at(self, endpoint: str | None = GET_BATCH_METRICS) -> list[float]:
        return super().asked_at(endpoint)


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    with ExitStack() as running:

        def begin(**settings: Any) -> Worker:
            chosen = {"speed": 0, "start_at": NOON, "rate_limit": None, **settings}
            return Worker(running.enter_context(Sandbox(**chosen)))

        yield begin


def test_a_wait_ends_with_the_batch_call(start: Any) -> None:
    """It looks every thirty seconds, and asks once how many recipients there are."""
    worker = start()
    waiter = worker.wait(worker.join(worker.sandbox.place_batch(QUICK)))
    assert waiter.outcome is not None
    assert (waiter.outcome.completed_count, waiter.outcome.total_processed) == (1, 3)
    assert (waiter.progress.total_recipients, waiter.progress.is_stalled) == (3, False)
    asked = worker.asked_at()
    assert asked == [30.0 * n for n in range(len(asked))]
    assert asked[-2] < 142 <= asked[-1]
    assert len(worker.asked_at(GET_BATCH_CALL)) == 1


def test_redials_of_the_platform_are_waited_for(start: Any) -> None:
    """Between two attempts nobody is in progress, but somebody is pending."""
    worker = start(platform_redials=1, platform_redial_after_seconds=600)
    waiter = worker.wait(worker.join(worker.sandbox.place_batch(QUICK)))
    assert waiter.outcome is not None
    assert waiter.outcome.completed_count == 3


@pytest.mark.parametrize("stall_timeout_s", [600.0, HOUR])
def test_numbers_that_never_add_up_end_by_the_stall_timeout(stall_timeout_s: float, start: Any) -> None:
    """Counted from the last change, which is the end of the longest call."""
    worker = start()
    waiter = worker.join(worker.sandbox.place_batch(NEVER_ADDS_UP), stall_timeout_s=stall_timeout_s)
    worker.wait(waiter)
    assert waiter.progress.is_stalled
    assert waiter.outcome is not None
    assert worker.asked_at()[-1] == 150 + stall_timeout_s


def test_a_wait_in_which_nothing_changes_says_why_it_goes_on(start: Any, caplog: Any) -> None:
    """Long before the stall timeout ends it, and once: what is not counted, and until when it waits."""
    caplog.set_level(logging.INFO)
    worker = start()
    waiter = worker.join(worker.sandbox.place_batch(NEVER_ADDS_UP), stall_timeout_s=HOUR)
    worker.wait(waiter, timeout_s=150 + 400)
    assert waiter.outcome is None
    (line,) = [line for line in caplog.messages if "stall_timeout" in line]
    assert "nothing has changed since 12:02 UTC" in line
    assert "counts no telephony failures" in line
    assert "ends at 13:02 UTC" in line


def test_a_total_that_nobody_knows_ends_by_the_stall_timeout(start: Any) -> None:
    """A vendor that never says how many there are."""
    worker = start()
    body = {"in_progress_count": 0, "pending_retry_count": 0, "total_processed": 7}
    with worker.answered_by(
        lambda seen: Answer(body={"data": body if seen.path.endswith("metrics") else {"id": 7}})
    ):
        waiter = worker.wait(worker.join(7))
    assert waiter.progress.is_stalled
    assert waiter.progress.total_recipients is None


def test_a_wait_goes_on_to_its_deadline_and_no_longer(start: Any) -> None:
    """The metrics as last seen are kept."""
    worker = start(batch_calls_per_minute=1)
    waiter = worker.wait(worker.join(worker.sandbox.place_batch(QUICK)), timeout_s=70)
    assert waiter.outcome is None
    assert waiter.progress.metrics is not None
    assert worker.pauses == [30, 30, 10]


def test_what_the_api_does_not_know_yet_is_waited_for(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Absence is no error for five minutes, and never taken for a stall; it is said once."""
    worker = start()
    with caplog.at_level(logging.WARNING):
        waiter = worker.wait(worker.join(4711, stall_timeout_s=60), timeout_s=290)
    assert (waiter.outcome, waiter.progress.metrics, waiter.progress.is_stalled) == (None, None, False)
    assert caplog.text.count("Waiting continues for batch call 4711") == 1


def test_what_the_api_never_knows_ends_its_own_wait(start: Any) -> None:
    """After five minutes there is none, and who waits for another one waits on."""
    worker = start()
    missing, other = worker.join(4711), worker.join(worker.sandbox.place_batch(QUICK))
    with pytest.raises(NotFound):
        worker.wait(missing, timeout_s=6000)
    assert worker.asked_at()[-1] <= 330
    assert worker.wait(other).outcome is not None


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ERROR_500_BEFORE,
        Fault.ERROR_503_AFTER,
        Fault.DROP_BEFORE,
        Fault.DROP_AFTER,
        Fault.GARBAGE,
        Fault.RATE_LIMIT_NO_HEADERS,
        Fault.NOT_FOUND,
    ],
)
@pytest.mark.parametrize("endpoint", [GET_BATCH_METRICS, GET_BATCH_CALL])
def test_a_storm_slows_a_wait_down_and_never_fail_it(endpoint: str, fault: Fault, start: Any) -> None:
    """Forty times in a row."""
    worker = start()
    worker.sandbox.inject(endpoint, fault, times=40)
    batch = worker.sandbox.place_batch(QUICK)
    waiter = worker.wait(worker.join(batch, missing_timeout_s=HOUR), timeout_s=7 * 24 * HOUR)
    assert waiter.outcome is not None
    if fault is not Fault.NOT_FOUND:
        gaps = [later - earlier for earlier, later in pairwise(worker.asked_at(endpoint))]
        assert max(gaps) >= 100


def test_a_rate_limit_is_kept_by_all_together(start: Any) -> None:
    """A hundred batch calls: nothing is asked before the time the API named, and all are served."""
    worker = start(rate_limit=20)
    waiters = [worker.join(worker.sandbox.place_batch(QUICK), 3) for _ in range(100)]
    for waiter in waiters:
        worker.wait(waiter)
    assert all(waiter.outcome for waiter in waiters)
    statuses = [seen.status for seen in worker.sandbox.requests]
    assert statuses.count(429) == 0


def test_one_that_cannot_be_read_holds_up_no_other(start: Any) -> None:
    """The vendor answers 500 for one batch call alone."""
    worker = start()
    done = {"in_progress_count": 0, "pending_retry_count": 0, "total_processed": 3}
    with worker.answered_by(lambda seen: Answer(500) if "/1/" in seen.path else Answer(body={"data": done})):
        bad, good = worker.join(1, 3), worker.join(2, 3)
        worker.wait(good, timeout_s=HOUR)
        worker.wait(bad, timeout_s=HOUR)
    assert good.outcome is not None
    assert bad.outcome is None


def test_each_batch_call_keeps_its_own_interval(start: Any) -> None:
    """Nobody's impatience makes the others' batch calls be asked for more often."""
    worker = start(batch_calls_per_minute=1)
    hasty, calm = worker.sandbox.place_batch(QUICK), worker.sandbox.place_batch(QUICK)
    worker.join(calm, 3, poll_interval_s=100)
    worker.wait(worker.join(hasty, 3, poll_interval_s=10), timeout_s=199)
    seen = [each for each in worker.sandbox.requests if each.endpoint == GET_BATCH_METRICS]
    calls = {batch: sum(f"/{batch.batch_id}/" in each.path for each in seen) for batch in (hasty, calm)}
    assert calls == {hasty: 16, calm: 2}


def test_all_who_wait_for_one_batch_call_cost_one_request(start: Any) -> None:
    """They are served together, each by its own options."""
    worker = start()
    batch = worker.sandbox.place_batch(QUICK)
    waiters = [worker.join(batch) for _ in range(10)]
    worker.wait(waiters[0])
    assert all(waiter.outcome for waiter in waiters)
    assert len(worker.asked_at()) == 6
    for waiter in waiters:
        worker.feed.leave(waiter)
    assert worker.feed.due_at() is None


def test_progress_is_told_when_it_changes_and_not_too_often(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each change at the most, and once an interval; the last word is always told."""
    worker = start(batch_calls_per_minute=60)
    batch = worker.sandbox.place_batch([*QUICK, NUMBER])
    hasty = worker.join(batch, 4, poll_interval_s=1)
    worker.join(batch, 4, poll_interval_s=60)
    with caplog.at_level(logging.INFO, logger="formant_provider"):
        worker.wait(hasty)
    told = [record.getMessage() for record in caplog.records]
    assert 6 <= len(told) <= 16
    assert told[-1].endswith("4 of 4 recipients are processed (100 %), 0 in progress, 0 to be called again.")
    assert any("expected to finish about 2026-03-18 12:0" in text for text in told)


def test_each_waiter_s_progress_is_told_in_its_own_context(start: Any) -> None:
    """Airflow tells the lines of tasks apart by context, and one poll serves many."""
    name = contextvars.ContextVar("name", default="nobody")
    contexts: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
            contexts.append(name.get())

    worker, listener = start(), Listener()
    batch = worker.sandbox.place_batch(QUICK)
    logger = logging.getLogger("formant_provider.core.batches.feed")
    logger.addHandler(listener)
    level, logger.level = logger.level, logging.INFO
    try:
        waiters = []
        for who in ("one", "two"):
            context = contextvars.copy_context()
            context.run(name.set, who)
            waiters.append(context.run(worker.join, batch, 3))
        worker.wait(waiters[0])
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
    assert set(contexts) == {"one", "two"}


def test_a_watch_is_written_as_plain_values() -> None:
    """What a trigger is made again of."""
    watch = BatchWatch(7, None, 60.0, 5.0)
    assert BatchWatch.from_json(watch.to_json()) == watch


def test_a_thousand_batch_calls_share_a_pace_in_an_event_loop() -> None:
    """Each is asked for once in a poll, by one poller, and no request is refused."""
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        batches = [sandbox.place_batch(QUICK) for _ in range(1000)]
        sandbox.advance(HOUR)
        config = ClientConfig(sandbox.base_url, sandbox.api_key)

        async def open_client() -> FormantClient:
            return FormantClient(config, retry_policy=ONCE)

        async def story() -> list[BatchWaiter]:
            poller = Poller(BatchFeed(utc_now), RateLimiter(utc_now), open_client)
            deadline = datetime.now(UTC) + timedelta(seconds=60)
            watches = [BatchWatch(batch.batch_id, 3, HOUR, 30.0) for batch in batches]
            return await asyncio.gather(*(poller.wait(watch, deadline) for watch in watches))

        waiters = asyncio.run(story())
        assert all(waiter.outcome for waiter in waiters)
        assert len(sandbox.requests) == 1000
