"""An export is what the end of its name says, and shows as much of the numbers as was asked for."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from formant_provider.operators.export import FormantExportConversationsOperator
from formant_provider.operators.storage import FormantConversationToObjectStorageOperator
from formant_provider.sandbox import Sandbox
from formant_provider.tasks.storage.tables import (
    COLUMNS,
    SUFFIXES,
    FileForm,
    form_of,
    read_rows,
    shown_number,
    write_rows,
)
from support.supervisor import FakeSupervisor
from support.task_run import TaskRun, make_dag, run_task

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NUMBER, MASKED = "+14155550100", "*******0100"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with one conversation in the data interval of a test's run."""
    start = NEW_YEAR - timedelta(days=2)
    with Sandbox(api_key="key-1234567", speed=0, start_at=start, rate_limit=None) as sandbox:
        sandbox.place(NUMBER, scheduled_for=NEW_YEAR - timedelta(hours=12))
        sandbox.advance(7 * 86400)
        yield sandbox


def an_operator(target: object, **fields: Any) -> FormantExportConversationsOperator:
    return FormantExportConversationsOperator(
        task_id="export", agent_id=456, output_uri=str(target), **fields
    )


def export(channel: FakeSupervisor, target: object, **fields: Any) -> TaskRun:
    return run_task(an_operator(target, **fields), channel)


def read(path: Path, form: str) -> list[dict[str, Any]]:
    content = path.read_bytes()
    if form == "parquet":
        from pyarrow import parquet

        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    text = (gzip.decompress(content) if path.name.lower().endswith(".gz") else content).decode()
    if form == "csv":
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("name", "file_format", "form"),
    [
        ("x.jsonl", None, "jsonl"),
        ("x.ndjson", None, "jsonl"),
        ("x.csv", None, "csv"),
        ("x.parquet", None, "parquet"),
        ("x.jsonl.gz", None, "jsonl"),
        ("x.ndjson.gz", None, "jsonl"),
        ("x.csv.gz", None, "csv"),
        ("X.CSV", None, "csv"),
        ("2026.01.01.csv", None, "csv"),
        ("x.csv", "csv", "csv"),
        ("x.csv.gz", "csv", "csv"),
        ("x.parquet", "parquet", "parquet"),
        ("x", "csv", "csv"),
        ("x.json", "jsonl", "jsonl"),
        ("x.json.gz", "jsonl", "jsonl"),
        ("x.gz", "jsonl", "jsonl"),
        ("x.txt", "csv", "csv"),
        ("x.pq", "parquet", "parquet"),
        ("calls.csv/x", "jsonl", "jsonl"),
    ],
)
@pytest.mark.usefixtures("sandbox")
def test_the_name_says_the_format(
    name: str, file_format: Any, form: str, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Or, where it says nothing, file_format does; ``.gz`` packs either way."""
    if form == "parquet":
        pytest.importorskip("pyarrow")
    run = export(channel, tmp_path / name, file_format=file_format)
    assert run.state == "success", run.log_text
    (row,) = read(tmp_path / name, form)
    assert (row["status"], row["contact_number"]) == ("completed", MASKED)
    results = row["results"] if form == "jsonl" else json.loads(row["results"])
    assert results["intent"] == "payment_confirmed"


WRONG = [
    ("x", None, "must end in one of .csv, .jsonl, .ndjson, .parquet"),
    ("x.json", None, "or file_format must say it"),
    ("x.txt", None, "or file_format must say it"),
    ("x.gz", None, "must end in one of"),
    ("calls.csv/x", None, "must end in one of"),
    ("x.csv", "jsonl", "ends in .csv, and file_format is 'jsonl'"),
    ("x.csv.gz", "jsonl", "ends in .csv, and file_format is 'jsonl'"),
    ("x.jsonl", "parquet", "ends in .jsonl, and file_format is 'parquet'"),
    ("x.parquet", "csv", "ends in .parquet, and file_format is 'csv'"),
    ("x.json", "csv", "ends in .json, and file_format is 'csv'"),
    ("x.parquet.gz", None, "Parquet is compressed in itself"),
    ("x.parquet.gz", "parquet", "Parquet is compressed in itself"),
    ("x.gz", "parquet", "Parquet is compressed in itself"),
    ("x.csv.zst", "csv", ".zst cannot be written"),
    ("x.jsonl.bz2", None, "must end in one of"),
    ("x.zip", "csv", "must end in one of"),
    ("x.xlsx", "csv", "must end in one of"),
    ("x.tsv", "csv", "must end in one of"),
]


@pytest.mark.parametrize(("name", "file_format", "told"), WRONG)
def test_a_mismatch_breaks_the_dag_file(name: str, file_format: Any, told: str) -> None:
    """Where the name is written out, parsing is early enough."""
    with pytest.raises(ValueError, match=told):
        an_operator(f"s3://shop@bucket/{name}", file_format=file_format)


@pytest.mark.parametrize(("name", "file_format", "told"), WRONG)
def test_a_mismatch_in_a_template_is_refused_before_anything_is_read(
    name: str, file_format: Any, told: str, tmp_path: Path
) -> None:
    """At once, without a look at the connection, and without retries, since nothing will mend it."""
    with make_dag(user_defined_macros={"name": name}):
        operator = an_operator(f"{tmp_path}/{{{{ name }}}}", file_format=file_format, retries=3)
    run = run_task(operator, FakeSupervisor({}))
    assert (run.state, type(run.error)) == ("failed", AirflowFailException)
    assert str(run.error).startswith("output_uri: ")
    assert told in str(run.error)
    assert list(tmp_path.iterdir()) == []


def test_a_mapped_export_is_refused_where_its_row_runs(channel: FakeSupervisor, tmp_path: Path) -> None:
    """A row with a wrong name fails by itself, and breaks no other."""
    with make_dag():
        mapped = FormantExportConversationsOperator.partial(task_id="x", agent_id=456).expand(
            output_uri=[f"{tmp_path}/x.csv", f"{tmp_path}/x.txt"]
        )
    with Sandbox(speed=0, start_at=NEW_YEAR, rate_limit=None) as sandbox:
        channel.connections["formant_default"] = sandbox.connection_uri()
        runs = [run_task(mapped, channel, map_index=index) for index in (0, 1)]
    assert [run.state for run in runs] == ["success", "failed"]
    assert isinstance(runs[1].error, AirflowFailException)


@pytest.mark.parametrize(("recipients", "shown"), [("full", NUMBER), ("masked", MASKED), ("none", None)])
@pytest.mark.usefixtures("sandbox")
def test_numbers_are_shown_by_choice(
    recipients: Any, shown: str | None, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Their last digits unless something else is asked for; with none there is no column."""
    for name in ("x.jsonl", "x.csv"):
        run = export(channel, tmp_path / name, recipients=recipients)
        assert run.state == "success", run.log_text
        (row,) = read(tmp_path / name, name[2:])
        assert row.get("contact_number") == shown
        assert ("contact_number" in row) is (recipients != "none")
        assert list(row) == [name for name in COLUMNS if name in row]


def test_none_refuses_the_column_by_name() -> None:
    """Who names a column wants it."""
    with pytest.raises(ValueError, match="fields names contact_number"):
        an_operator("/x.csv", fields=["status", "contact_number"], recipients="none")
    an_operator("/x.csv", fields=["status"], recipients="none")


@pytest.mark.parametrize(("recipients", "shown"), [("full", NUMBER), ("masked", MASKED), ("none", None)])
def test_the_record_of_one_conversation_shows_numbers_by_choice(
    recipients: Any, shown: str | None, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """As an export does."""
    conversation_id = sandbox.calls[0].conversation_id
    operator = FormantConversationToObjectStorageOperator(
        task_id="store", conversation_id=conversation_id, folder_uri=str(tmp_path), recipients=recipients
    )
    run = run_task(operator, channel)
    assert run.state == "success", run.log_text
    record = json.loads((tmp_path / conversation_id / "record.json").read_text())
    assert record.get("contact_number") == shown
    assert ("contact_number" in record) is (recipients != "none")
    with pytest.raises(ValueError, match="recipients"):
        FormantConversationToObjectStorageOperator(
            task_id="x",
            conversation_id="c",
            folder_uri="/x",
            recipients="some",  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+14155550100", "*******0100"),
        ("+442079460018", "********0018"),
        ("+1 (415) 555-0100", "*******0100"),
        ("4155550100", "******0100"),
        ("+29045678", "****5678"),
        ("2904567", "****567"),
        ("+1415", "**15"),
        ("112", "**2"),
        ("7", "*"),
        ("Asha", ""),
        ("Asha, 14155550100", "*******0100"),
        ("", ""),
        (None, None),
    ],
)
def test_a_masked_number_shows_its_last_digits(number: str | None, shown: str | None) -> None:
    """Never more than four nor more than half of them, and nothing else of what is in its place."""
    assert shown_number(number, "masked") == shown
    assert shown_number(number, "full") == number


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_was_written_is_read_back(file_format: Any, compressed: bool, tmp_path: Path) -> None:
    """Some columns of many rows, in their order."""
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    form = FileForm(file_format, compressed and file_format != "parquet")
    rows = [{"status": f"s{n}", "note": "a\n,b" if n % 2 else None} for n in range(2500)]
    with (tmp_path / "x").open("w+b") as file:
        write_rows(file, (dict(row) for row in rows), ("note", "status"), form)
        file.seek(0)
        found = list(read_rows(file, ("status", "note"), form))
    assert [(status, note or None) for status, note in found] == [
        (row["status"], row["note"]) for row in rows
    ]


def test_every_suffix_leads_to_a_form() -> None:
    """None is listed in the error that would be refused."""
    for suffix, kind in SUFFIXES.items():
        assert form_of("output_uri", f"/x{suffix}") == (kind, False)
