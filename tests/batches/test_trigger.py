"""The trigger of a batch call: who shares its poll and its rate limit, and what its end tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from batches.modes import phones, reads
from waiting.conftest import channel_to

from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox.batches import Batch
from formant_provider.tasks.waiting import wait_here
from formant_provider.triggers.batch import BatchTrigger
from support.isolation import process_left_alone
from support.supervisor import supervised_by
from support.triggers import run_all


def a_trigger(batch: Batch | int, seconds: float = 10, **watch: Any) -> BatchTrigger:
    fields = {
        "batch_id": batch if isinstance(batch, int) else batch.batch_id,
        "total_recipients": None,
        "stall_timeout_s": 60.0,
        "poll_interval_s": 0.1,
        **watch,
    }
    deadline = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    return BatchTrigger("formant_default", None, fields, deadline, {"name": "March"})


def test_triggers_of_one_batch_call_share_one_poll(make_sandbox: Any) -> None:
    """Forty who wait for it cost one request a poll, and one for its number of recipients."""
    sandbox = make_sandbox(speed=300)
    batch = sandbox.place_batch(phones("00"))
    ends = run_all([a_trigger(batch) for _ in range(40)], channel_to(sandbox))
    assert all(end.is_over and end.total_recipients == 1 for end in ends)
    assert reads(sandbox)["detail"] == 1
    assert reads(sandbox)["metrics"] <= 8


def test_triggers_of_many_batch_calls_share_one_pace(make_sandbox: Any) -> None:
    """A rate limit is spent by all together, is not run into, and everybody is served."""
    sandbox = make_sandbox(speed=60, rate_limit=60)  # a window is a second
    batches = [sandbox.place_batch(phones("01")) for _ in range(150)]
    ends = run_all(
        [a_trigger(batch, total_recipients=1, seconds=30) for batch in batches], channel_to(sandbox)
    )
    assert [end.batch_id for end in ends] == [batch.batch_id for batch in batches]
    assert all(end.is_over for end in ends)
    assert sum(request.status == 429 for request in sandbox.requests) <= 1


def test_a_deadline_ends_with_what_was_last_seen(make_sandbox: Any) -> None:
    """Not over, but its metrics are told, and what the task knew is returned."""
    sandbox = make_sandbox(speed=1)
    batch = sandbox.place_batch(phones("00", "10"))
    (end,) = run_all([a_trigger(batch, seconds=0.4)], channel_to(sandbox))
    assert (end.is_over, end.total_recipients, end.receipt) == (False, 2, {"name": "March"})
    assert end.metrics is not None
    assert end.metrics["in_progress_count"] == 2


def test_the_worker_and_the_triggerer_see_the_same(make_sandbox: Any) -> None:
    """One flow, and two that drive it."""
    sandbox = make_sandbox()
    channel, batch = channel_to(sandbox), sandbox.place_batch(phones("00", "06"))
    (there,) = run_all([a_trigger(batch, stall_timeout_s=0.5)], channel)
    with process_left_alone(), supervised_by(channel):
        here = wait_here(FormantHook(), a_trigger(batch, stall_timeout_s=0.5))
    assert here == there
    assert there.is_stalled
