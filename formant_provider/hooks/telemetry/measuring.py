"""Measures with what Airflow has for it: metrics through its Stats, spans through OpenTelemetry."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import TYPE_CHECKING

from formant_provider.hooks.telemetry.stats import emit

if TYPE_CHECKING:
    from formant_provider.api.telemetry import Metric, Span, Tag


def count(conn_id: str, metric: Metric, **tags: Tag) -> None:
    """Let a counter grow, for a connection."""
    emit("incr", metric.name, 1, {"conn_id": conn_id, **tags})


class AirflowTelemetry:
    """Measures for one connection.

    Spans belong to the current one; in threads, to that which was the current one when this was made.

    :param conn_id: the connection, which is a tag of all metrics and an attribute of all spans.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._made_in = copy_context()

    def count(self, metric: Metric, **tags: Tag) -> None:
        """Let a counter grow."""
        count(self._conn_id, metric, **tags)

    def gauge(self, metric: Metric, value: int, **tags: Tag) -> None:
        """Set a gauge."""
        emit("gauge", metric.name, value, {"conn_id": self._conn_id, **tags})

    def span(self, name: str, **attributes: Tag) -> AbstractContextManager[Span]:
        """Trace what is done in a ``with`` statement."""
        from formant_provider.hooks.telemetry.spans import span

        return span(name, {"conn_id": self._conn_id, **attributes}, self._made_in)

    def past_span(self, name: str, start_ms: int, end_ms: int, **attributes: Tag) -> None:
        """Trace what is over, from its first to its last millisecond since 1970."""
        from formant_provider.hooks.telemetry.spans import past_span

        past_span(name, {"conn_id": self._conn_id, **attributes}, start_ms, end_ms, self._made_in)
