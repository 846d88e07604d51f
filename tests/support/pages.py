"""The pages of the documentation: their prose, and their tables, wherever in the pages they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from formant_provider.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
TEXT = "\n".join(page.read_text() for page in PAGES)
PROSE = " ".join(TEXT.split())


def table(*head: str, having: str = "") -> list[list[str]]:
    """The rows of the one table whose first columns have these heads; a cell as it is written.

    :param having: text of the table, where several have these heads.
    """
    start = re.escape(f"| {' | '.join(head)} |")
    found = [text for text in re.findall(rf"^{start}.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE) if having in text]
    assert len(found) == 1, f"{len(found)} tables begin with {head}"
    cells = [re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in found[0].splitlines()[1:]]
    return [[cell.strip() for cell in row] for row in cells]


def code(cell: str) -> list[str]:
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def column(*head: str, having: str = "") -> list[str]:
    """What stands first in the first cells of a table, in backticks."""
    return [code(row[0])[0] for row in table(*head, having=having)]


def of_an_outcome() -> list[str]:
    """The fields of a record that are documented to be returned."""
    return [name for row in table("Field of `return_value`") for name in code(row[0])]


def assert_batch_call(
    sandbox: Sandbox, placed: list[dict[str, Any]], documented: dict[str, list[str]]
) -> None:
    """One batch call was placed, it called everybody once, and XCom holds what the page says."""
    (xcoms,) = placed
    assert sum(seen.method == "POST" for seen in sandbox.requests) == 1
    assert set(sandbox.rings.values()) == {1}
    assert xcoms.keys() == documented.keys()
    assert list(xcoms["return_value"])[: len(documented["return_value"])] == documented["return_value"]


def returned_by(xcoms: dict[str, Any]) -> Any:
    """What a task returned, if that was a mapping."""
    value = xcoms.get("return_value")
    return value if isinstance(value, dict) else {}


@cache
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def sandbox_options() -> set[str]:
    """The options that the sandbox's own help names."""
    command = [sys.executable, "-m", "formant_provider.sandbox", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z-]+", text.partition("options:")[2])) - {"--help"}
