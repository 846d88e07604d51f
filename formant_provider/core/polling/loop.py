"""Polls a source for as long as somebody waits: pauses, requests, and what an error means for both.

The steps are a generator, so that they are the same whether the caller waits (:func:`wait_for`) or an event
loop does (:mod:`formant_provider.core.polling.async_poller`). A temporary error slows the polls down and
fails nobody: the same request is sent again later, and a poll continues where it was.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from formant_provider.api.errors import FormantError, InvalidInput, RateLimited, RequestRefused
from formant_provider.api.retry import may_repeat
from formant_provider.core.conversations.waiters import Waits
from formant_provider.core.paging import Ask, Flow
from formant_provider.core.polling.pacing import RateLimiter

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

SENDS_PER_REQUEST = 3
# A key that is refused may have been changed a moment ago, and the new one not be everywhere yet.
REFUSALS_TO_BELIEVE = 3
# Where connections are kept may be away for a moment, and Airflow then says that there is none.
GONE_TO_BELIEVE = 5
LONGEST_OPENING_PAUSE_S = 60.0


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds, or until something has changed."""

    seconds: float


Step: TypeAlias = "Ask | Pause"
Steps: TypeAlias = Generator[Step, Any, None]


class Source(Protocol):
    """What is polled, for all who wait for it."""

    def interval_s(self) -> float:
        """Return the seconds between two polls that the most impatient waiter asked for."""

    def due_at(self) -> datetime | None:
        """Return when there is something to ask for, aware; ``None``: now, or never while nobody waits."""

    def poll(self) -> Flow[None]:
        """Look once for everybody."""

    def use(self, client: FormantClient) -> None:
        """Take note of the client that sends from now on."""


class Polling:
    """Polls one source, over and over.

    :param feed: the source.
    :param pace: shared by all that use the same API key.
    :param now: tells the current time, aware.
    """

    def __init__(self, feed: Source, pace: RateLimiter, now: Callable[[], datetime]) -> None:
        self.feed = feed
        self._pace = pace
        self._now = now
        self._polled_at: datetime | None = None
        self._requests = 0

    def steps(self) -> Steps:
        """Yield pauses and requests, without end; polls that came before are reckoned with.

        :raises RequestRefused: the API refuses to be asked, for good.
        """
        refusals = 0
        while True:
            while (seconds := self._wait_s()) > 0:
                yield Pause(seconds)
            self._requests, self._polled_at = 0, self._now()
            try:
                yield from self._patiently(self.feed.poll())
                refusals = 0
            except RequestRefused as error:
                refusals += 1
                if refusals >= REFUSALS_TO_BELIEVE:
                    raise
                self._slow_down(error)
            except FormantError as error:
                log.warning("%s. The next poll looks again.", error)
            self._polled_at = self._now()

    def _wait_s(self) -> float:
        """Return the seconds until the next poll; those who join or leave in the meantime change it."""
        due_at, now = self.feed.due_at(), self._now()
        waits = [self._pace.wait_s(), (due_at - now).total_seconds() if due_at else 0.0]
        if self._polled_at:
            interval_s = self._pace.interval_s(self.feed.interval_s(), self._requests)
            waits.append((self._polled_at - now).total_seconds() + interval_s)
        return max(waits)

    def _patiently(self, flow: Flow[None]) -> Steps:
        """Carry out a flow at the pace the server allows, and repeat what may be repeated."""
        try:
            ask = next(flow)
            while True:
                try:
                    answer = yield from self._send(ask)
                except FormantError as error:
                    ask = flow.throw(error)
                else:
                    ask = flow.send(answer)
        except StopIteration:
            return

    def _send(self, ask: Ask) -> Generator[Step, Any, Any]:
        sends = 0
        while True:
            while (seconds := self._pace.wait_s()) > 0:
                yield Pause(seconds)
            self._requests += 1
            try:
                answer, quota = yield lambda client: (ask(client), client.quota)
            except FormantError as error:
                sends += not isinstance(error, RateLimited)
                is_last = not may_repeat(error) or sends >= SENDS_PER_REQUEST
                if not is_last or error.retry_after_s is not None:
                    self._slow_down(error)
                if is_last:
                    raise
            else:
                self._pace.heard(quota)
                return answer

    def _slow_down(self, error: FormantError) -> None:
        self._pace.trouble(error, self.feed.interval_s())
        log.warning("%s. Waiting on; asking again in %.0f s.", error, self._pace.wait_s())


class Opening:
    """What it means that no client can be opened, since the connection cannot be read.

    :param lasting: errors that may stay, such as that of a connection that is not there. They may pass as
        well, so they are believed when there was nothing else five times in a row. All others pass.
    """

    def __init__(self, lasting: tuple[type[Exception], ...] = (InvalidInput,)) -> None:
        self._lasting = lasting
        self._failures = 0
        self._in_a_row = 0

    def succeeded(self) -> None:
        """Forget what went wrong before."""
        self._failures = self._in_a_row = 0

    def pause_s(self, error: Exception, poll_interval_s: float) -> float:
        """Return after how many seconds to try again.

        :param poll_interval_s: the first pause; each is twice as long as the one before, up to a minute.
        :raises Exception: the error itself, which will not pass.
        """
        self._in_a_row = self._in_a_row + 1 if isinstance(error, self._lasting) else 0
        if self._in_a_row >= GONE_TO_BELIEVE:
            raise error
        seconds = min(math.ldexp(poll_interval_s, min(self._failures, 20)), LONGEST_OPENING_PAUSE_S)
        self._failures += 1
        # The text of an error that is not ours may hold anything.
        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        log.warning("The connection cannot be read (%s). Waiting on; trying again in %.0f s.", what, seconds)
        return seconds


def wait_for(
    waiter: Waits,
    polling: Polling,
    open_client: Callable[[], FormantClient],
    *,
    deadline: datetime,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    lasting: tuple[type[Exception], ...] = (InvalidInput,),
) -> None:
    """Poll until what the waiter waits for is over or the time is up; what came of it is in the waiter.

    :param open_client: gives a client that sends every request once.
    :param deadline: aware.
    :param lasting: as for :class:`~formant_provider.core.polling.loop.Opening`.
    :raises RequestRefused: the API refuses to be asked, for good.
    :raises FormantError: what broke off this wait alone.
    :raises Exception: what keeps ``open_client`` from giving a client, if it does not pass.
    """
    begun = now()
    steps = polling.steps()
    step = next(steps)
    opening = Opening(lasting)
    while not waiter.is_done and (left := waiter.gives_up_at(deadline, begun) - now()) > timedelta(0):
        if isinstance(step, Pause):
            sleep(min(step.seconds, left.total_seconds()))
            step = next(steps)
            continue
        try:
            opened = open_client()
        except Exception as error:
            sleep(min(opening.pause_s(error, polling.feed.interval_s()), left.total_seconds()))
            continue
        opening.succeeded()
        with opened as client:
            polling.feed.use(client)
            while not waiter.is_done and not isinstance(step, Pause):
                step = _answer(steps, step, client)
    if waiter.trouble:
        raise waiter.trouble


def _answer(steps: Steps, ask: Ask, client: FormantClient) -> Step:
    """Send one request, hand its answer or error to the steps, and return the next step."""
    try:
        result = ask(client)
    except FormantError as error:
        return steps.throw(error)
    return steps.send(result)
