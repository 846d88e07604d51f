"""Writes the page about a list of calls: one HTML file that needs neither a script nor a network."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from formant_provider.core.numbers.in_text import without_international
from formant_provider.tasks.summaries.chance import interval, verdicts
from formant_provider.tasks.summaries.charts import Columns, bars, columns, trimmed
from formant_provider.tasks.summaries.summary import DURATION_STEPS_S
from formant_provider.tasks.summaries.words import reason_text, status_text

if TYPE_CHECKING:
    import jinja2

    from formant_provider.tasks.summaries.summary import Share, Summary

_TEMPLATE = "page.html.jinja"


def page(summary: Summary, *, title: str, made_at: datetime, is_over: bool | None = None) -> str:
    """Return the page about a list of calls.

    :param summary: to which all rows were added.
    :param title: what the page is about, as text. A number with a plus sign in it is not shown.
    :param made_at: when the rows were read; aware.
    :param is_over: whether the figures are final; ``None``: if nobody is waiting and no call is in progress.
    """
    if is_over is None:
        is_over = not summary.by_status["waiting"] and not summary.by_status["in_progress"]
    hours = [(hour, summary.by_hour[hour]) for hour in trimmed([it.called for it in summary.by_hour])]
    steps = [spelt_time(seconds) for seconds in (0, *DURATION_STEPS_S)]
    spans = [*(f"{low} to {high}" for low, high in pairwise(steps)), f"{steps[-1]} and more"]
    return _template().render(
        title=without_international(title),
        made_at=made_at.astimezone(UTC),
        summary=summary,
        is_over=is_over,
        outcomes=bars(summary.by_status, status_text),
        left_out=bars(summary.by_reason, reason_text),
        not_again=bars(summary.not_again, reason_text),
        attempts=sorted(summary.by_attempt.items()),
        hours=hours,
        hours_chart=_hours_chart(hours),
        durations=list(zip(spans, summary.by_duration, strict=True)),
        durations_chart=columns(zip(steps, summary.by_duration, summary.by_duration, strict=True)),
        agents=_agents(summary),
        verdicts=verdicts(summary.by_agent),
    )


@cache
def _template() -> jinja2.Template:
    import jinja2

    env = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters.update(spelt=_spelt, time=_time, whole="{:,.0f}".format, percent="{:.1f} %".format)
    return env.from_string(resources.files(__package__).joinpath(_TEMPLATE).read_text("utf-8"))


def _hours_chart(hours: list[tuple[int, Share]]) -> Columns:
    return columns((str(hour), share.called, share.reached) for hour, share in hours)


def _agents(summary: Summary) -> list[tuple[str, Share, tuple[float, float]]]:
    """Return each agent with what it reached, and the interval in which its true share lies."""
    ordered = sorted(summary.by_agent.items(), key=lambda pair: -pair[1].called)
    return [(name, share, interval(share)) for name, share in ordered]


def spelt_time(seconds: int) -> str:
    """Return a span of whole seconds or minutes in the fewest words."""
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def _spelt(word: str) -> str:
    """Return a word of the results as people write it."""
    return word.replace("_", " ")


def _time(seconds: float | None) -> Any:
    """Return how long something lasted: minutes and seconds."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
