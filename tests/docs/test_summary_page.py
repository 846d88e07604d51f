"""The page of the documentation about the page of a list says what that one shows."""

from __future__ import annotations

import re
from importlib import resources

from formant_provider.tasks import summaries
from formant_provider.tasks.summaries.chance import verdicts
from formant_provider.tasks.summaries.page import spelt_time
from formant_provider.tasks.summaries.summary import DURATION_STEPS_S, Share
from support.pages import DOCS, table

PAGE = " ".join((DOCS / "summary.md").read_text().split())


def test_every_section_is_described() -> None:
    """In the order of the page, each by how its title begins."""
    template = (resources.files(summaries) / "page.html.jinja").read_text("utf-8")
    titles = re.findall(r"<h2 [^>]*>([^<]*)</h2>", template)
    described = [row[0] for row in table("Section", "What it shows")]
    assert len(titles) == 8
    assert len(described) == len(titles)
    assert all(title.startswith(name) for title, name in zip(titles, described, strict=True))


def test_the_spans_of_time_are_named() -> None:
    """Those in which durations are counted."""
    *steps, last = (spelt_time(seconds) for seconds in (0, *DURATION_STEPS_S))
    assert f"from {', '.join(steps)} and {last} on" in PAGE


def test_the_sentences_about_chance_are_those_of_the_page() -> None:
    """Word by word, with the figures that come of these counts."""
    for one, other in ((Share(5000, 2000), Share(5000, 2300)), (Share(10, 4), Share(10, 7))):
        assert f"*{verdicts({'456': one, '457': other})[0]}*" in PAGE
