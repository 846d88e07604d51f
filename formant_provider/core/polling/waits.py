"""What all waits have in common: who waits, at which feed, and when one gives up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from formant_provider.api.errors import FormantError
from formant_provider.core.flows import Flow
from formant_provider.core.polling.news import Answer, AskNews, News

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

DEFAULT_POLL_INTERVAL_S = 30.0
DEFAULT_SAFETY_INTERVAL_S = 600.0
# A first look may have to wait for the API's rate limit, or for a long list.
FIRST_LOOK = timedelta(minutes=2)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(eq=False, slots=True, weakref_slot=True)
class BaseWaiter:
    """Somebody who waits. A triggerer holds a thousand of them.

    :param watch: what is waited for.
    :param on_done: called once with the waiter, when the wait has ended, unless it has left.
    :ivar outcome: what ended the wait.
    :ivar error: what ended this wait alone.
    :ivar looks: polls that looked for it.
    :ivar deadline: when it gives up, aware; ``None`` when nobody has said.
    :ivar joined_at: when the wait began in this process, aware.
    :ivar has_left: whether it waits no more; a poll that is under way may still find what it waited for.
    """

    watch: Any
    on_done: Callable[[Any], None] | None = None
    outcome: Any = None
    error: FormantError | None = None
    looks: int = 0
    deadline: datetime | None = None
    joined_at: datetime | None = None
    has_left: bool = False

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.outcome is not None or self.error is not None

    def end(self, outcome: object = None, error: FormantError | None = None) -> None:
        """End the wait."""
        self.outcome, self.error = outcome, error
        if self.on_done and not self.has_left:
            self.on_done(self)

    def gives_up_at(self) -> datetime:
        """Return when to wait no more. A deadline that passed while nobody looked is put off for one look."""
        deadline = self.deadline or NEVER
        return max(deadline, self.joined_at + FIRST_LOOK) if self.joined_at and not self.looks else deadline


WaiterT = TypeVar("WaiterT", bound=BaseWaiter)
Now = Callable[[], datetime]
OnDone = Callable[[Any], None]


class BaseFeed(ABC, Generic[WaiterT]):
    """All who are served by one poll.

    :param waiter: makes one who waits.
    :param now: tells the current time, aware.
    :cvar hears: whether there may be news for it.
    :ivar news: what may tell of ends without a poll; ``None`` when there is nothing of that kind.
    :ivar agent_id: whose calls are polled; ``None`` when they may be several agents'.
    """

    hears: ClassVar[bool] = False
    news: News | None = None
    agent_id: int | None = None

    def __init__(self, waiter: Callable[[Any, OnDone | None], WaiterT], now: Now) -> None:
        self.waiters: list[WaiterT] = []
        self._waiter = waiter
        self._now = now

    def join(self, watch: Any, on_done: OnDone | None = None) -> WaiterT:
        """Begin to wait; served from the next poll on."""
        waiter = self._waiter(watch, on_done)
        waiter.joined_at = self._now()
        self.waiters.append(waiter)
        return waiter

    def leave(self, waiter: WaiterT) -> None:
        """Stop waiting, whether there was an outcome or not."""
        self.waiters.remove(waiter)
        waiter.has_left = True

    def interval_s(self) -> float:
        """Return the seconds between two polls that the most impatient waiter asked for."""
        intervals = (waiter.watch.poll_interval_s for waiter in self.waiters)
        return min(intervals, default=DEFAULT_POLL_INTERVAL_S)

    def pause_s(self, polled_at: datetime) -> float:  # noqa: ARG002 - for those who hear
        """Return the seconds from the end of a poll to the next; longer than the interval if news will do."""
        return self.interval_s()

    def ask(self) -> AskNews | None:
        """Return what to ask for news; ``None`` when there is nothing to ask, or nobody."""
        return None

    def hear(self, answer: Answer | str) -> None:
        """Take in an answer, or the text of what kept it from coming."""

    def use(self, client: FormantClient) -> None:
        """Take note of the client that sends from now on."""

    @abstractmethod
    def due_at(self) -> datetime | None:
        """Return when there is something to ask for, aware; ``None``: now, or never while nobody waits."""

    @abstractmethod
    def poll(self) -> Flow[None]:
        """Look once for everybody."""


def utc_now() -> datetime:
    """Return the current time, aware."""
    return datetime.now(UTC)
