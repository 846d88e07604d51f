"""The pages for those who change the code are short, and name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.pages import ROOT, make_targets

PAGES = [ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md"]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
HEADS = ["Decided", "Because", "Instead of", "It costs", "Held by"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_it_fits_on_a_page(page: Path) -> None:
    """Nobody has to scroll far."""
    assert len(page.read_text().splitlines()) <= 60


@pytest.mark.parametrize("page", [*PAGES, ARCHITECTURE, *DECISIONS], ids=lambda page: page.name)
def test_what_it_names_exists(page: Path) -> None:
    """Targets of make, and files and folders in backticks, are there."""
    named = re.findall(r"`([^`]+)`", page.read_text())
    commands = [name.split()[1:] for name in named if name.startswith("make ")]
    assert {word for words in commands for word in words} <= make_targets()
    for name in named:
        if "/" in name and " " not in name and not name.startswith("/"):  # which is a URL's path
            places = [ROOT, ROOT / "formant_provider", ROOT / "tests"]
            assert any((place / name).exists() for place in places), name


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_is_short_and_says_all(page: Path) -> None:
    """What was decided, why, instead of what, at which cost, what holds it: in this order, on 25 lines."""
    text = page.read_text()
    assert re.findall(r"^\*\*(.+?)\.?\*\*", text, re.MULTILINE) == HEADS
    assert len(text.splitlines()) <= 25


def test_every_decision_is_listed() -> None:
    """The list of decisions has each of them, in the order of their numbers."""
    listed = re.findall(r"^(decisions/\S+)$", (ROOT / "docs" / "decisions.md").read_text(), re.MULTILINE)
    assert listed == [f"decisions/{page.stem}" for page in DECISIONS]
