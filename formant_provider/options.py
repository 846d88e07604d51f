"""Checks the options of operators when a DAG file is parsed, where a mistake costs nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from formant_provider.api.progress import UNSUCCESSFUL


def one_of(name: str, value: str, choices: Collection[str]) -> str:
    """Return the value if it is one of the choices.

    :raises ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; not {value!r}")
    return value


def some_of(name: str, values: Collection[str], choices: Collection[str]) -> tuple[str, ...]:
    """Return the values, each once, if there are any and all are among the choices.

    :raises ValueError: there is none, or one that is no choice.
    """
    if isinstance(values, str) or not values or not set(values) <= set(choices):
        raise ValueError(f"{name} must be a list with any of {', '.join(choices)}; not {values!r}")
    return tuple(dict.fromkeys(values))


def seconds(name: str, value: float | timedelta) -> float:
    """Return a time span in seconds.

    :param value: seconds, 0 or more, or a ``timedelta``.
    :raises ValueError: it is neither.
    """
    span = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(span, bool) or not isinstance(span, int | float) or not 0 <= span < float("inf"):
        raise ValueError(f"{name} must be a number of seconds, 0 or more, or a timedelta; not {value!r}")
    return float(span)


def redial_outcomes(value: Collection[str]) -> frozenset[str]:
    """Return the outcomes after which to call again.

    :raises ValueError: one of them is unknown, or means that somebody was reached.
    """
    if isinstance(value, str) or not set(value) <= UNSUCCESSFUL:
        raise ValueError(f"redial_on must be a set of {', '.join(sorted(UNSUCCESSFUL))}; not {value!r}")
    return frozenset(value)


def statuses(name: str, value: Collection[str]) -> frozenset[str]:
    """Return words that the status of a conversation may be.

    :raises ValueError: it is one text instead of several, or holds something that is no word.
    """
    if isinstance(value, str) or not all(isinstance(word, str) and word.strip() for word in value):
        raise ValueError(f"{name} must be a set of statuses such as completed; not {value!r}")
    return frozenset(value)
