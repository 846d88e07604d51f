"""Works off a list: places what is due, follows what was placed, and says when there is nothing to do.

One thread decides, and is the only one that touches the board and the ledger of the list. Others send, and
put what came of it into its inbox::

    due rows ─► prepared together ─► threads ─► inbox ─┬─ placed ─► waited for ─┬─ reached, or given up: over
       ▲                                               ├─ not yet, or an error  └─ to be called again
       └───────────────────────────────────────────────┴──────────┘
"""

from __future__ import annotations

import logging
import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import FormantError, RequestRefused, SendAborted, StoreUnavailable
from formant_provider.core.call_lists.board import Board, Call
from formant_provider.core.call_lists.calls import Attempt, ListedCall
from formant_provider.core.call_lists.following import Following, attempt_of, placed_of
from formant_provider.core.call_lists.judging import Judging, Verdict, Wait
from formant_provider.core.call_lists.listening import Clients, Listening
from formant_provider.core.call_lists.pace import MOST_AT_ONCE, Pace
from formant_provider.core.call_lists.placing import CallPlacer, Came, listed_of

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.core.call_lists.ledger import ListLedger
    from formant_provider.core.polling.waits import Now

log = logging.getLogger(__name__)

# How often is looked whether the list is held, and what is not written yet is.
LOOKS_EVERY_S = 2.0
# Where nothing has happened for so long, the worker is given back for as long.
QUIET = timedelta(minutes=5)


@dataclass(frozen=True)
class Rest:
    """There is nothing to do before a moment."""

    until: datetime


@dataclass
class Control:
    """What is asked again and again while a list is worked off.

    :param stopped: whether this process is to end.
    :param held: who lets nothing more go out for now, in words; ``None``: nobody.
    :param over: in a word and in words, why nothing is placed any more for good; ``None``: nothing says so.
    :param tell: says how the list stands, at most so often as it wants.
    """

    stopped: Callable[[], bool]
    held: Callable[[], str | None]
    over: Callable[[], tuple[str, str] | None]
    tell: Callable[[], None]


@dataclass
class ListWork:
    """One wake of one list.

    :param longest_wait: for how long the worker may wait for something to do.
    :ivar hold: who holds the list, in words, as of the last look.
    :ivar ended_early: why nothing was placed any more, in words.
    """

    board: Board
    ledger: ListLedger
    placer: CallPlacer
    judging: Judging
    following: Following
    clients: Clients
    pace: Pace
    control: Control
    now: Now
    longest_wait: timedelta
    hold: str | None = field(default=None, init=False)
    ended_early: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._ready: deque[tuple[Call, ListedCall]] = deque()
        self._sending: dict[int, ListedCall] = {}
        self._idle: queue.SimpleQueue[FormantClient] = queue.SimpleQueue()
        self.listening = Listening(self.clients, self.pace, self.now, self._elsewhere)
        self._looked_at = self._moved_at = datetime.min.replace(tzinfo=UTC)
        self._is_dirty = False

    def run(self) -> Rest | None:
        """Work until there is nothing to do for a while, or nothing at all: then ``None`` is returned.

        :raises FormantError: nobody of the list can be called any more, or the ledger cannot be written.
        """
        self._moved_at = self.now()
        with ThreadPoolExecutor(MOST_AT_ONCE + 1, thread_name_prefix="call") as threads:
            self._threads = threads
            try:
                return self._run()
            finally:
                self._wind_up()

    def _run(self) -> Rest | None:
        for call in self.board.in_progress():
            self._follow(call)
        while not self._is_done():
            self._look()
            self.listening.advance()  # before calls, which would use up the limit
            self._send_what_is_due()
            self._take_ended()
            rest = self._rest()
            if rest is not None:
                return rest
            self._take_inbox(self._idle_s())
        return None

    def _is_done(self) -> bool:
        if self.control.stopped():
            return True
        is_busy = self._sending or self._ready or len(self.listening)
        return not is_busy and self.board.next_due_ms() is None

    def _look(self) -> None:
        """Look every other second whether anything has been asked for, and write what is not written yet."""
        if self.now() - self._looked_at < timedelta(seconds=LOOKS_EVERY_S):
            return
        self._looked_at = self.now()
        self.hold = self.control.held()
        self._stop_if_over()
        if self.hold is not None:
            self._put_back_ready()
        self._flush()
        self.control.tell()

    def _stop_if_over(self) -> None:
        over = self.control.over()
        if over is not None and (self._ready or self.board.next_due_ms() is not None):
            reason, self.ended_early = over
            self._put_back_ready()
            self.board.close_waiting(reason)

    def _flush(self) -> None:
        """Let the ledger write what has waited long enough; a store that is down is waited for."""
        try:
            if self._is_dirty:
                self.ledger.note(())
        except StoreUnavailable as error:
            self._slow_down(error)

    def _send_what_is_due(self) -> None:
        if self.hold is not None:
            return
        while self.pace.has_room():
            if not self._ready and not self._prepare():
                break
            call, listed = self._ready.popleft()
            self._send(call, listed)
        self.pace.is_busy = bool(self._ready or self._sending)

    def _prepare(self) -> bool:
        """Prepare what is due; return whether there is anything."""
        room = self.ledger.at_once - len(self._sending)
        while room > 0:
            due = self.board.due(_ms(self.now()), room)
            if not due:
                return False
            allowed = [(call, listed) for call in due if (listed := self._allowed(call)) is not None]
            if allowed:
                self.ledger.prepare([listed for _, listed in allowed])
                self.board.send(call.place for call, _ in allowed)
                self._ready.extend(allowed)
                return True
        return False

    def _allowed(self, call: Call) -> ListedCall | None:
        """Return a call that is due, if it is the time for it; else let it wait, or be over."""
        listed = listed_of(call)
        came = self.placer.too_early(listed)
        if came is None:
            return listed
        self._apply(call, self.judging.not_placed(call, came))
        return None

    def _send(self, call: Call, listed: ListedCall) -> None:
        self._sending[call.place] = listed
        self.pace.begin()
        ledger = self.ledger.ledger_of(listed)

        def place() -> tuple[Came | Exception, Any]:
            try:
                client = self._client()
                came = self.placer.place(listed, client, ledger)
            except Exception as error:  # raised where it is known whose call it was
                return error, None
            self._idle.put(client)
            return came, client.quota

        self._elsewhere(place, partial(self._came, call, listed))

    def _client(self) -> FormantClient:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self.clients.open_client()

    def _elsewhere(self, work: Callable[[], Any], came: Callable[[Any], None]) -> None:
        """Carry something out in another thread, and call back in this one."""

        def done(future: Future[Any]) -> None:
            self._inbox.put(lambda: came(future.result()))

        self._threads.submit(work).add_done_callback(done)

    def _came(self, call: Call, listed: ListedCall, outcome: tuple[Came | Exception, Any]) -> None:
        came, quota = outcome
        del self._sending[call.place]
        self.ledger.finish(listed)
        self.pace.end()
        self._is_dirty, self._moved_at = True, self.now()
        if isinstance(came, Exception):
            raise came
        if came.error is None or isinstance(came.error, RequestRefused):
            self.pace.on_success(quota)
        if came.placement is None:
            self._apply(call, self.judging.not_placed(call, came))
            return
        self.judging.placed(call)
        self.board.place(call.place, placed_of(came.placement))
        self._follow(self.board.call(call.place))

    def _follow(self, call: Call) -> None:
        watch, deadline = self.following.watch(call)
        self.listening.join(call.place, call.agent_id, watch, deadline)

    def _take_ended(self) -> None:
        ended = list(self.listening.over())
        if not ended:
            return
        self._moved_at = self.now()
        noted: list[tuple[str, Attempt]] = []
        for place, waiter in ended:
            call = self.board.call(place)
            attempt = attempt_of(call.attempt, waiter, call.placed or {}, now_ms=_ms(self.now()))
            noted.append((call.key, attempt))
            self._apply(call, self.judging.after_attempt(call, self.board.end_attempt(place, attempt)))
        self._note(noted)
        self._stop_if_over()

    def _note(self, ended: list[tuple[str, Attempt]]) -> None:
        self._is_dirty = True
        try:
            self.ledger.note(ended)
        except StoreUnavailable as error:  # they are written with the next ones
            self._slow_down(error)

    def _apply(self, call: Call, verdict: Verdict) -> None:
        """Do what follows for a row."""
        if isinstance(verdict, Wait):
            self.board.wait(call.place, _ms(verdict.due), verdict.attempt, verdict.reason)
            if verdict.error is not None:
                self._slow_down(verdict.error)
            return
        if verdict.attempt is not None:
            self.board.end_attempt(call.place, verdict.attempt)
            self._note([(call.key, verdict.attempt)])
        self.board.close(call.place, verdict.reason, verdict.detail)

    def _slow_down(self, error: FormantError) -> None:
        if isinstance(error, SendAborted) and self.control.stopped():
            return
        self.pace.on_error(error)
        log.warning("%s. The list goes on in %.0f s.", error, self.pace.wait_s())

    def _rest(self) -> Rest | None:
        """Return until when there is nothing to do, if that is long."""
        if self._sending or self._ready:
            return None
        now = self.now()
        due_at = self._next_send_at()
        if len(self.listening):
            is_quiet = now - self._moved_at > QUIET
            is_near = due_at is not None and due_at - now <= self.longest_wait
            return Rest(min(due_at or now + QUIET, now + QUIET)) if is_quiet and not is_near else None
        if due_at is None or due_at - now <= self.longest_wait:
            return None
        return Rest(due_at)

    def _next_send_at(self) -> datetime | None:
        """Return when the next call may be sent; ``None`` if none is waiting."""
        due_ms = self.board.next_due_ms()
        if due_ms is None:
            return None
        earliest = self.now() + timedelta(seconds=self.pace.wait_s())
        if self.hold is not None:
            earliest = max(earliest, self.now() + self.longest_wait + timedelta(seconds=1))
        return max(earliest, datetime.fromtimestamp(due_ms / 1000, UTC))

    def _idle_s(self) -> float:
        """Return for how long to wait for the inbox."""
        now = self.now()
        moments = [self.listening.next_step_at()]
        if not self._sending or self.pace.under_way < self.pace.at_once:
            moments.append(self._next_send_at())
        waits = [(moment - now).total_seconds() for moment in moments if moment is not None]
        return max(min([LOOKS_EVERY_S, *waits]), 0.005)

    def _take_inbox(self, wait_s: float) -> None:
        """Take what has come; wait for so long if there is nothing."""
        try:
            self._inbox.get(timeout=wait_s)()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            return

    def _put_back_ready(self) -> None:
        """Let calls wait that were prepared, and not sent."""
        for call, listed in self._ready:
            self.ledger.finish(listed)
            self.board.wait(call.place, _ms(self.now()), call.attempt)
        self._is_dirty = self._is_dirty or bool(self._ready)
        self._ready.clear()

    def _wind_up(self) -> None:
        """Wait for what is under way, and write down all that is known; nothing further is sent."""
        self._put_back_ready()
        while self._sending:
            self._take_inbox(1.0)
        self.listening.close()
        self.placer.listings.close()
        self._threads.shutdown(wait=True)
        while not self._idle.empty():
            self._idle.get_nowait().close()
        self.ledger.flush()


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
