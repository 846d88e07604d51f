"""The page about a list of calls in a real browser: no network, by day and night, on any screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from formant_provider.tasks.summaries.page import page as page_of
from formant_provider.tasks.summaries.summary import Summary
from support.contrasts import CONTRASTS
from support.summaries import MADE_AT, plausible_rows

Scheme = Literal["light", "dark"]
Open = Callable[[Scheme, int], Page]

BOTH = pytest.mark.parametrize("scheme", ["light", "dark"])
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "images"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    summary = Summary()
    for row in plausible_rows():
        summary.add(row)
    path = tmp_path_factory.mktemp("page") / "summary.html"
    path.write_text(page_of(summary, title="Renewals of November 2026", made_at=MADE_AT), "utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Open]:
    """Open the page without a network; what else it asks for, or complains of, is an error."""
    asked: list[str] = []
    contexts = []

    def look(scheme: Scheme, width: int) -> Page:
        context = browser.new_context(
            offline=True, color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: asked.append(message.text))
        page.goto(file.as_uri())
        return page

    yield look
    for context in contexts:
        context.close()
    assert {address for address in asked if not address.startswith("data:")} == {file.as_uri()}


@BOTH
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits(scheme: Scheme, width: int, opened: Open) -> None:
    """Nothing is wider than the screen of a phone, a tablet or a desk, and nothing is cut off."""
    page = opened(scheme, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "it => it.getBoundingClientRect().right > it.closest('section').getBoundingClientRect().right"
    assert page.evaluate(f"[...document.querySelectorAll('section *')].filter({wide}).length") == 0


@BOTH
def test_the_page_is_readable(scheme: Scheme, opened: Open) -> None:
    """All text stands out from what is behind it as WCAG 2 (AA) asks for, by day and by night."""
    page = opened(scheme, 1000)
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert min(contrasts) >= 4.5
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(244, 246, 248)", "dark": "rgb(17, 22, 28)"}[scheme]


def test_charts_and_tables_are_named(opened: Open) -> None:
    """A screen reader finds each chart and each table by its name, and each chart is drawn."""
    page = opened("light", 1000)
    for name in ("by hour of the recipient", "by how long they lasted"):
        assert page.get_by_role("img", name=name).is_visible()
        assert page.get_by_role("table", name=name).is_visible()
    for name in ("by outcome", "by attempt", "by agent", "never called, by reason"):
        assert page.get_by_role("table", name=name).is_visible()
    drawn = "it => it.getBoundingClientRect().height > 0"
    assert page.evaluate(f"[...document.querySelectorAll('.chart rect.all')].filter({drawn}).length") > 10


def test_the_picture_of_the_documentation(opened: Open, request: pytest.FixtureRequest) -> None:
    """What the documentation shows is this page, down to the agents side by side."""
    page = opened("light", 880)
    end = page.evaluate("document.getElementById('agents').closest('section').getBoundingClientRect().bottom")
    assert 1000 < end < 2000
    if request.config.getoption("--pictures"):
        clip = {"x": 0, "y": 0, "width": 880, "height": end + 16}
        page.screenshot(path=PICTURES / "call-list-summary.png", clip=clip, full_page=True)  # type: ignore[arg-type]
    assert page.title() == "Renewals of November 2026"
