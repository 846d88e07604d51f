"""Checks the options of operators when a DAG file is parsed, where a mistake costs nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

# The outcomes that a redial may follow: whoever was reached is not rung again.
REDIALLABLE = frozenset({"no_answer", "busy", "failed", "unreachable", "socket_failure", "telephony_failed"})


def one_of(name: str, value: str, choices: Collection[str]) -> str:
    """Return the value if it is one of the choices.

    :raises ValueError: it is not.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; not {value!r}")
    return value


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
    if isinstance(value, str) or not set(value) <= REDIALLABLE:
        raise ValueError(f"redial_on must be a set of {', '.join(sorted(REDIALLABLE))}; not {value!r}")
    return frozenset(value)
