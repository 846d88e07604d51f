"""Exports and files of single conversations in the real Airflow engine."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from formant_provider.sandbox import Sandbox
from support.engine import DagResult, run_dag_file, run_dag_source

pytestmark = pytest.mark.engine

EXAMPLE = Path(__file__).parents[2] / "dags_examples" / "formant_nightly_export.py"
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
AT_TWO = MIDNIGHT + timedelta(hours=2)
DAY = timedelta(days=1)

ALL_OF_A_DAY = """
    from datetime import datetime

    from airflow.sdk import DAG, task
    from airflow.timetables.interval import CronDataIntervalTimetable

    from formant_provider.operators.export import FormantExportConversationsOperator
    from formant_provider.operators.storage import FormantConversationToObjectStorageOperator

    with DAG(
        "all_of_a_day",
        schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
        start_date=datetime(2026, 1, 1),
        catchup=False,
        params={"folder": ""},
    ):
        export = FormantExportConversationsOperator(
            task_id="export",
            agent_id=456,
            output_uri="{{ params.folder }}/{{ data_interval_start | ds }}.jsonl",
            fields=["conversation_id", "status"],
        )

        @task
        def talks(exported: dict) -> list[str]:
            import json

            from airflow.sdk import ObjectStoragePath

            lines = ObjectStoragePath(exported["output_uri"]).read_text().splitlines()
            return [row["conversation_id"] for row in map(json.loads, lines) if row["status"] == "completed"]

        FormantConversationToObjectStorageOperator.partial(
            task_id="store", folder_uri="{{ params.folder }}"
        ).expand(conversation_id=talks(export.output))
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with the calls of the last two days, one every two hours, a fifth of them not answered."""
    with Sandbox(speed=0, start_at=MIDNIGHT - 2 * DAY, rate_limit=None, recording_bytes=5_000) as sandbox:
        for hour in range(0, 48, 2):
            number = "+14155550101" if hour % 5 == 0 else "+14155550100"
            sandbox.place(number, scheduled_for=MIDNIGHT - 2 * DAY + timedelta(hours=hour))
        sandbox.advance(2 * DAY.total_seconds())
        yield sandbox


def test_the_nightly_example_exports_yesterday(sandbox: Sandbox, env: dict[str, str], tmp_path: Path) -> None:
    """From midnight to midnight, packed, without a number, and the next task reads the counts."""
    conf = {"folder": f"file://{tmp_path}"}
    result = run_dag_file(EXAMPLE, "formant_nightly_export", env=env, run_conf=conf, logical_date=AT_TWO)
    assert result.state == "success", result.log_text
    exported = result["export"].xcoms["return_value"]
    yesterday = MIDNIGHT - DAY
    assert (exported["start"], exported["end"]) == (yesterday.isoformat(), MIDNIGHT.isoformat())
    assert exported["output_uri"] == f"file://{tmp_path}/{yesterday:%Y-%m-%d}.jsonl.gz"
    packed = (tmp_path / f"{yesterday:%Y-%m-%d}.jsonl.gz").read_bytes()
    rows = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    assert [row["started_at"][:13] for row in rows] == [
        f"{yesterday:%Y-%m-%d}T{hour:02}" for hour in range(0, 24, 2)
    ]
    assert len(rows) == exported["count"] == 12
    assert b"1415555" not in gzip.decompress(packed)
    completed = exported["by_status"]["completed"]
    assert result["completed_percent"].xcoms["return_value"] == round(100 * completed / 12, 1)
    assert sandbox.rings.total() == 24


def test_the_rows_of_an_export_become_files_each(
    sandbox: Sandbox, env: dict[str, str], tmp_path: Path
) -> None:
    """The data interval of the schedule is exported, and each talk in it stored by a mapped task."""
    conf = {"folder": str(tmp_path)}
    result = run_dag_source(
        ALL_OF_A_DAY, tmp_path, "all_of_a_day", env=env, run_conf=conf, logical_date=AT_TWO
    )
    assert result.state == "success", result.log_text
    talks = result["talks"].xcoms["return_value"]
    assert len(talks) == result["export"].xcoms["return_value"]["by_status"]["completed"] == 10
    for index, conversation_id in enumerate(talks):
        stored = result["store", index].xcoms["return_value"]
        assert stored["recording"] == f"{tmp_path}/{conversation_id}/recording.wav"
        recording = (tmp_path / conversation_id / "recording.wav").read_bytes()
        assert recording == b"".join(sandbox.recording(conversation_id).chunks())
    for task in result.tasks.values():
        assert "1415555" not in f"{task.xcoms} {task.rendered_fields}"


@pytest.mark.parametrize("schedule", ["@daily", None])
def test_a_schedule_without_intervals_fails_and_says_why(
    schedule: str | None, env: dict[str, str], tmp_path: Path
) -> None:
    """In Airflow 3 "@daily" gives intervals of no length: an error at once, and no empty file."""
    target = tmp_path / "x.jsonl"
    source = f"""
        from datetime import datetime

        from airflow.sdk import DAG

        from formant_provider.operators.export import FormantExportConversationsOperator

        with DAG("no_interval", schedule={schedule!r}, start_date=datetime(2026, 1, 1), catchup=False):
            FormantExportConversationsOperator(
                task_id="export", agent_id=456, output_uri={str(target)!r}, retries=3
            )
    """
    result: DagResult = run_dag_source(source, tmp_path, "no_interval", env=env)
    assert (result.state, result["export"].state, result["export"].try_number) == ("failed", "failed", 1)
    assert "CronDataIntervalTimetable" in result.log_text
    assert not target.exists()
