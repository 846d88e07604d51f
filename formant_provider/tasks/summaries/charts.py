"""Turns counts into what is drawn: the lengths of bars, and the places of columns in an SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import NamedTuple

from formant_provider.tasks.summaries.summary import OTHERS

# Of a chart of columns, in its own units; a phone shows it at about one to one.
WIDTH, HEIGHT = 360, 170
_LEFT, _TOP, _BOTTOM = 36, 10, 148
# As many labels as have room side by side.
_MOST_LABELS = 13
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Bar:
    """A line of a table with a bar in it; its length is in percent of the room for it."""

    word: str
    text: str
    count: int
    percent: float
    length: float


class Column(NamedTuple):
    """A column of a chart, with a darker part from its foot up; places are those of its SVG."""

    label: str
    is_labelled: bool
    left: float
    width: float
    top: float
    height: float
    part_top: float
    part_height: float

    @property
    def middle(self) -> float:
        """Where the label stands."""
        return self.left + self.width / 2


class Columns(NamedTuple):
    """A chart of columns, and its lines across: how high each is, and what it stands for."""

    columns: list[Column]
    lines: list[tuple[float, int]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    foot: int = _BOTTOM


def bars(counts: Mapping[str, int], text: Callable[[str], str] = lambda _: "") -> list[Bar]:
    """Return a bar for each word that was counted, the longest first and ``others`` last.

    :param text: says what a word means.
    """
    whole, longest = sum(counts.values()), max(counts.values(), default=0)
    ordered = sorted(counts.items(), key=lambda pair: (pair[0] == OTHERS, -pair[1], pair[0]))
    return [
        Bar(word, text(word), count, 100 * count / whole, 100 * count / longest)
        for word, count in ordered
        if count
    ]


def columns(values: Iterable[tuple[str, int, int]]) -> Columns:
    """Return a chart of columns.

    :param values: of each column its label, how high it is, and how high its darker part.
    """
    drawn = list(values)
    step, top = _scale(max((value for _, value, _ in drawn), default=0))
    room = (WIDTH - _LEFT) / max(len(drawn), 1)
    every = ceil(len(drawn) / _MOST_LABELS)

    def height(value: float) -> float:
        return round((_BOTTOM - _TOP) * value / top, 1)

    placed = [
        Column(
            label=label,
            is_labelled=place % every == 0,
            left=round(_LEFT + room * (place + 0.12), 1),
            width=round(room * 0.76, 1),
            top=round(_BOTTOM - height(value), 1),
            height=height(value),
            part_top=round(_BOTTOM - height(part), 1),
            part_height=height(part),
        )
        for place, (label, value, part) in enumerate(drawn)
    ]
    return Columns(placed, [(round(_BOTTOM - height(line), 1), line) for line in range(0, top + 1, step)])


def trimmed(counts: Sequence[int]) -> range:
    """Return from which place to which there is something to draw."""
    filled = [place for place, count in enumerate(counts) if count]
    return range(filled[0], filled[-1] + 1) if filled else range(0)


def _scale(highest: int) -> tuple[int, int]:
    """Return the step between two lines, a round number, and the line that no column rises above."""
    wanted = max(highest, 1) / 4
    power = 10 ** max(0, ceil(log10(wanted)) - 1) if wanted > 1 else 1
    step = next(int(it * power) for it in _STEPS if it * power >= wanted and it * power == int(it * power))
    return step, step * max(1, ceil(highest / step))
