"""Rows of lists that are over, for tests, and what files of results say of them."""

from __future__ import annotations

import csv
import gzip
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from formant_provider.core.call_lists.calls import Attempt, RowResult

needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="Parquet is an extra")
PARQUET = pytest.param("r.parquet", marks=needs_pyarrow)
NUMBER, MASKED = "+14155550100", "*******0100"
NOON_MS = 1773835200000  # 2026-03-18T12:00:00Z


def an_attempt(number: int = 1, status: str = "completed", **known: Any) -> Attempt:
    return Attempt(number, status, **{"trace_id": f"t-{number}", "conversation_id": f"c-{number}", **known})


def a_row(row_number: int = 2, *attempts: Attempt, **fields: Any) -> RowResult:
    """A row; with attempts, one that was called, and without, one that was not."""
    known = {
        "part": None, "number": NUMBER, "reference": None, "agent_id": 456,
        "status": attempts[-1].status if attempts else "rejected",
        "reason": None if attempts else "capped", "detail": None, "zone": None,
    }  # fmt: skip
    return RowResult(row_number, **{**known, **fields}, attempts=attempts)


def read_back(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, as it is for its own kind."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        from pyarrow import parquet

        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = content.decode()
    if name.endswith(".csv"):
        return list(csv.DictReader(text.splitlines()))
    return [json.loads(line) for line in text.splitlines()]
