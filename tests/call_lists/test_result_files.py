"""The file of results of a list has one row for each of its rows, in order, and shows what was asked for."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from call_lists.result_rows import (
    MASKED,
    NOON_MS,
    NUMBER,
    PARQUET,
    a_row,
    an_attempt,
    needs_pyarrow,
    read_back,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import Conversation
from formant_provider.core.call_lists.calls import RowResult
from formant_provider.core.call_lists.result_columns import Kind, cells_of, parse_result_columns
from formant_provider.hooks.formant import FormantHook
from formant_provider.tasks.call_lists.results import ResultOptions, write_progress, write_results
from formant_provider.tasks.storage.tables import FileForm, read_rows, write_rows

# Of no connection: without result columns nobody is asked.
HOOK = FormantHook("none")
HOUR_MS = 3_600_000
NOON = datetime(2026, 3, 18, 12, tzinfo=UTC)
COLUMNS = [
    "row_number", "customer_phone", "reference", "status", "reason", "detail", "agent_id", "attempts",
    "attempt_list", "trace_id", "conversation_id", "started_at", "ended_at", "local_started_at", "time_zone",
    "duration_seconds",
]  # fmt: skip
REDIALLED = a_row(
    3,
    an_attempt(1, "no_answer", start_ms=NOON_MS, end_ms=NOON_MS + 30_000),
    an_attempt(2, start_ms=NOON_MS + HOUR_MS, end_ms=NOON_MS + HOUR_MS + 61_500, duration_s=61),
    reference="L-7",
    zone="Asia/Kolkata",
)


def write(path: Path, *rows: RowResult, has_parts: bool = False, **options: Any) -> list[dict[str, Any]]:
    written = write_results(HOOK, str(path), iter(rows), ResultOptions(**options), has_parts=has_parts)
    assert written.size == path.stat().st_size
    return read_back(path)


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.jsonl", "r.ndjson.gz", PARQUET])
def test_every_row_is_there_once_and_in_its_place(tmp_path: Path, name: str) -> None:
    """Called, left out or still under way: each row of the list is one row of the file, in each format."""
    rows = [a_row(2), REDIALLED, a_row(4, status="waiting", reason=None), a_row(5, status="in_progress")]
    read = write(tmp_path / name, *rows)
    assert [str(row["row_number"]) for row in read] == ["2", "3", "4", "5"]
    assert [row["status"] for row in read] == ["rejected", "completed", "waiting", "in_progress"]
    assert [list(row) for row in read] == [COLUMNS] * 4


def test_a_row_tells_of_its_last_attempt_and_lists_all(tmp_path: Path) -> None:
    """Ids and times are the last attempt's; the list of attempts has those of each."""
    row = write(tmp_path / "r.jsonl", REDIALLED)[0]
    assert row["attempts"] == 2
    assert row["attempt_list"] == [
        {
            "number": 1, "status": "no_answer", "trace_id": "t-1", "conversation_id": "c-1",
            "started_at": "2026-03-18T12:00:00.000Z", "ended_at": "2026-03-18T12:00:30.000Z",
            "duration_seconds": None,
        },
        {
            "number": 2, "status": "completed", "trace_id": "t-2", "conversation_id": "c-2",
            "started_at": "2026-03-18T13:00:00.000Z", "ended_at": "2026-03-18T13:01:01.500Z",
            "duration_seconds": 61,
        },
    ]  # fmt: skip
    assert {name: row[name] for name in COLUMNS[-7:]} == {
        "trace_id": "t-2",
        "conversation_id": "c-2",
        "started_at": "2026-03-18T13:00:00.000Z",
        "ended_at": "2026-03-18T13:01:01.500Z",
        "local_started_at": "2026-03-18T18:30:00.000+05:30",
        "time_zone": "Asia/Kolkata",
        "duration_seconds": 61,
    }
    assert row["reference"] == "L-7"


def test_what_was_never_called_has_no_attempt(tmp_path: Path) -> None:
    """Its cells of an attempt are empty, and its reason says why."""
    row = write(tmp_path / "r.jsonl", a_row(detail="The person was called as often as call_cap allows."))[0]
    assert (row["status"], row["reason"], row["attempts"], row["attempt_list"]) == (
        "rejected",
        "capped",
        0,
        [],
    )
    assert row["detail"] == "The person was called as often as call_cap allows."
    assert not any(row[name] for name in COLUMNS[-7:])


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl", PARQUET])
def test_what_the_api_tells_fits_its_column(tmp_path: Path, name: str) -> None:
    """A duration with a fraction, and text that UTF-8 cannot hold, are no reason to lose a file."""
    odd = an_attempt(1, "done\ud800", trace_id="\udfff", duration_s=61.0)
    row = write(tmp_path / name, a_row(2, odd))[0]
    assert (row["status"], row["trace_id"], str(row["duration_seconds"])) == ("done?", "?", "61")


@pytest.mark.parametrize("zone", [None, "Mars/Base", "../etc/passwd"])
def test_without_a_known_zone_there_is_no_local_time(tmp_path: Path, zone: str | None) -> None:
    """A time zone that is not known, or not of this machine, leaves the cell empty."""
    row = write(tmp_path / "r.jsonl", REDIALLED._replace(zone=zone))[0]
    assert (row["local_started_at"], row["started_at"]) == (None, "2026-03-18T13:00:00.000Z")


@pytest.mark.parametrize(("recipients", "shown"), [("full", NUMBER), ("masked", MASKED), ("none", None)])
def test_a_number_is_shown_as_far_as_was_asked_for(
    tmp_path: Path, recipients: str, shown: str | None
) -> None:
    """In full, its last digits, or in no column; also of a row that is not called."""
    rows = write(tmp_path / "r.jsonl", a_row(), a_row(3, number="call 555"), recipients=recipients)
    assert rows[0].get("customer_phone") == shown
    assert ("customer_phone" in rows[0]) == (shown is not None)
    assert "555" not in str(rows[1]) or recipients == "full"


def test_kept_columns_stand_behind_the_reference(tmp_path: Path) -> None:
    """Columns of the contacts are text as it was; a CSV cell is not changed, also one that is a formula."""
    row = a_row(carried={"note": "=1+1", "branch": None})
    read = write(tmp_path / "r.csv", row, keep_columns=["note", "branch"])[0]
    assert list(read)[2:6] == ["reference", "note", "branch", "status"]
    assert (read["note"], read["branch"]) == ("=1+1", "")


def test_the_file_is_named_where_there_are_several(tmp_path: Path) -> None:
    """With contacts in several files, a row number alone says little."""
    read = write(tmp_path / "r.jsonl", a_row(part="a.csv"), a_row(part="b.csv"), has_parts=True)
    assert [(row["part"], row["row_number"]) for row in read] == [("a.csv", 2), ("b.csv", 2)]


@needs_pyarrow
def test_columns_of_parquet_have_their_types(tmp_path: Path) -> None:
    """Numbers are numbers and moments are moments, also in a file in which all are empty."""
    from pyarrow import parquet

    for name, rows in (("full", [REDIALLED]), ("empty", [])):
        write(tmp_path / f"{name}.parquet", *rows)
        schema = parquet.read_schema(tmp_path / f"{name}.parquet")
        types = {name: str(schema.field(name).type) for name in COLUMNS}
        assert {types.pop(name) for name in ("row_number", "agent_id", "attempts", "duration_seconds")} == {
            "int64"
        }
        assert {types.pop(name) for name in ("started_at", "ended_at")} == {"timestamp[ms, tz=UTC]"}
        assert set(types.values()) == {"string"}
    row = read_back(tmp_path / "full.parquet")[0]
    assert row["started_at"] == NOON.replace(hour=13)
    assert json.loads(row["attempt_list"])[0]["status"] == "no_answer"


def test_an_error_leaves_the_older_file_as_it_was(tmp_path: Path) -> None:
    """A file is written whole or not at all."""
    path = tmp_path / "r.csv"
    write(path, a_row(2), a_row(3))
    before = path.read_bytes()

    def broken() -> Iterator[RowResult]:
        yield a_row(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(HOOK, str(path), broken(), ResultOptions(), has_parts=False)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_says_no_format_is_refused(tmp_path: Path) -> None:
    """The option is named."""
    with pytest.raises(InvalidInput, match=r"^progress_uri: must end in one of"):
        write_progress(str(tmp_path / "r.xlsx"), [], ResultOptions(), has_parts=False)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"recipients": "all"}, "recipients must be one of full, masked, none"),
        ({"keep_columns": ["status"]}, "keep_columns cannot name status"),
        ({"keep_columns": ["attempt_list"]}, "keep_columns cannot name attempt_list"),
        ({"keep_columns": ["a", "a"]}, "keep_columns names a column twice"),
        ({"keep_columns": "note"}, "keep_columns must be a list"),
        ({"reference_column": "customer_phone"}, "reference_column cannot be customer_phone"),
        ({"reference_column": " "}, "reference_column must be the name of a column"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], error: str) -> None:
    """When the DAG file is parsed, with the name of the option."""
    with pytest.raises(ValueError, match=error):
        ResultOptions(**options)


def test_the_column_of_the_numbers_is_not_carried() -> None:
    """It would show them a second time, and unmasked."""
    for option in ({"keep_columns": ["mobile"]}, {"reference_column": "mobile"}):
        with pytest.raises(ValueError, match="cannot name mobile, which phone_column says holds the numbers"):
            ResultOptions(**option).refuse_phone_column("mobile")


@pytest.mark.parametrize("name", ["r.csv", PARQUET])
def test_memory_does_not_grow_with_the_list(tmp_path: Path, name: str) -> None:
    """Rows are written as they come."""
    if name.endswith("parquet"):
        import pyarrow.parquet  # noqa: F401 - not to be counted

    def peak(rows: int) -> int:
        tracemalloc.start()
        try:
            many = (REDIALLED._replace(row_number=number) for number in range(rows))
            write_results(HOOK, str(tmp_path / name), many, ResultOptions(), has_parts=False)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(2500)
    assert peak(5000) < 1.2 * few + 100_000


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
WRITTEN = st.one_of(JSON_VALUES, st.dates().map(str), st.datetimes(timezones=st.timezones()).map(str))


@needs_pyarrow
@settings(max_examples=60)
@given(st.lists(WRITTEN, max_size=3))
def test_whatever_an_agent_collects_can_be_written(values: list[Any]) -> None:
    """In each format, as each type: a cell is of its column's type or blank."""
    columns = parse_result_columns({kind: ("results.x", kind) for kind in get_args(Kind)})
    kinds = {column.name: column.kind for column in columns}
    for form in (FileForm("csv", False), FileForm("jsonl", True), FileForm("parquet", False)):
        rows = [cells_of(Conversation("c", 1, "x", results={"x": value}), columns)[0] for value in values]
        file = io.BytesIO()
        write_rows(file, rows, tuple(kinds), form, kinds)
        file.seek(0)
        assert len(list(read_rows(file, tuple(kinds), form))) == len(values)
