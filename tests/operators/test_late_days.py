"""The day that a run is about, where its own times do not tell: partitions, assets, ``@once``, long waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRun

from formant_provider.sandbox import Sandbox
from support.calls import NUMBER, an_operator
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, run_task

NOW = datetime.now(UTC)
needs_partitions = pytest.mark.skipif(
    "partition_date" not in DagRun.model_fields, reason="partitions have dates since Airflow 3.2"
)

pytestmark = pytest.mark.usefixtures("sleeps")


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def backfill(moment: datetime) -> str:
    return f"backfill__{moment.isoformat()}"


def scheduled(moment: datetime) -> str:
    return f"scheduled__{moment.isoformat()}"


def a_run(channel: FakeSupervisor, options: Any = None, schedule: Any = None, **attempt: Any) -> TaskRun:
    with DAG("about_a_day", schedule=schedule, start_date=ago(days=300)):
        operator = an_operator(**(options or {}))
    return run_task(operator, channel, logical_date=None, **attempt)


def result(run: TaskRun) -> tuple[str, str | None]:
    return run.state, run.xcoms["return_value"]["reason"]


OLD, TODAY = ago(days=30), ago(hours=5)
PARTITIONS: dict[str, tuple[dict[str, Any], bool]] = {
    "an old one of an asset, which runs today": ({"run_type": "asset_triggered", "run_after": NOW}, False),
    "an old one of a backfill": ({"run_type": "backfill", "run_after": OLD}, False),
    "an old one of a catch-up": ({"run_type": "scheduled", "run_after": OLD}, False),
    "an old one on purpose, by its schedule": ({"run_type": "scheduled", "run_after": TODAY}, True),
    "an old one that somebody asked for": ({"run_type": "manual", "run_after": NOW}, True),
    "an old one whose producer was due today": (
        {"run_type": "asset_triggered", "run_after": NOW, "source_runs": [scheduled(TODAY)]},
        True,
    ),
    "an old one whose producer was backfilled": (
        {"run_type": "asset_triggered", "run_after": NOW, "source_runs": [backfill(OLD)]},
        False,
    ),
    "that of today": ({"run_type": "asset_triggered", "run_after": NOW, "partition_date": TODAY}, True),
    "that of yesterday": (
        {"run_type": "asset_triggered", "run_after": NOW, "partition_date": ago(hours=30)},
        True,
    ),
    "that of tomorrow": (
        {"run_type": "scheduled", "run_after": ago(days=2), "partition_date": ago(hours=-20)},
        True,
    ),
}


@needs_partitions
@pytest.mark.parametrize(("attempt", "rings"), PARTITIONS.values(), ids=PARTITIONS)
def test_a_partitioned_run_is_about_its_partition(
    attempt: dict[str, Any], rings: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """Its date counts, also where the run itself is of today; a run that somebody asks for is never late."""
    run = a_run(channel, **{"partition_date": OLD, **attempt})
    assert result(run) == (("success", None) if rings else ("skipped", "late")), run.log_text
    assert sandbox.rings == ({NUMBER: 1} if rings else {})


PRODUCERS: dict[str, tuple[list[str | None], bool]] = {
    "a backfill of last month": ([backfill(OLD)], False),
    "a cleared run of last month": ([scheduled(OLD)], False),
    "as Airflow names runs without a logical date": ([f"{scheduled(OLD)}_x7Gh2Kq1"], False),
    "as Airflow names partitioned runs": ([f"{scheduled(OLD)}__2026-10__x7Gh2Kq1"], False),
    "last night's run": ([scheduled(TODAY)], True),
    "a backfill of yesterday": ([backfill(ago(hours=20))], True),
    "a whole backfill": ([backfill(ago(days=days)) for days in (30, 29, 28)], False),
    "a whole backfill up to yesterday": ([backfill(ago(days=days)) for days in (30, 15, 0.5)], True),
    "a run that somebody started": ([f"manual__{OLD.isoformat()}"], True),
    "a backfill, and something unknown": ([backfill(OLD), "my_own_id"], True),
    "a backfill, and an event from outside": ([backfill(OLD), None], True),
    "a run that an asset started": ([f"asset_triggered__{OLD.isoformat()}_x7Gh2Kq1"], True),
    "no event at all": ([], True),
    "an id that looks like it": (["backfill__of_last_month"], True),
    "an id with a month that is none": (["scheduled__2026-99-01T00:00:00+00:00"], True),
    "an id before all time": (["scheduled__0001-01-01T00:00:00+14:00"], True),
}


@pytest.mark.parametrize(("sources", "rings"), PRODUCERS.values(), ids=PRODUCERS)
def test_a_run_of_an_asset_is_about_the_day_of_its_producer(
    sources: list[str | None], rings: bool, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """If it can be known of every event, by the ids of their runs; the newest one counts."""
    run = a_run(channel, run_type="asset_triggered", run_after=NOW, source_runs=sources)
    assert result(run) == (("success", None) if rings else ("skipped", "late")), run.log_text
    assert sandbox.rings == ({NUMBER: 1} if rings else {})


def test_the_log_of_a_consumer_names_the_day_and_what_to_set(channel: FakeSupervisor) -> None:
    """Nothing about a run of today looks late, so the log says whose day it is, and the way out."""
    run = a_run(channel, run_type="asset_triggered", run_after=NOW, source_runs=[backfill(OLD)])
    assert "as after a backfill or a clear of its producer" in run.log_text
    assert f"that of {OLD:%Y-%m-%dT%H:%M:%S}" in run.log_text
    assert "when the run was due whose asset event started this one" in run.log_text
    assert "max_lateness=None, or with max_lateness=timedelta(days=31)" in run.log_text


def test_an_old_once_is_not_late_without_a_word(sandbox: Sandbox, channel: FakeSupervisor) -> None:
    """Its only run counts as that of a start date long ago: the log says so, and what to set helps."""
    old = ago(days=300)
    attempt = {"run_type": "scheduled", "data_interval_end": old, "run_after": old}
    run = a_run(channel, schedule="@once", **attempt)
    assert (result(run), sandbox.requests) == (("skipped", "late_once"), [])
    assert "The schedule is @once, and its run counts as that of the DAG's start_date" in run.log_text
    assert "max_lateness=None" in run.log_text
    assert result(a_run(channel, {"max_lateness": None}, "@once", **attempt)) == ("success", None)
    assert sandbox.rings == {NUMBER: 1}


@pytest.mark.parametrize("run_type", ["scheduled", "backfill", "asset_triggered"])
def test_an_approval_that_took_a_weekend_is_not_late_without_a_word(
    run_type: str, sandbox: Sandbox, channel: FakeSupervisor
) -> None:
    """The run began in time, and this task came late: the result says so, and the log what to set."""
    friday = ago(days=2.5)
    times: dict[str, Any] = {"run_after": friday, "run_started_at": friday + timedelta(minutes=1)}
    if run_type == "asset_triggered":
        times["source_runs"] = [scheduled(friday)]
    else:
        times["data_interval_end"] = friday
    run = a_run(channel, run_type=run_type, **times)
    assert (result(run), sandbox.requests) == (("skipped", "delayed"), [])
    assert "The run began in time" in run.log_text
    assert "such as an approval" in run.log_text
    assert "with max_lateness=timedelta(days=3)" in run.log_text
