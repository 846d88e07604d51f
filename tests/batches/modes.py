"""The ways to wait for a batch call, as one function."""

from __future__ import annotations

from typing import Any

from waiting.modes import to_the_end

from formant_provider.sandbox import Sandbox
from formant_provider.sandbox.batches import Batch
from formant_provider.sandbox.faults import BATCH_DETAIL, METRICS
from formant_provider.sensors.batch import FormantBatchCallSensor
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun

NUMBER = "+141555501"
WAYS: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
TIMEOUT_S = 60.0


def phones(*endings: str) -> list[str]:
    return [f"{NUMBER}{ending}" for ending in endings]


def a_sensor(batch: Batch | int | str, **options: Any) -> FormantBatchCallSensor:
    chosen = {"poke_interval": 0.05, "timeout": TIMEOUT_S, **options}
    batch_id = batch.batch_id if isinstance(batch, Batch) else batch
    return FormantBatchCallSensor(task_id="wait", batch_id=batch_id, **chosen)


def wait_in(way: str, channel: FakeSupervisor, batch: Batch | int | str, **options: Any) -> TaskRun:
    """Wait for a batch call, to the end of the task."""
    return to_the_end(a_sensor(batch, **{**options, **WAYS[way]}), channel)


def reads(sandbox: Sandbox) -> dict[str, int]:
    """How often metrics and details were asked for."""
    seen = [request.endpoint for request in sandbox.requests]
    return {"metrics": seen.count(METRICS), "detail": seen.count(BATCH_DETAIL)}
