"""Sends the requests of a flow. The only place that sends one and passes its answer on.

A *flow* is a generator that yields one request after the other and returns a result. It never sends, sleeps
or repeats, so the same flow serves a task that waits in its worker and a thousand that share one event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from formant_provider.api.errors import FormantError

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.api.retry import Quota

T = TypeVar("T")
# A flow looks at so many records, or people who wait, before it lets others go on.
AT_ONCE = 100
# What is read with a client; it places nothing.
Query: TypeAlias = "Callable[[FormantClient], Any]"
Flow: TypeAlias = Generator[Query, Any, T]


def breathe(_client: FormantClient) -> None:
    """Ask nothing. A flow with much to compute yields this now and then, so that others can go on."""


@dataclass(frozen=True)
class Outcome:
    """What came of one query: an answer, or an error.

    :param quota: what the answer said of the rate limit.
    """

    answer: Any = None
    error: FormantError | None = None
    quota: Quota | None = None


def send(query: Query, client: FormantClient) -> Outcome:
    """Send one request."""
    try:
        return Outcome(query(client), quota=client.quota)
    except FormantError as error:
        return Outcome(error=error)


def proceed(flow: Flow[T], outcome: Outcome) -> Query:
    """Pass the outcome of a request to its flow; an error is raised inside of it, where it asked.

    :return: the next request.
    :raises StopIteration: the flow has ended; its result is in ``value``.
    """
    return flow.throw(outcome.error) if outcome.error else flow.send(outcome.answer)


def run(flow: Flow[T], client: FormantClient) -> T:
    """Send the requests of a flow one after the other, each once, and return what the flow returns."""
    try:
        query = next(flow)
        while True:
            query = proceed(flow, send(query, client))
    except StopIteration as end:
        result: T = end.value
        return result


class Steps(Generic[T]):
    """The requests of a flow, sent one after the other, each once; an error leaves it where it is.

    :ivar client: sends them.
    """

    def __init__(self, flow: Flow[T], client: FormantClient) -> None:
        self._flow, self.client = flow, client
        self._query: Query | None = None

    def run(self) -> T:
        """Send what is left, and return what the flow returns; an error is raised here, and not in the flow.

        :raises FormantError: what became of a request. Run again, this begins with that one.
        """
        try:
            self._query = self._query or next(self._flow)
            while True:
                outcome = send(self._query, self.client)
                if outcome.error is not None:
                    raise outcome.error
                self._query = proceed(self._flow, outcome)
        except StopIteration as end:
            result: T = end.value
            return result
