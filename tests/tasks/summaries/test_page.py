"""The page is one file that shows counts and nobody."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import pytest

from formant_provider.tasks.summaries.charts import bars, columns
from formant_provider.tasks.summaries.page import page
from formant_provider.tasks.summaries.summary import Summary
from support.summaries import DETAIL, MADE_AT, NUMBER, REFERENCE, a_call, a_row, plausible_rows

VOID = {"meta", "link", "br"}
LOADS = {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}


class Page(HTMLParser):
    """The elements of a page, and its text; an element that is not closed in its order is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def made(summary: Summary, title: str = "Renewals", made_at: datetime = MADE_AT) -> str:
    return page(summary, title=title, made_at=made_at)


@pytest.fixture(scope="module")
def summary() -> Summary:
    summary = Summary()
    for row in plausible_rows(2000):
        summary.add(row)
    return summary


def test_the_page_needs_nothing_but_itself(summary: Summary) -> None:
    """No script, no frame, no address that a browser would read; a policy in the page forbids them too."""
    shown = Page(made(summary))
    assert {"script", "iframe", "img", "object", "embed", "form"}.isdisjoint(tag for tag, _ in shown.tags)
    addresses = [value for _, attrs in shown.tags for name, value in attrs.items() if name in LOADS]
    assert addresses == ["data:,"]
    assert not re.search(r"url\(|@import|https?:", made(summary))
    policy = [attrs["content"] for attrs in shown.all("meta") if "http-equiv" in attrs]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_nobody_is_on_the_page(summary: Summary) -> None:
    """Neither numbers nor references, ids, details or columns of the contacts, in whatever part of it."""
    html = made(summary, title=f"Call {NUMBER} back")
    for private in (NUMBER, NUMBER[1:], REFERENCE, DETAIL, "Asha", "trace-1", "conversation-1"):
        assert private not in html
    assert "Call +... back" in Page(html).text


def test_the_page_shows_what_was_counted(summary: Summary) -> None:
    """Each section is there, with its figures in its tables."""
    text = Page(made(summary)).text
    for title in (
        "Outcomes",
        "Reached, by hour of the recipient’s day",  # noqa: RUF001 - as it is on the page
        "Attempts",
        "Agents side by side",
        "How long conversations lasted",
        "Left out, by reason",
        "Not called again, by reason",
    ):
        assert title in text
    assert f"Rows of the list {summary.rows:,}" in text
    assert f"People reached {summary.people.reached:,}" in text
    assert f"Minutes in all {summary.people.seconds / 60:,.0f}" in text
    for word, count in summary.by_status.items():
        assert word.replace("_", " ") in text
        assert f"{count:,} {100 * count / summary.rows:.1f} %" in text
    assert "The number is on the do-not-call list." in text


def test_every_chart_has_a_title_and_a_table(summary: Summary) -> None:
    """Who cannot see a chart hears what it is, and finds its figures in a table with a caption and heads."""
    shown = Page(made(summary))
    ids = {attrs.get("id") for _, attrs in shown.tags}
    drawn = [attrs for attrs in shown.all("svg") if attrs.get("role") == "img"]
    assert len(drawn) == 2
    assert all(set(str(attrs["aria-labelledby"]).split()) <= ids for attrs in drawn)
    assert all(attrs.get("aria-hidden") == "true" for attrs in shown.all("svg") if attrs not in drawn)
    assert len(shown.all("table")) == len(shown.all("caption")) == 7
    assert {attrs.get("scope") for attrs in shown.all("th")} == {"row", "col"}


def test_text_of_others_stays_text() -> None:
    """A title or a word with markup in it is shown, and is no markup."""
    summary = Summary()
    summary.add(a_row("<img src=x>"))
    shown = Page(made(summary, title="<script>alert(1)</script> & co"))
    assert not shown.all("script")
    assert not shown.all("img")
    assert "<script>alert(1)</script> & co" in shown.text


def test_a_list_without_rows_has_a_page() -> None:
    """It says so, and has no empty charts."""
    shown = Page(made(Summary()))
    assert "The list has no rows." in shown.text
    assert shown.all("svg") == []


def test_a_list_that_is_not_over_says_so() -> None:
    """While somebody is waiting or a call is in progress the figures still change."""
    over, waiting = Summary(), Summary()
    over.add(a_row("completed", a_call()))
    waiting.add(a_row("waiting", a_call(status="busy")))
    assert "Not over:" not in Page(made(over)).text
    assert "Not over:" in Page(made(waiting)).text


def test_one_agent_and_one_attempt_are_not_compared() -> None:
    """What would be a table of one line is left out."""
    summary = Summary()
    summary.add(a_row("completed", a_call(), agent_id=456))
    text = Page(made(summary)).text
    assert "Agents" not in text
    assert "Attempts" not in text


def test_the_same_rows_make_the_same_page(summary: Summary) -> None:
    """Whenever it is made again; the moment is written in UTC."""
    elsewhere = MADE_AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert made(summary) == made(summary, made_at=elsewhere)
    assert (
        "As of 2026-11-29 09:00 UTC."
        in Page(made(summary, made_at=datetime(2026, 11, 29, 9, tzinfo=UTC))).text
    )


def test_bars_are_as_long_as_their_counts() -> None:
    """The longest fills its room, others stand at the end, and shares are of the whole."""
    drawn = bars({"busy": 1, "others": 10, "completed": 5, "none": 0})
    assert [(bar.word, bar.length, bar.percent) for bar in drawn] == [
        ("completed", 50, 31.25),
        ("busy", 10, 6.25),
        ("others", 100, 62.5),
    ]


@pytest.mark.parametrize("highest", [0, 1, 3, 4, 7, 10, 99, 100, 101, 12_345, 1_000_000])
def test_columns_stay_below_the_top_line(highest: int) -> None:
    """Lines across are at round numbers, few, and no column rises above the highest one."""
    chart = columns([("9", highest, highest // 2), ("10", 0, 0)])
    values = [value for _, value in chart.lines]
    assert values[0] == 0
    assert highest <= values[-1] <= max(2 * highest, 1)
    assert 2 <= len(values) <= 6
    high = chart.columns[0]
    assert high.top >= chart.lines[-1][0] - 0.1
    assert high.top + high.height == pytest.approx(chart.foot)
    assert high.part_height == pytest.approx(high.height * (highest // 2) / max(highest, 1), abs=0.1)
