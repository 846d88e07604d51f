"""The page of the documentation about the calls page says what that one shows."""

from __future__ import annotations

import re
from importlib import resources

from formant_provider import calls_page
from formant_provider.calls_page.page import UNCONFIRMED_HELP
from formant_provider.store.overview import LOOKS_BACK, MOST_DAGS, MOST_ROWS
from support.pages import DOCS, table

PAGE = " ".join((DOCS / "calls-page.md").read_text().split())


def test_every_section_is_described() -> None:
    """In the order of the page, each by its title."""
    template = (resources.files(calls_page) / "page.html.jinja").read_text("utf-8")
    titles = [title for title in re.findall(r"<h2 [^>]*>([^<]*)</h2>", template) if title != "No calls"]
    assert [row[0] for row in table("Section of the page", "What it shows")] == titles


def test_its_limits_are_named() -> None:
    """How far it looks back, and how much it shows."""
    assert (LOOKS_BACK.days, MOST_ROWS, MOST_DAGS) == (7, 50, 10_000)
    for words in ("the seven days before", "the newest 50", "the first 10,000"):
        assert words in PAGE


def test_its_link_leads_to_a_heading() -> None:
    """What it says about unconfirmed calls continues in the documentation."""
    assert "## Calls that are unconfirmed" in PAGE
    assert UNCONFIRMED_HELP.endswith("/page/calls-page.html#calls-that-are-unconfirmed")
