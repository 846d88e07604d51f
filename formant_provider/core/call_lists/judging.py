"""What follows for a row of a list from what came of its call? The only place that decides, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Protocol, TypeAlias

from formant_provider.api.errors import (
    AuthenticationFailed,
    CallNotAllowed,
    CallOutcomeUnknown,
    ConcurrencyLimited,
    DuplicateRequest,
    FormantError,
    InvalidInput,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestRefused,
)
from formant_provider.core.call_lists.calls import REFUSED, UNKNOWN, Attempt
from formant_provider.core.call_lists.placing import REACHED, TALKING, Came
from formant_provider.core.call_lists.rows import INVALID
from formant_provider.core.call_lists.standing import Call
from formant_provider.core.calls.placement import Placement
from formant_provider.core.hours.zones import zones_of
from formant_provider.core.numbers.reasons import Reason
from formant_provider.core.pace import PaceExceeded

# There were as many attempts as may be; after the status of the last one, no further one is wished for.
ATTEMPTS_USED, NOT_NAMED = "attempts_used", "not_named"
# A key that is refused may have been changed a moment ago, and the new one not be everywhere yet.
_REFUSALS_TO_BELIEVE = 3
# What refuses what a request holds. Any other refusal, such as a proxy's, may be everybody's, and may pass.
_OF_A_ROW = (InvalidRequest, NotFound, DuplicateRequest)
_STATUSES_OF_A_ROW = frozenset({413, 422})
# All pauses are shorter than those for which a worker is given back: the next one would begin to count anew.
_MOST_BLOCKED, _FIRST_BLOCKED_S, _LONGEST_BLOCKED_S = 8, 10.0, 40.0
# It is believed sooner where nobody was called yet, as with a base URL that is wrong.
_BELIEVED_AFTER, _BELIEVED_AT_THE_START = timedelta(minutes=15), timedelta(minutes=2)
# So many calls of an agent are refused, which has placed none: it is not asked for any more.
_ALL_REFUSED = 25
# How often a call is sent that fails while others do not: for about an hour.
_MOST_TRIES, _LONGEST_PAUSE_S = 20, 300.0
_OWN_LIMIT_S = 60
_COUNTS_AFTER = timedelta(minutes=2)
# When is looked again, in seconds: a record appears some seconds late, and a conversation may last hours.
_WHILE_UNLISTED = (6, 6, 6, 60, 60, 300)
_WHILE_TALKING = (300,) * 36


class Rule(Protocol):
    """How often a person is called, and when again."""

    @property
    def most(self) -> int:
        """At most so often."""

    def next_at(self, attempts: Sequence[Attempt], zones: Sequence[tzinfo], now: datetime) -> datetime | None:
        """Return when the next attempt is due, aware; ``None`` if there is to be none."""


@dataclass(frozen=True)
class Wait:
    """The row is to be called, or called again.

    :param error: of the API or the store, after which everybody slows down.
    """

    due: datetime
    attempt: int
    reason: str | None = None
    error: FormantError | None = None


@dataclass(frozen=True)
class Close:
    """The row is over, and not called any more.

    :param attempt: what the ledger has to know of that.
    """

    reason: str | None = None
    detail: str | None = None
    attempt: Attempt | None = None


@dataclass(frozen=True)
class Follow:
    """The call may have been placed, and is not sent any more: it is waited for."""

    placement: Placement


Verdict: TypeAlias = Wait | Close | Follow


@dataclass
class Judging:
    """Decides for all rows of one list.

    :param success: statuses of a conversation that mean that somebody was reached.
    :param try_number: of the task.
    :param answers: returns how many requests were answered so far, those of other rows as well.
    """

    rule: Rule
    success: frozenset[str]
    try_number: int
    now: Callable[[], datetime]
    answers: Callable[[], int]
    _tries: dict[int, tuple[int, int, datetime]] = field(default_factory=dict, init=False)
    _unauthorized: int = field(default=0, init=False)
    _key_read_at: datetime | None = field(default=None, init=False)
    _blocked_since: datetime | None = field(default=None, init=False)
    _refusals: Counter[int] = field(default_factory=Counter, init=False)
    _not_found: Counter[int] = field(default_factory=Counter, init=False)
    _placed_by: set[int] = field(default_factory=set, init=False)

    def placed(self, call: Call) -> None:
        """Note that a call was placed."""
        self._unauthorized, self._blocked_since = 0, None
        self._placed_by.add(call.agent_id)
        self._tries.pop(call.place, None)

    def knows_as_placed(self, agent_id: int) -> None:
        """Note that an agent has placed calls of this list before."""
        self._placed_by.add(agent_id)

    def hopeless(self, call: Call) -> Verdict | None:
        """Say what follows for a call of an agent that is not there, by all that is known."""
        is_gone = self._not_found[call.agent_id] >= _ALL_REFUSED and call.agent_id not in self._placed_by
        return Close(REFUSED, f"404: agent {call.agent_id} is not there") if is_gone else None

    def after_attempt(self, call: Call, ended: Sequence[Attempt]) -> Wait | Close:
        """Say what follows after an attempt is over."""
        last = ended[-1]
        if last.status in self.success:
            return Close()
        if call.barred is not None:
            return Close(call.barred)
        if last.status == REFUSED:
            is_of_this_try = last.in_try == self.try_number
            return Close(REFUSED) if is_of_this_try else Wait(self.now(), last.number)
        due = self.rule.next_at(ended, zones_of(call.number), self.now())
        if due is None:
            return Close(None if self.rule.most == 1 else self._why_closed(last))
        return Wait(due, last.number + 1)

    def _why_closed(self, last: Attempt) -> str | None:
        if last.number >= self.rule.most:
            return ATTEMPTS_USED
        return None if last.status == UNKNOWN else NOT_NAMED

    def not_placed(self, call: Call, came: Came, sent_at: datetime | None = None) -> Verdict:
        """Say what follows when a call was not placed.

        :param sent_at: when it was given to a thread, aware; ``None`` if it was not.
        :raises FormantError: it is no fault of this row, and nobody of the list can be called.
        """
        error = came.error
        if error is None:
            return self._not_due(call, came.reason)
        if isinstance(error, CallNotAllowed):
            return Wait(came.due, call.attempt, error.reason) if came.due else Close(error.reason)
        if isinstance(error, CallOutcomeUnknown):
            return Close(attempt=Attempt(call.attempt, UNKNOWN))
        if isinstance(error, InvalidInput):
            return Close(_word_of(error), f"{error.field} {error.reason}")
        if isinstance(error, RequestRefused):
            return self._refused_by_api(call, error, came, sent_at or self.now())
        return self._failed(call, error, came)

    def _not_due(self, call: Call, reason: str | None) -> Verdict:
        """Say what follows when the look before a further attempt did not show that it was due."""
        if reason == REACHED:
            return Close(reason)
        tries = self._tries.get(call.place, (0, 0, self.now()))[0]
        self._tries[call.place] = tries + 1, 0, self.now()
        pauses = _WHILE_TALKING if reason == TALKING else _WHILE_UNLISTED
        if tries >= len(pauses):
            return Close("not_called_again")
        return Wait(self.now() + timedelta(seconds=pauses[tries]), call.attempt)

    def _refused_by_api(self, call: Call, error: FormantError, came: Came, sent_at: datetime) -> Verdict:
        if is_of_a_row(error):
            return self._refuse(call, error)
        if not isinstance(error, AuthenticationFailed):
            return self._blocked(call, error, came)
        if self._key_read_at is not None and sent_at < self._key_read_at:
            return Wait(self.now(), call.attempt)  # with the key before; by now another one is read
        self._unauthorized, self._key_read_at = self._unauthorized + 1, self.now()
        if self._unauthorized >= _REFUSALS_TO_BELIEVE:
            raise error
        return Wait(self.now(), call.attempt, error=error)

    def _blocked(self, call: Call, error: FormantError, came: Came) -> Verdict:
        """Say what follows after a refusal that may be everybody's, and may pass."""
        self._blocked_since = self._blocked_since or self.now()
        believed_after = _BELIEVED_AFTER if self._placed_by else _BELIEVED_AT_THE_START
        if self.now() - self._blocked_since > believed_after:
            raise error
        self._refusals[call.place] += 1
        tries = self._refusals[call.place]
        if tries < _MOST_BLOCKED:
            seconds = min(_FIRST_BLOCKED_S * 2.0 ** max(tries - 1, 0), _LONGEST_BLOCKED_S)
            return Wait(self._in(seconds), call.attempt, error=error)
        if call.agent_id not in self._placed_by:
            raise error
        return self._given_up(call, error, came)

    def _refuse(self, call: Call, error: FormantError) -> Verdict:
        if isinstance(error, NotFound):
            self._not_found[call.agent_id] += 1
        words = [str(word) for word in (error.status, error.error_type) if word]
        detail = " ".join(words) or type(error).__name__
        return Close(REFUSED, detail, Attempt(call.attempt, REFUSED, in_try=self.try_number))

    def _failed(self, call: Call, error: FormantError, came: Came) -> Verdict:
        """Say what follows after an error that may pass; a call that alone fails is given up."""
        if isinstance(error, PaceExceeded):
            return Wait(self._in(error.retry_after_s or 0), call.attempt, error=error)
        if isinstance(error, ConcurrencyLimited):  # all of them wait, however often
            return Wait(self.now(), call.attempt, error=error)
        tries = self._tries_of(call)
        if came.is_own_limit and tries < _MOST_TRIES:  # others need not wait for it
            return Wait(self._in(error.retry_after_s or _OWN_LIMIT_S * max(tries, 1)), call.attempt)
        is_of_all = isinstance(error, RateLimited) and not came.is_own_limit
        if is_of_all or tries < _MOST_TRIES:
            return Wait(self._in(min(2.0 ** max(tries - 1, 0), _LONGEST_PAUSE_S)), call.attempt, error=error)
        return self._given_up(call, error, came)

    def _given_up(self, call: Call, error: FormantError, came: Came) -> Verdict:
        return Follow(came.doubt) if came.doubt is not None else self._refuse(call, error)

    def _tries_of(self, call: Call) -> int:
        """Count a try; while nobody is answered it is no fault of this call, but for some in an hour."""
        tries, answers, at = self._tries.get(call.place, (0, -1, self.now()))
        if self.answers() > answers or self.now() - at > _COUNTS_AFTER:
            tries, at = tries + 1, self.now()
        self._tries[call.place] = tries, self.answers(), at
        return tries

    def _in(self, seconds: float) -> datetime:
        return self.now() + timedelta(seconds=seconds)


def is_of_a_row(error: FormantError) -> bool:
    """Whether the API has refused one call, and would answer to others."""
    is_known = isinstance(error, RequestRefused) and error.status in _STATUSES_OF_A_ROW
    return is_known or isinstance(error, _OF_A_ROW)


def _word_of(error: InvalidInput) -> str:
    is_of_hours = error.field.startswith("calling_window")
    return str(Reason.HOURS_UNKNOWN) if is_of_hours else INVALID
