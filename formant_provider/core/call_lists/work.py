"""Works off a list: places what is due, follows what was placed, and says when there is nothing to do.

One thread decides, and is the only one that touches the board and the ledger of the list. Others send, and
put what came of it into its inbox::

    due rows ─► prepared together ─► threads ─► inbox ─┬─ placed ─► waited for ─┬─ reached, or given up: over
       ▲                                               ├─ not yet, or an error  └─ to be called again
       └───────────────────────────────────────────────┴──────────┘
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from formant_provider.api.errors import (
    AuthenticationFailed,
    FormantError,
    SendAborted,
    StoreUnavailable,
)
from formant_provider.core.call_lists.board import Board
from formant_provider.core.call_lists.calls import REFUSED, UNKNOWN, Attempt, ListedCall
from formant_provider.core.call_lists.changed_key import ChangedKey
from formant_provider.core.call_lists.control import Control, Rest, rest
from formant_provider.core.call_lists.following import Following, attempt_of, placed_of
from formant_provider.core.call_lists.judging import Follow, Judging, Verdict, Wait, is_of_a_row
from formant_provider.core.call_lists.listening import Clients, Listening
from formant_provider.core.call_lists.pace import MOST_AT_ONCE, Pace, slow_down
from formant_provider.core.call_lists.placing import CallPlacer, Came, listed_of
from formant_provider.core.call_lists.standing import Call
from formant_provider.core.call_lists.threads import Threads
from formant_provider.core.conversations.listing import to_ms

if TYPE_CHECKING:
    from formant_provider.core.call_lists.ledger import ListLedger
    from formant_provider.core.calls.placement import Placement
    from formant_provider.core.polling.waits import Now

# How often is looked whether the list is held, and is written what is not yet.
LOOKS_EVERY_S = 2.0


@dataclass
class ListWork:
    """One wake of one list.

    :param longest_wait: for how long the worker may wait for something to do.
    :ivar hold: who holds the list, in words, as of the last look.
    :ivar ended_early: why nothing was placed any more, in a word and in words.
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
    ended_early: tuple[str, str] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._threads = Threads(MOST_AT_ONCE + 1, self.clients.open_client)
        self.listening = Listening(self.clients, self.pace, self.now, self._threads.carry_out)
        forget = (self._threads.forget_clients, self.placer.listings.forget_clients)
        self._key = ChangedKey(self.clients, self.pace, forget)
        self._ready: deque[tuple[Call, ListedCall]] = deque()
        self._sending: dict[int, ListedCall] = {}
        self._looked_at = self._moved_at = datetime.min.replace(tzinfo=UTC)
        self._is_dirty = False

    def run(self) -> Rest | None:
        """Work until there is nothing to do for a while, or nothing at all: then ``None`` is returned.

        :raises FormantError: nobody of the list can be called any more, or the ledger cannot be written.
        """
        self._moved_at = self.now()
        try:
            return self._run()
        finally:
            self._wind_up()

    def _run(self) -> Rest | None:
        for call in list(self.board.in_progress()):
            self._follow(call)
        while not self._is_done():
            self._look()
            self.listening.advance()  # before calls, which would use up the limit
            self._send_what_is_due()
            self._take_ended()
            if (pause := self._rest()) is not None:
                return pause
            self._threads.take(self._idle_s())
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
        if self.hold is not None:
            self._put_back_ready()
        self._stop_if_over()
        if self._is_dirty:
            self._note(())
        self.control.tell()

    def _stop_if_over(self) -> None:
        over = self.control.over()
        if over is not None and (self._ready or self.board.next_due_ms() is not None):
            self.ended_early = over
            self._put_back_ready()
            for call in self.board.close_waiting(over[0]):
                self._follow(call)

    def _send_what_is_due(self) -> None:
        if self.hold is not None or not self._key.is_read():
            return
        if self._ready and self.pace.wait_s() > self.longest_wait.total_seconds():
            self._put_back_ready()  # so that the worker can be given back
        while self.pace.has_room(len(self.listening) + len(self._sending)):
            if not self._ready and not self._prepare():
                break
            call, listed = self._ready.popleft()
            self._send(call, listed)
        was_busy, has_line = self.pace.is_busy, self.pace.has_line(len(self.listening))
        self.pace.is_busy = bool(self._sending or (self._ready and has_line))
        if was_busy and not self.pace.is_busy:
            self.listening.hurry()

    def _prepare(self) -> bool:
        """Prepare what is due; return whether there is anything."""
        room = self.ledger.at_once - len(self._sending)
        while room > 0 and (due := self.board.due(to_ms(self.now()), room)):
            allowed = [(call, listed) for call in due if (listed := self._allowed(call)) is not None]
            if not allowed:
                continue
            try:
                prepared = self.ledger.prepare([listed for _, listed in allowed])
            except StoreUnavailable as error:
                self._slow_down(error)
                return False
            self.board.send(call.place for call, _ in allowed)
            for (call, _), listed in zip(allowed, prepared, strict=True):
                self.board.assign(call.place, listed.request.agent_id)
                self._ready.append((call, listed))
            return True
        return False

    def _allowed(self, call: Call) -> ListedCall | None:
        """Return a call that is due, if it is the time for it; else let it wait, or be over."""
        listed, verdict = listed_of(call), self.judging.hopeless(call)
        if verdict is None:
            came = self.placer.too_early(listed)
            if came is None:
                return listed
            verdict = self.judging.not_placed(call, came)
        self._apply(call, verdict)
        return None

    def _send(self, call: Call, listed: ListedCall) -> None:
        self._sending[call.place] = listed
        self.pace.begin()
        ledger = self.ledger.ledger_of(listed)
        work = partial(self._threads.with_client, partial(self.placer.place, listed, ledger=ledger))
        self._threads.carry_out(work, partial(self._came, call, listed, self.now()))

    def _came(self, call: Call, listed: ListedCall, sent_at: datetime, came: Came | BaseException) -> None:
        del self._sending[call.place]
        self.ledger.finish(listed)
        self.pace.end()
        self._is_dirty, self._moved_at = True, self.now()
        if isinstance(came, BaseException):
            raise came
        if came.error is None or is_of_a_row(came.error):
            self.pace.on_success(came.quota)
        if came.doubt is not None:
            self.board.doubt(call.place, placed_of(came.doubt))
        if came.placement is None:
            self._apply(call, self.judging.not_placed(call, came, sent_at))
        else:
            self.judging.placed(call)
            self._place(call, came.placement)

    def _place(self, call: Call, placement: Placement) -> None:
        self.board.place(call.place, placed_of(placement))
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
            attempt = attempt_of(call.attempt, waiter, call.placed or {}, now_ms=to_ms(self.now()))
            if attempt.status != UNKNOWN:  # for that one is looked again
                noted.append((call.key, attempt))
            self._apply(call, self.judging.after_attempt(call, self.board.end_attempt(place, attempt)))
        self._note(noted)
        self._stop_if_over()

    def _note(self, ended: Collection[tuple[str, Attempt]]) -> None:
        """Let the ledger write what is due; a call store that is down is waited for."""
        self._is_dirty = True
        try:
            self.ledger.note(ended)
        except StoreUnavailable as error:
            self._slow_down(error)

    def _apply(self, call: Call, verdict: Verdict) -> None:
        """Do what follows for a row."""
        if isinstance(verdict, Wait):
            self.board.wait(call.place, to_ms(verdict.due), verdict.attempt, verdict.reason)
            if verdict.error is not None:
                self._slow_down(verdict.error)
            return
        if isinstance(verdict, Follow):
            self._place(call, verdict.placement)
            return
        if verdict.attempt is not None:
            self.board.end_attempt(call.place, verdict.attempt)
            if verdict.attempt.status == REFUSED:  # else a further try looks anew
                self._note([(call.key, verdict.attempt)])
        self.board.close(call.place, verdict.reason, verdict.detail)

    def _slow_down(self, error: FormantError) -> None:
        """Let everybody wait after an error that is not one call's own."""
        if isinstance(error, SendAborted) and (self.control.stopped() or self.hold is not None):
            return
        if isinstance(error, AuthenticationFailed):
            self._key.refused()
        slow_down(self.pace, error, len(self.listening))

    def _rest(self) -> Rest | None:
        """Return until when there is nothing to do, if that is long."""
        if self._sending or self._ready:
            return None
        now, blocked_for = self.now(), timedelta(seconds=self.pace.wait_s())
        quiet_for = now - self._moved_at if len(self.listening) else None
        due_at = self._next_send_at()
        return rest(now, due_at, self.longest_wait, blocked_for=blocked_for, quiet_for=quiet_for)

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
        """Return for how long to wait for what comes from threads."""
        now = self.now()
        moments = [self.listening.next_step_at()]
        if self.pace.wait_s() > 0 or self.pace.has_room(len(self.listening) + len(self._sending)):
            moments.append(self._next_send_at())
        waits = [(moment - now).total_seconds() for moment in moments if moment is not None]
        return max(min([LOOKS_EVERY_S, *waits]), 0.005)

    def _put_back_ready(self) -> None:
        """Let calls wait that were prepared, and not sent."""
        for call, listed in self._ready:
            self.ledger.finish(listed)
            self.board.wait(call.place, to_ms(self.now()), call.attempt)
        self._is_dirty = self._is_dirty or bool(self._ready)
        self._ready.clear()

    def _wind_up(self) -> None:
        """Wait for what is under way, and write down all that is known; nothing further is sent."""
        self._put_back_ready()
        self._threads.drain()
        self.listening.close()
        self._threads.close()
        self.placer.listings.close()
        self.ledger.flush()
