"""What was answered of the open questions, as a page to pass on: it holds nothing private."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from formant_provider.__about__ import __version__
from formant_provider.check.questions.catalogue import Outcome


def as_markdown(outcomes: Sequence[Outcome], *, base_url: str, now: datetime, has_rung: bool) -> str:
    """Return the report.

    :param base_url: of the API that was asked.
    :param has_rung: whether a call was placed for it.
    """
    answered = sum(bool(outcome.answers) for outcome in outcomes)
    how = "by reading and one call" if has_rung else "by reading alone"
    head = [
        "# What FormantAI's API does where its pages are silent",
        f"{answered} of {len(outcomes)} questions were answered, {how}: {base_url}, {now:%Y-%m-%d},"
        f" airflow-provider-formant {__version__}. There are no numbers, ids or values of anybody in here.",
    ]
    return "\n\n".join([*head, *map(_section, outcomes)]) + "\n"


def in_lines(outcomes: Sequence[Outcome]) -> str:
    """Return the same for a terminal."""
    lines = []
    for outcome in outcomes:
        lines.append(f"{outcome.question.number:>3}  {outcome.question.text}")
        lines.append(f"     {_mark(outcome.answer) if outcome.answers else outcome.why_open}")
        if outcome.answers:
            lines.append(f"     ({outcome.evidence})")
    return "\n".join(lines)


def as_data(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return the same as plain data; ``answer`` is ``None`` where there is none."""
    return [
        {
            "number": outcome.question.number,
            "question": outcome.question.text,
            "answer": outcome.answer or None,
            "evidence": outcome.evidence or None,
        }
        for outcome in outcomes
    ]


def _mark(answer: str) -> str:
    return f"=> {answer}"


def _section(outcome: Outcome) -> str:
    question = outcome.question
    head = f"## {question.number}. {question.text}"
    if not outcome.answers:
        return f"{head}\n\nOpen. {outcome.why_open}"
    return f"{head}\n\n**{outcome.answer}**\n\nEvidence: {outcome.evidence}.\n\nAsked: {question.how}"
