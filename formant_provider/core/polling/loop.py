"""Decides when is polled, and what an error means for those who wait.

The steps of polling are a generator: it says when to pause, when to open a client and what to send with it.
Two drivers take these steps and decide nothing: :func:`wait_for` in a worker, and an event loop in
:mod:`formant_provider.core.polling.async_poller`. A temporary error slows the polls down and fails nobody:
the same request is sent again later, and a poll continues where it was.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from formant_provider.api.errors import FormantError, InvalidInput, RateLimited, RequestRefused
from formant_provider.api.retry import may_repeat
from formant_provider.api.telemetry import POLLS, SILENT, Telemetry
from formant_provider.core.flows import Flow, Outcome, Query, breathe, proceed, send
from formant_provider.core.polling.news import AskNews
from formant_provider.core.polling.pacing import Limiter
from formant_provider.core.polling.waits import BaseFeed, BaseWaiter, Now

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

SENDS_PER_REQUEST = 3
# A key that is refused may have been changed a moment ago, and the new one not be everywhere yet.
REFUSALS_TO_BELIEVE = 3
# Where connections are kept may be away for a moment, and Airflow then says that there is none.
GONE_TO_BELIEVE = 5
LONGEST_OPENING_PAUSE_S = 60.0
# How often a feed asks for news between its requests.
NEWS_INTERVAL_S = 1.0
# After so many events others go on: a thousand that come together would hold them up.
HEARD_AT_ONCE = 200


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds; if it is fixed, nothing that changes meanwhile may shorten it."""

    seconds: float
    is_fixed: bool = False


# Lets others go on who share this thread. It is within a poll, and no place to end one.
BREATH = Pause(0.0, is_fixed=True)


class OpenClient:
    """Open a client that sends every request once. The steps close it."""


Step: TypeAlias = "Pause | OpenClient | AskNews | Callable[[], Outcome]"
# Sent to a step is what came of it: of a pause nothing, of a request its outcome, of a question its answer,
# else a client or an error.
Steps: TypeAlias = Generator[Step, Any, None]


class Polling:
    """Polls one feed, over and over, with a client that it opens for each poll and closes after it.

    :param limiter: shared by all that use the same API key.
    :param lasting: errors of opening a client that may stay, such as that of a connection that is not there.
        They may pass as well, so they are believed when there was nothing else five times in a row. All
        others pass.
    """

    def __init__(
        self,
        feed: BaseFeed[Any],
        limiter: Limiter,
        now: Now,
        lasting: tuple[type[Exception], ...] = (InvalidInput,),
    ) -> None:
        self._feed = feed
        self._limiter = limiter
        self._now = now
        self._lasting = lasting
        self._polled_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._requests = 0
        self._client: FormantClient | None = None
        self._telemetry: Telemetry = SILENT

    def steps(self) -> Steps:
        """Yield what is to be done, without end; the interval counts from the last poll before.

        :raises RequestRefused: the API refuses to be asked, for good.
        :raises Exception: what keeps a client from being opened, if it does not pass.
        """
        refusals = 0
        try:
            while True:
                yield from self._pause_for(self._wait_s)
                if (yield from self._ask_news()) and self._wait_s() > 0:
                    continue
                self._requests, self._polled_at = 0, self._now()
                error = yield from self._carry_out(self._feed.poll())
                self._telemetry.count(POLLS, agent_id=self._feed.agent_id)
                if error is None:
                    refusals = 0
                elif isinstance(error, RequestRefused):
                    refusals += 1
                    if refusals >= REFUSALS_TO_BELIEVE:
                        raise error
                    self._slow_down(error)
                else:
                    log.warning("%s. The next poll looks again.", error)
                self._polled_at = self._now()
        finally:
            self._close()

    def _wait_s(self) -> float:
        """Return the seconds until the next poll; those who join or leave in the meantime change it."""
        due_at, now = self._feed.due_at(), self._now()
        waits = [self._limiter.wait_s(), (due_at - now).total_seconds() if due_at else 0.0]
        if self._polled_at:
            interval_s = self._limiter.interval_s(self._feed.pause_s(self._polled_at), self._requests)
            waits.append((self._polled_at - now).total_seconds() + interval_s)
        return max(waits)

    def _pause_for(self, wait_s: Callable[[], float]) -> Steps:
        """Pause for as long as there is something to wait for, and ask for news meanwhile."""
        while (seconds := wait_s()) > 0:
            self._close()  # a connection that rests is soon a dead one
            if not (yield from self._ask_news()):
                news_s = self._news_due_s()
                yield Pause(min(seconds, news_s if news_s > 0 else NEWS_INTERVAL_S))

    def _ask_news(self) -> Generator[Step, Any, bool]:
        """Ask for news if it is time to; return whether that was done."""
        question = self._feed.ask() if self._news_due_s() <= 0 else None
        if question is None:
            return False
        answer = yield question
        self._asked_at = self._now()
        parts = [answer] if isinstance(answer, str) else answer.in_parts(HEARD_AT_ONCE)
        for number, part in enumerate(parts):
            if number:
                yield BREATH
            self._feed.hear(part)
        return True

    def _news_due_s(self) -> float:
        """Return the seconds until news may be asked for."""
        if self._feed.news is None:
            return math.inf
        if self._asked_at is None:
            return 0.0
        return (self._asked_at - self._now()).total_seconds() + NEWS_INTERVAL_S

    def _carry_out(self, flow: Flow[None]) -> Generator[Step, Any, FormantError | None]:
        """Carry out a flow, and repeat what may be repeated; return the error that ended it, if one did."""
        query = next(flow, None)
        while query is not None:
            if query is breathe:
                yield BREATH
                outcome = Outcome()
            else:
                outcome = yield from self._send(query)
            try:
                query = proceed(flow, outcome)
            except StopIteration:
                break
            except FormantError as error:
                return error
        return None

    def _send(self, query: Query) -> Generator[Step, Any, Outcome]:
        sends = 0
        while True:
            yield from self._pause_for(self._limiter.wait_s)
            client = self._client or (yield from self._open_client())
            self._requests += 1
            outcome: Outcome = yield partial(send, query, client)
            if outcome.error is None:
                self._limiter.on_success(outcome.quota)
                return outcome
            sends += not isinstance(outcome.error, RateLimited)
            is_last = not may_repeat(outcome.error) or sends >= SENDS_PER_REQUEST
            if not is_last or outcome.error.retry_after_s is not None:
                self._slow_down(outcome.error)
            if is_last:
                return outcome

    def _open_client(self) -> Generator[Step, Any, FormantClient]:
        """Open a client, however often it takes; those who wait leave at their deadlines."""
        failures = in_a_row = 0
        while True:
            opened: FormantClient | Exception = yield OpenClient()
            if not isinstance(opened, Exception):
                self._client, self._telemetry = opened, opened.telemetry
                self._feed.use(opened)
                yield from self._ask_news()  # which may spare what is asked next
                return opened
            in_a_row = in_a_row + 1 if isinstance(opened, self._lasting) else 0
            if in_a_row >= GONE_TO_BELIEVE:
                raise opened
            seconds = min(math.ldexp(self._feed.interval_s(), min(failures, 20)), LONGEST_OPENING_PAUSE_S)
            failures += 1
            # The text of an error that is not ours may hold anything.
            what = str(opened) if isinstance(opened, FormantError) else type(opened).__name__
            text = "The connection cannot be read (%s). Waiting continues; the next try is in %.0f s."
            log.warning(text, what, seconds)
            # Who joins meanwhile must not shorten it: many joins would use up the tries in a moment.
            yield Pause(seconds, is_fixed=True)

    def _slow_down(self, error: FormantError) -> None:
        """Let all that share the limiter wait after an error."""
        self._limiter.on_error(error, self._feed.interval_s())
        text = "%s. Waiting continues; the next request leaves in %.0f s."
        log.warning(text, error, self._limiter.wait_s())

    def _close(self) -> None:
        if self._client:
            self._client.close()
            self._client = None


def wait_for(
    waiter: BaseWaiter,
    polling: Polling,
    open_client: Callable[[], FormantClient],
    *,
    deadline: datetime,
    now: Now,
    sleep: Callable[[float], None],
) -> None:
    """Poll until what the waiter waits for is over or the time is up; what came of it is in the waiter.

    :param open_client: returns a client that sends every request once.
    :raises RequestRefused: the API refuses to be asked, for good.
    :raises FormantError: what ended this wait alone.
    :raises Exception: what keeps ``open_client`` from returning a client, if it does not pass.
    """
    waiter.deadline = deadline
    with closing(polling.steps()) as steps:
        step = next(steps)
        while not waiter.is_done:
            if isinstance(step, Pause | OpenClient) and step is not BREATH:
                # A poll that has begun is not cut short: the deadline counts where it pauses.
                left = waiter.gives_up_at() - now()
                if left <= timedelta(0):
                    break
            outcome: Any = None
            if step is BREATH:
                pass
            elif isinstance(step, Pause):
                sleep(min(step.seconds, left.total_seconds()))
            elif isinstance(step, OpenClient):
                outcome = _opened(open_client)
            elif isinstance(step, AskNews):
                outcome = step.ask()
            else:
                outcome = step()
            step = steps.send(outcome)
    if waiter.error:
        raise waiter.error


def _opened(open_client: Callable[[], FormantClient]) -> FormantClient | Exception:
    try:
        return open_client()
    except Exception as error:  # a secrets backend may raise anything
        return error
