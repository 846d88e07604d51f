"""Serves all who wait for what is read by its id with one poll: each is read once, whoever waits for it.

What is read is a flow (see :mod:`formant_provider.core.flows`): others send, and others wait.
"""

from __future__ import annotations

import contextvars
import logging
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from formant_provider.api.errors import FormantError, InvalidRequest, NotFound
from formant_provider.api.retry import may_repeat
from formant_provider.core.flows import Flow, Query
from formant_provider.core.polling.waits import BaseFeed, BaseWaiter, Now

log = logging.getLogger(__name__)

# What was just made may not be known everywhere yet.
DEFAULT_MISSING_TIMEOUT_S = 300.0


@dataclass(eq=False, slots=True)
class ByIdWaiter(BaseWaiter):
    """Somebody who waits for one thing that has an id.

    Its error is that there is no such thing, once it has been missing for long.

    :param watch: has ``poll_interval_s`` and ``missing_timeout_s``.
    :ivar missing_since: when it was first not there, since it was last seen; may be set to that of another
        process.
    """

    missing_since: datetime | None = None
    _is_missed: bool = False
    # Airflow keeps the lines of tasks apart by their context, and all who wait share one poll.
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)

    @property
    @abstractmethod
    def watched_id(self) -> Any:
        """What is waited for, by its id."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is waited for, in words."""

    def miss(self, error: FormantError, now: datetime) -> None:
        """Note that the API does not know it, or not yet: logged once, and believed after a while."""
        self.missing_since = self.missing_since or now
        if now - self.missing_since >= timedelta(seconds=self.watch.missing_timeout_s):
            self.end(error=error)
        elif not self._is_missed:
            self._is_missed = True
            self.tell(log.warning, "%s. Waiting continues for %s.", error, self.subject)

    def tell(self, write: Callable[..., None], text: str, *values: object) -> None:
        """Log for the task that waits, with a method of a logger."""
        self._context.run(write, text, *values)


WaiterT = TypeVar("WaiterT", bound=ByIdWaiter)


class ByIdFeed(BaseFeed[WaiterT]):
    """All who wait for things of one kind in one account."""

    def __init__(self, waiter: Callable[[Any, Callable[[Any], None] | None], WaiterT], now: Now) -> None:
        super().__init__(waiter, now)
        self._read_at: dict[Any, datetime] = {}

    @abstractmethod
    def look_at(self, watched_id: Any) -> Flow[None]:
        """Read one thing, and tell all who wait for it."""

    def leave(self, waiter: WaiterT) -> None:
        """Stop waiting, whether there was an outcome or not."""
        super().leave(waiter)
        if waiter.watched_id not in self.waiting():
            self.forget(waiter.watched_id)

    def forget(self, watched_id: Any) -> None:
        """Keep nothing of what nobody waits for any more."""
        self._read_at.pop(watched_id, None)

    def due_at(self) -> datetime | None:
        """Return when the first thing is due to be read; ``None`` when nobody waits."""
        return min(self._due(self._now()).values(), default=None)

    def poll(self) -> Flow[None]:
        """Look once at everything whose interval has passed."""
        now, postponed = self._now(), None
        for watched_id in [watched_id for watched_id, due_at in self._due(now).items() if due_at <= now]:
            self._read_at[watched_id] = self._now()
            try:
                yield from self.look_at(watched_id)
            except FormantError as error:
                if not may_repeat(error):
                    raise
                postponed = error  # one that cannot be read must not hold up the others
        if postponed:
            raise postponed

    def waiting(self) -> dict[Any, list[WaiterT]]:
        """Return who still waits, by what for."""
        waiting = defaultdict(list)
        for waiter in self.waiters:
            if not waiter.is_done:
                waiting[waiter.watched_id].append(waiter)
        return waiting

    def if_there(self, watched_id: Any, query: Query) -> Flow[Any]:
        """Read what may not be there yet: then it is ``None``."""
        try:
            return (yield query)
        except (NotFound, InvalidRequest) as error:
            for waiter in self.waiting()[watched_id]:
                waiter.miss(error, self._now())
            return None

    def _due(self, now: datetime) -> dict[Any, datetime]:
        """Return when each thing is due; newcomers have a first look at once."""
        due = {}
        for watched_id, waiters in self.waiting().items():
            read_at = self._read_at.get(watched_id)
            interval = timedelta(seconds=min(waiter.watch.poll_interval_s for waiter in waiters))
            everybody_looked = all(waiter.looks for waiter in waiters)
            due[watched_id] = read_at + interval if read_at and everybody_looked else now
        return due
