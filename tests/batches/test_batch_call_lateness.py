"""A backfill or a catch-up calls nobody about last month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from batches.batch_call import ONE_RING_EACH, a_batch_call

from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor
from support.task_run import run_task
from support.versions import needs_state_store

RUNS: dict[str, tuple[str, timedelta, dict[str, Any], bool]] = {
    "a backfill of last month": ("backfill", timedelta(days=30), {}, False),
    "a schedule that was down": ("scheduled", timedelta(days=2), {}, False),
    "last night's run": ("scheduled", timedelta(hours=9), {}, True),
    "started by hand": ("manual", timedelta(days=30), {}, True),
    "meant to": ("backfill", timedelta(days=30), {"max_lateness": None}, True),
    "a shorter time": ("scheduled", timedelta(hours=9), {"max_lateness": timedelta(hours=1)}, False),
}


@pytest.mark.parametrize(("run_type", "ago", "options", "rings"), RUNS.values(), ids=RUNS)
def test_a_late_run_calls_nobody(  # noqa: PLR0917 - a table
    run_type: str,
    ago: timedelta,
    options: dict[str, Any],
    rings: bool,
    sandbox: Sandbox,
    channel: FakeSupervisor,
) -> None:
    """Too long after its data interval, a run that nobody started by hand is skipped, and nothing is sent."""
    end = datetime.now(UTC) - ago
    run = run_task(a_batch_call(**options), channel, run_type=run_type, data_interval_end=end)
    assert run.state == ("success" if rings else "skipped"), run.log_text
    assert sandbox.rings == (ONE_RING_EACH if rings else {})
    assert rings or not [request for request in sandbox.requests if request.method == "POST"]


@needs_state_store
def test_a_batch_call_that_was_placed_is_not_too_late(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """A task that is cleared a month later hands on what it placed in time."""
    placed = run_task(a_batch_call(), channel, run_type="scheduled", data_interval_end=datetime.now(UTC))
    end = datetime.now(UTC) - timedelta(days=30)
    cleared = run_task(a_batch_call(), channel, try_number=2, run_type="scheduled", data_interval_end=end)
    assert cleared.state == "success", cleared.log_text
    assert cleared.xcoms["batch_id"] == placed.xcoms["batch_id"]
    assert sandbox.rings == ONE_RING_EACH


def test_no_time_at_all_cannot_be_meant() -> None:
    """Nothing would ever be placed."""
    with pytest.raises(ValueError, match="max_lateness"):
        a_batch_call(max_lateness=0)
