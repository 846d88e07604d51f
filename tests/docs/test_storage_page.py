"""The page on files says what the two operators do: parameters, columns, limits, what XCom holds."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from formant_provider.core import paging
from formant_provider.core.conversations import history
from formant_provider.operators import export, storage
from formant_provider.tasks.reads import PATIENT
from formant_provider.tasks.storage import archive, files, tables

PAGE = (Path(__file__).parents[2] / "docs" / "storage.md").read_text()
PROSE = " ".join(PAGE.split())


def table(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    section = PAGE.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert lines
    rows = [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in lines.group().splitlines()]
    return rows[2:]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def parameters_shown(operator: Any) -> dict[str, str]:
    """Name and text of each row of the table that begins with the operator's first parameter."""
    first = next(iter(operator.template_fields))
    block = next(part for part in PAGE.split("\n\n") if f"\n| `{first}` | required" in part)
    return dict(line.strip("| ").split(" | ", 1) for line in block.splitlines()[2:])


@pytest.mark.parametrize(
    "operator",
    [storage.FormantConversationToObjectStorageOperator, export.FormantConversationsToObjectStorageOperator],
)
def test_every_parameter_is_documented(operator: Any) -> None:
    """Each is in the table with its default, and those that are templates say so."""
    wanted = dict(inspect.signature(operator.__init__).parameters)
    del wanted["self"], wanted["kwargs"]
    shown = parameters_shown(operator)
    assert [code(name)[0] for name in shown] == list(wanted)
    for cell, text in shown.items():
        name = code(cell)[0]
        default = wanted[name].default
        assert ("a template" in text) is (name in operator.template_fields), name
        if default is inspect.Parameter.empty:
            assert text.startswith("required"), name
        elif name != "fields":
            assert code(text)[0] == str(default).replace("'", '"'), name
    assert tuple(name for name in tables.COLUMNS if name != "transcript") == tables.DEFAULT_COLUMNS


def test_every_column_is_documented() -> None:
    """The table has the columns of the code in their order, their types, and what costs a request."""
    rows = {code(name)[0]: (parquet, cost) for name, _, parquet, cost in table("### Columns")}
    assert list(rows) == list(tables.COLUMNS)
    for name, (parquet, cost) in rows.items():
        kinds = {"text": "string", "json": "string", "integer": "int64", "moment": "timestamp[ms, tz=UTC]"}
        assert code(parquet)[0] == kinds[tables.COLUMNS[name]]
        assert (cost == "yes") is (name in history.DETAIL_ONLY)


def test_every_part_is_documented() -> None:
    """The table of files names each part of a conversation."""
    assert [code(row[0])[0] for row in table("## One conversation")] == list(archive.PARTS)[::-1]


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
