"""Spans of OpenTelemetry, in whatever this Airflow or its user has set up; in nothing else they cost nothing.

Airflow 3.2 and later set up OpenTelemetry themselves, and have a span of the task; before that, tasks ask for
a tracer of their own. See
https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/traces.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from formant_provider.api.telemetry import Tag

log = logging.getLogger(__name__)

_NAME = "airflow-provider-formant"


class OpenSpan:
    """A span that is under way. What hinders it is nobody's concern."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **attributes: Tag) -> None:
        """Add attributes, unless they are ``None``."""
        with suppress(Exception):
            self._span.set_attributes(_named(attributes))

    def end(self, error: BaseException | None) -> None:
        """End it. Of an error only the name of its class is kept: the text of one may hold anything."""
        with suppress(Exception):
            if error is not None:
                self._span.set_attribute("error.type", type(error).__name__)
            self._span.end()


@contextmanager
def span(name: str, attributes: Mapping[str, Tag], made_in: Context) -> Iterator[OpenSpan]:
    """Trace what is done in a ``with`` statement.

    :param made_in: whose span is the parent where there is no current one, as in a thread of its own.
    """
    opened = OpenSpan(_start(name, attributes, made_in))
    try:
        yield opened
    except BaseException as error:
        opened.end(error)
        raise
    opened.end(None)


def past_span(name: str, attributes: Mapping[str, Tag], start_ms: int, end_ms: int, made_in: Context) -> None:
    """Trace what is over.

    :param start_ms: milliseconds since 1970; so is ``end_ms``.
    """
    started = _start(name, attributes, made_in, start_time=start_ms * 1_000_000)
    with suppress(Exception):
        started.end(end_time=end_ms * 1_000_000)


def _start(name: str, attributes: Mapping[str, Tag], made_in: Context, start_time: int | None = None) -> Any:
    """Start a span; return what :class:`OpenSpan` can do without if there is none."""
    try:
        from opentelemetry import context, trace

        parent = context.get_current()
        if not trace.get_current_span(parent).get_span_context().is_valid:
            parent = made_in.copy().run(_parent)  # of a copy: one thread at a time may be in a context
        return _tracer().start_span(
            name, context=parent, attributes=_named(attributes), start_time=start_time
        )
    except Exception as error:  # a call is not less placed for it
        log.debug("No span %s: %s", name, type(error).__name__)
        return None


def _named(attributes: Mapping[str, Tag]) -> dict[str, str | int]:
    return {f"formant.{name}": value for name, value in attributes.items() if value is not None}


def _parent() -> Any:
    """Return the context of the task's span."""
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    current = context.get_current()
    if trace.get_current_span(current).get_span_context().is_valid:
        return current
    with suppress(Exception):  # Airflow 3.1 hands it to the task; elsewhere there may be no task
        from airflow.sdk import get_current_context

        carrier = getattr(get_current_context()["ti"], "context_carrier", None)
        return TraceContextTextMapPropagator().extract(carrier or {}, context=current)
    return current


@cache
def _tracer() -> Tracer:
    from opentelemetry import trace

    provider = _provider_of_airflow_3_1()
    return trace.get_tracer(_NAME, tracer_provider=provider)


def _provider_of_airflow_3_1() -> Any:
    """Return what makes tracers of tasks in Airflow 3.1; ``None`` later, or where tracing is off."""
    try:
        from airflow.traces import otel_tracer  # type: ignore[import-not-found] # not in later ones
        from airflow.traces.tracer import Trace  # type: ignore[import-not-found] # not in later ones
    except ImportError:
        return None
    if not conf.getboolean("traces", "otel_on", fallback=False):
        return None
    return otel_tracer.get_otel_tracer_for_task(Trace).get_otel_tracer_provider()
