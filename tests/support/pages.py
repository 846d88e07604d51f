"""The tables of the documentation, to be compared with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from formant_provider.sandbox import Sandbox

DOCS = Path(__file__).resolve().parents[2] / "docs"


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head; a cell as it is written."""
    text = (DOCS / page).read_text()
    assert f"\n{heading}\n" in text, f"{page} has no {heading}"
    section = text.split(f"\n{heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert lines, f"{page}: no table under {heading}"
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines.group().splitlines()
    ]
    return rows[2:]


def code(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def of_an_outcome() -> list[str]:
    """The fields of a record that are documented to be handed on."""
    return [name for row in table("results.md", "## A call that was waited for") for name in code(row[0])]


def assert_campaign(sandbox: Sandbox, placed: list[dict[str, Any]], documented: dict[str, list[str]]) -> None:
    """One batch call was placed, it rang everybody once, and XCom holds what the page says."""
    (xcoms,) = placed
    assert sum(seen.method == "POST" for seen in sandbox.requests) == 1
    assert set(sandbox.rings.values()) == {1}
    assert xcoms.keys() == documented.keys()
    assert list(xcoms["return_value"])[: len(documented["return_value"])] == documented["return_value"]


def returned_by(xcoms: dict[str, Any]) -> Any:
    """What a task returned, if that was a mapping."""
    value = xcoms.get("return_value")
    return value if isinstance(value, dict) else {}
