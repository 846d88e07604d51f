"""The pages on files say what the two operators do: columns, files, limits."""

from __future__ import annotations

from datetime import timedelta

from formant_provider.core import paging
from formant_provider.core.conversations import history
from formant_provider.operators import export
from formant_provider.tasks.reads import PATIENT
from formant_provider.tasks.storage import archive, files, tables
from support.pages import DOCS, code, table

REFERENCE = "storage-operators.md"
PROSE = " ".join(
    "".join((DOCS / name).read_text() for name in ("storage.md", REFERENCE, "errors.md")).split()
)


def test_every_column_is_documented() -> None:
    """The table has the columns of the code in their order, their types, and what costs a request."""
    rows = {code(name)[0]: (parquet, cost) for name, _, parquet, cost in table(REFERENCE, "### Columns")}
    assert list(rows) == list(tables.COLUMNS)
    for name, (parquet, cost) in rows.items():
        kinds = {"text": "string", "json": "string", "integer": "int64", "moment": "timestamp[ms, tz=UTC]"}
        assert code(parquet)[0] == kinds[tables.COLUMNS[name]]
        assert (cost == "yes") is (name in history.DETAIL_ONLY)
    assert tuple(name for name in tables.COLUMNS if name != "transcript") == tables.DEFAULT_COLUMNS


def test_every_part_is_documented() -> None:
    """The table of files names each part of a conversation."""
    rows = table(REFERENCE, "## FormantConversationToObjectStorageOperator")
    assert [code(row[0])[0] for row in rows] == list(archive.PARTS)[::-1]


def test_the_limits_are_those_of_the_code() -> None:
    """The prose quotes the numbers of the code."""
    assert timedelta(hours=3) == history.LONGEST_CALL
    assert "three hours further back" in PROSE
    assert f"{paging.MAX_PAGES * paging.PAGE_SIZE:,} records" in PROSE
    assert PATIENT.max_attempts == 8
    assert "up to eight times" in PROSE
    assert PATIENT.max_inline_wait_s == PATIENT.max_total_wait_s == 3600
    assert "up to an hour for one request" in PROSE
    assert timedelta(minutes=10) == export._FRESH
    assert "less than ten minutes ago" in PROSE
    assert files._BLOCK_BYTES == 5 * 1024 * 1024
    assert "in parts of five megabytes" in PROSE
