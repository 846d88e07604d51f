"""What is measured, under which names, and the seam to whoever measures it.

All names are in this file. The client and the rules know no Airflow: they count through the
:class:`Telemetry` of their client, which does nothing unless somebody gives it another one
(:mod:`formant_provider.hooks.telemetry`). Whoever measures never raises: no call fails over a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from formant_provider.api.errors import DuplicateRequest, RequestRefused


@dataclass(frozen=True)
class Metric:
    """One metric.

    :param name: without the prefix that Airflow adds.
    :param kind: whether it only grows, or is set.
    :param tags: names of its tags, besides ``conn_id``, which all have; one that is not known is left out.
    :param meaning: for the page about metrics.
    """

    name: str
    kind: Literal["counter", "gauge"]
    tags: tuple[str, ...]
    meaning: str


def _counter(name: str, meaning: str, *tags: str) -> Metric:
    return Metric(f"formant.{name}", "counter", tags, meaning)


def _gauge(name: str, meaning: str) -> Metric:
    return Metric(f"formant.call_list.{name}", "gauge", ("dag_id", "task_id"), meaning)


CALLS_PLACED = _counter(
    "calls.placed",
    "Calls that the API has accepted, those of call lists, of the notifier and of the hook among them.",
    "agent_id",
)
CALLS_FOUND = _counter(
    "calls.found", "Calls that an earlier try, or somebody else, had placed, and that were found.", "agent_id"
)
CALLS_UNCONFIRMED = _counter(
    "calls.unconfirmed",
    "Calls that may have been placed before, and of which no record was found.",
    "agent_id",
)
CALLS_REFUSED = _counter("calls.refused", "Calls that the API has refused for good.", "agent_id", "status")
BATCHES_PLACED = _counter("batch_calls.placed", "Batch calls that the API has accepted.", "agent_id")
BATCHES_FOUND = _counter(
    "batch_calls.found",
    "Batch calls that an earlier try, or somebody else, had placed, and that were found.",
    "agent_id",
)
BATCHES_REFUSED = _counter(
    "batch_calls.refused", "Batch calls that the API has refused for good.", "agent_id", "status"
)
REQUESTS = _counter("requests", "Requests to the API, repeats among them.", "operation", "status")
RATE_LIMITED = _counter("requests.rate_limited", "Requests that the API has answered with 429.", "operation")
POLLS = _counter(
    "polls",
    "Looks for conversations, batch calls or transcription jobs that are over, each of one or more requests.",
    "agent_id",
)
PACE_WAITS = _counter(
    "pace_waits",
    "Times a call had to wait for its turn by `calls_per_minute` or `max_concurrent_calls`.",
    "agent_id",
)
WAITS_STARTED = _counter(
    "waits.started",
    "Waits for a conversation, a batch call or a transcription job that began, or began again.",
    "agent_id",
    "where",
)
WAITS_ENDED = _counter(
    "waits.ended",
    "Waits that ended; `outcome` is `over`, `timeout`, `error`, or `cancelled` where a triggerer gave it up.",
    "agent_id",
    "where",
    "outcome",
)
WEBHOOKS_RECEIVED = _counter("webhooks.received", "Webhooks that reached the receiver.")
WEBHOOKS_STORED = _counter("webhooks.stored", "Webhooks that were new, and were stored.")
WEBHOOKS_KNOWN = _counter("webhooks.known", "Webhooks that had come before.")
WEBHOOKS_REFUSED = _counter(
    "webhooks.refused", "Webhooks that were refused, or could not be stored.", "status"
)
LIST_ROWS = _gauge("rows", "Rows of a call list. Each is in one of the next five.")
LIST_REJECTED = _gauge("rejected", "Rows that are not called.")
LIST_WAITING = _gauge("waiting", "Rows that are still to be called, or called again.")
LIST_IN_PROGRESS = _gauge("in_progress", "Rows whose last call is not over, as far as is known.")
LIST_REACHED = _gauge("reached", "Rows whose last call was a success.")
LIST_CLOSED = _gauge("closed", "Rows that were called, not reached, and are not called again.")
LIST_CALLS = _gauge("calls", "Calls of the list that were placed, or may have been.")

LIST_GAUGES = (
    LIST_ROWS,
    LIST_REJECTED,
    LIST_WAITING,
    LIST_IN_PROGRESS,
    LIST_REACHED,
    LIST_CLOSED,
    LIST_CALLS,
)
METRICS = (
    CALLS_PLACED,
    CALLS_FOUND,
    CALLS_UNCONFIRMED,
    CALLS_REFUSED,
    BATCHES_PLACED,
    BATCHES_FOUND,
    BATCHES_REFUSED,
    REQUESTS,
    RATE_LIMITED,
    POLLS,
    PACE_WAITS,
    WAITS_STARTED,
    WAITS_ENDED,
    WEBHOOKS_RECEIVED,
    WEBHOOKS_STORED,
    WEBHOOKS_KNOWN,
    WEBHOOKS_REFUSED,
    *LIST_GAUGES,
)

PLACE_CALL, PLACE_BATCH_CALL, CONVERSATION = "formant.call", "formant.batch_call", "formant.conversation"

Tag = str | int | None


class Span(Protocol):
    """What is traced of one call or batch call while it is placed."""

    def set(self, **attributes: Tag) -> None:
        """Add attributes: ids and words, nothing private. ``None`` is left out."""


class Telemetry(Protocol):
    """Whoever measures. It neither blocks an event loop nor raises."""

    def count(self, metric: Metric, **tags: Tag) -> None:
        """Let a counter grow. A tag that is ``None`` is left out."""

    def gauge(self, metric: Metric, value: int, **tags: Tag) -> None:
        """Set a gauge."""

    def span(self, name: str, **attributes: Tag) -> AbstractContextManager[Span]:
        """Trace what is done in a ``with`` statement. An error in it is passed on."""


class _Silent:
    """Measures nothing."""

    def count(self, metric: Metric, **tags: Tag) -> None:
        """Count nothing."""

    def gauge(self, metric: Metric, value: int, **tags: Tag) -> None:
        """Set nothing."""

    @contextmanager
    def span(self, name: str, **attributes: Tag) -> Iterator[Span]:  # noqa: ARG002 - of the protocol
        """Trace nothing."""
        yield self

    def set(self, **attributes: Tag) -> None:
        """Keep nothing."""


SILENT: Telemetry = _Silent()


@contextmanager
def counting(telemetry: Telemetry, accepted: Metric, refused: Metric, agent_id: int) -> Iterator[None]:
    """Count what the API says to a call, or batch call: that it is accepted, or refused for good."""
    try:
        yield
    except DuplicateRequest:  # one with this key was accepted before
        raise
    except RequestRefused as error:
        telemetry.count(refused, agent_id=agent_id, status=error.status)
        raise
    telemetry.count(accepted, agent_id=agent_id)
