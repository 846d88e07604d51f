"""Says whether agents that were compared differ by more than chance explains.

The interval of one share is Wilson's, that of the difference of two Newcombe's (his method 10): both hold for
few calls and for shares near 0 and 100 percent, where the textbook formula does not.
Newcombe, Statistics in Medicine 17 (1998), https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import hypot, sqrt
from statistics import NormalDist

from formant_provider.tasks.summaries.summary import Share

_CONFIDENCE = 0.95
# Among so many agents pairs are compared; with more of them nobody reads the sentences.
_MOST_COMPARED = 6


def interval(share: Share, comparisons: int = 1) -> tuple[float, float]:
    """Return between which percentages the true share lies, with a confidence of 95 percent.

    :param comparisons: how many intervals are to hold at once, so that one of many does not differ by luck.
    """
    if not share.called:
        return 0.0, 100.0
    z = NormalDist().inv_cdf(1 - (1 - _CONFIDENCE) / (2 * comparisons))
    n, part = share.called, share.reached / share.called
    middle = part + z * z / (2 * n)
    half = z * sqrt(part * (1 - part) / n + z * z / (4 * n * n))
    scale = 100 / (1 + z * z / n)
    return max(0.0, (middle - half) * scale), min(100.0, (middle + half) * scale)


def difference(one: Share, other: Share, comparisons: int = 1) -> tuple[float, float, float]:
    """Return by how many points ``one`` lies above ``other``, and between which points that truly is."""
    (low, high), (other_low, other_high) = interval(one, comparisons), interval(other, comparisons)
    points = one.percent - other.percent
    return (
        points,
        points - hypot(one.percent - low, other_high - other.percent),
        points + hypot(high - one.percent, other.percent - other_low),
    )


def verdicts(agents: Mapping[str, Share]) -> list[str]:
    """Return sentences about each two agents that differ, or one that says that they may not."""
    called = {name: share for name, share in agents.items() if share.called}
    if not 2 <= len(called) <= _MOST_COMPARED:
        return []
    ordered = sorted(called, key=lambda name: -called[name].percent)
    pairs = list(combinations(ordered, 2))
    found = [(pair, difference(called[pair[0]], called[pair[1]], len(pairs))) for pair in pairs]
    if len(pairs) == 1:
        return [_sentence(*found[0])]
    surely = [_sentence(pair, points) for pair, points in found if points[1] > 0]
    return surely or ["No two of these agents differ by more than chance may explain."]


def _sentence(pair: tuple[str, str], points: tuple[float, float, float]) -> str:
    more, low, high = points
    between = f"95 % interval: {low:.1f} to {high:.1f} points"
    said = f"Agent {pair[0]} reached {more:.1f} percentage points more than agent {pair[1]} ({between})."
    if round(more, 1) == 0:
        return f"Agents {pair[0]} and {pair[1]} reached the same share ({between})."
    if low > 0:
        return f"{said} That is more than chance explains."
    return f"{said} The interval contains 0, so this difference may be chance."
