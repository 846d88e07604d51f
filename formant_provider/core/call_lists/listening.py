"""Waits for the ends of all calls of a list: one poll an agent, with its requests between those of calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from formant_provider.core.conversations.feed import Feed
from formant_provider.core.conversations.waiters import Waiter, Watch
from formant_provider.core.polling.loop import OpenClient, Pause, Polling
from formant_provider.core.polling.news import AskNews, News

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.core.call_lists.pace import Pace
    from formant_provider.core.polling.waits import Now

log = logging.getLogger(__name__)

_NO_ROOM_S = 1.0
# Each part reads the whole list again: few where nothing else is to be sent.
_PARTS_WHILE_BUSY, _PARTS, _LEAST_OF_PART = 20, 4, 25
_LOOKS_EVERY = timedelta(seconds=10)

# Carries out what may block, elsewhere, and calls back with what came of it.
Elsewhere = Callable[[Callable[[], Any], Callable[[Any], None]], None]


@dataclass(frozen=True)
class Clients:
    """How a list reaches the API, and hears of events.

    :param open_client: returns a client that sends every request once.
    :param news: returns what may tell of ends without a poll.
    :param lasting: errors of opening a client that may stay.
    :param reread: reads the connection anew, whose key may have been changed.
    """

    open_client: Callable[[], FormantClient]
    news: Callable[[], News | None]
    lasting: tuple[type[Exception], ...]
    reread: Callable[[], Any] = lambda: None


@dataclass
class Listening:
    """All calls of one list that are in progress.

    :param elsewhere: where requests are sent; its callbacks come in the thread that uses this object.
    """

    clients: Clients
    pace: Pace
    now: Now
    elsewhere: Elsewhere
    _polls: dict[int, _Poll] = field(default_factory=dict, init=False)
    _waiters: dict[int, tuple[int, Waiter]] = field(default_factory=dict, init=False)
    _ended: list[int] = field(default_factory=list, init=False)
    _late_at: datetime = field(default=datetime.min.replace(tzinfo=UTC), init=False)

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, place: int, agent_id: int, watch: Watch, deadline: datetime) -> None:
        """Wait for the call of a row."""
        poll = self._polls.get(agent_id)
        if poll is None:
            feed = Feed(agent_id, self.now)
            feed.details_of = self._details_of
            poll = self._polls[agent_id] = _Poll(
                feed, Polling(feed, self.pace, self.now, self.clients.lasting)
            )
        waiter = poll.feed.join(watch, lambda _: self._ended.append(place))
        waiter.deadline = deadline
        self._waiters[place] = agent_id, waiter

    def advance(self) -> None:
        """Take all steps that can be taken now.

        :raises FormantError: the API refuses to be asked, for good.
        :raises Exception: what keeps a client from being opened, if it does not pass.
        """
        for poll in self._polls.values():
            while poll.feed.waiters and poll.is_ready(self.now()) and self._step(poll):
                pass

    def _details_of(self, listed: int) -> float:
        """Return how many details a poll reads. What it has read is of no use before it ends."""
        part = listed // (_PARTS_WHILE_BUSY if self.pace.is_busy else _PARTS)
        return max(part, min(_LEAST_OF_PART, self.pace.requests_of_poll() // 1 - 1), 1)

    def hurry(self) -> None:
        """Let pauses be as long as they are when nothing else is to be sent."""
        for poll in self._polls.values():
            if isinstance(poll.step, Pause) and poll.resumes_at is not None:
                poll.send(None)

    def over(self) -> Iterator[tuple[int, Waiter]]:
        """Yield the rows whose call is over, or whose time is up, and who waited for them."""
        for place in dict.fromkeys([*self._ended, *self._late()]):
            agent_id, waiter = self._waiters.pop(place)
            self._polls[agent_id].feed.leave(waiter)
            yield place, waiter
        self._ended.clear()

    def _late(self) -> list[int]:
        """Return the rows whose time is up; that is asked of all of them, so now and then is enough."""
        now = self.now()
        if now < self._late_at:
            return []
        self._late_at = now + _LOOKS_EVERY
        return [place for place, (_, waiter) in self._waiters.items() if _gives_up(waiter, now)]

    def next_step_at(self) -> datetime | None:
        """Return when there is a step to take; ``None`` while all wait for answers, or nobody waits."""
        polls = (poll for poll in self._polls.values() if poll.feed.waiters and not poll.is_asking)
        return min(map(self._resumes_at, polls), default=None)

    def _resumes_at(self, poll: _Poll) -> datetime:
        if poll.resumes_at is not None:
            return poll.resumes_at
        if poll.step is None or isinstance(poll.step, Pause | OpenClient | AskNews):
            return self.now()
        # Whoever asks this comes back then: without room that must not be at once, over and over.
        wait_s = 0.0 if self.pace.has_room_for_poll() else max(self.pace.wait_s(), _NO_ROOM_S)
        return self.now() + timedelta(seconds=wait_s)

    def close(self) -> None:
        """Give up all polls."""
        for poll in self._polls.values():
            poll.polling_steps.close()

    def _step(self, poll: _Poll) -> bool:
        """Take one step; return whether a further one can be taken at once."""
        step = poll.step or poll.begin()
        if isinstance(step, Pause):
            if poll.resumes_at is None:
                poll.resumes_at = self.now() + timedelta(seconds=step.seconds)
                return False
            poll.send(None)
            return True
        if isinstance(step, OpenClient):
            poll.send(self._opened(poll))
            return True
        if not isinstance(step, AskNews) and not self.pace.has_room_for_poll():
            return False
        self._ask(poll, step)
        return False

    def _ask(self, poll: _Poll, step: Any) -> None:
        poll.is_asking = True
        is_request = not isinstance(step, AskNews)
        if is_request:
            self.pace.begin(is_poll=True)

        def came(outcome: Any) -> None:
            poll.is_asking = False
            if is_request:
                self.pace.end()
            if isinstance(outcome, BaseException):
                raise outcome
            poll.send(outcome)

        self.elsewhere(step if is_request else step.ask, came)

    def _opened(self, poll: _Poll) -> FormantClient | Exception:
        try:
            self.clients.reread()
            client = self.clients.open_client()
            poll.feed.news = self.clients.news()
        except Exception as error:  # a secrets backend may raise anything
            return error
        return client


class _Poll:
    """The poll of one agent, at one of its steps.

    :ivar resumes_at: when a pause is over, aware; ``None`` if there is none, or it has not begun.
    :ivar is_asking: whether an answer is under way.
    """

    def __init__(self, feed: Feed, polling: Polling) -> None:
        self.feed = feed
        self.polling_steps = polling.steps()
        self.step: Any = None
        self.resumes_at: datetime | None = None
        self.is_asking = False

    def begin(self) -> Any:
        """Return the first step; somebody waits by now."""
        self.step = next(self.polling_steps)
        return self.step

    def is_ready(self, now: datetime) -> bool:
        return not self.is_asking and (self.resumes_at is None or now >= self.resumes_at)

    def send(self, outcome: Any) -> None:
        self.resumes_at = None
        self.step = self.polling_steps.send(outcome)


def _gives_up(waiter: Waiter, now: datetime) -> bool:
    """Whether nobody waits for a call any longer. It was looked for at least once."""
    return waiter.deadline is not None and now >= waiter.deadline and waiter.looks > 0
