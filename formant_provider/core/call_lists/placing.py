"""Places one call of a list that is due, in a thread of its own, and says what came of that.

The list schedules its calls itself: a call whose time has not come is not sent, and waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import CallNotAllowed, FormantError, InvalidInput, NotAdmitted, RateLimited
from formant_provider.api.models import CallRequest
from formant_provider.core.call_lists.calls import ListedCall
from formant_provider.core.call_lists.listings import Listings
from formant_provider.core.call_lists.standing import Call
from formant_provider.core.calls.facts import CallCallbacks, Policy
from formant_provider.core.calls.intent import Intent
from formant_provider.core.calls.placement import CallPlacing, Placement
from formant_provider.core.conversations.evidence import first_of
from formant_provider.core.conversations.statuses import FINAL
from formant_provider.core.ledger import Ledger
from formant_provider.core.numbers.in_text import holds_international, names
from formant_provider.core.placing import Result

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.api.retry import Quota

log = logging.getLogger(__name__)

LATER = "later"
# Somebody was reached since the last attempt, by whomever; or may be talking right now.
REACHED, TALKING = "reached_meanwhile", "talking"
# Says for when a call may be placed that is asked for now; ``None`` means at once. Raises ``CallNotAllowed``.
When = Callable[[datetime | None, datetime], datetime | None]


@dataclass(frozen=True)
class Came:
    """What came of placing a call.

    :param placement: of the attempt that was due; ``None`` if it was not placed.
    :param error: why it was not; ``None`` when the attempt was not due after all.
    :param due: when it may be placed, if that is known to be later.
    :param reason: why it was not due, in a word; ``None``: that does not show yet.
    :param doubt: as a placement, when it may have been placed though that is not known.
    :param quota: what the last answer said of the rate limit.
    """

    call: ListedCall
    placement: Placement | None = None
    error: FormantError | None = None
    due: datetime | None = None
    reason: str | None = None
    doubt: Placement | None = None
    quota: Quota | None = None

    @property
    def is_own_limit(self) -> bool:
        """Whether the API has refused it for its number alone: to others it would still answer."""
        return isinstance(self.error, RateLimited) and self.quota is not None and self.quota.remaining > 0


@dataclass(frozen=True)
class CallPlacer:
    """Places calls of one list; used by several threads.

    :param policy_of: returns the policy for a call: of its task, and of who else may have its key.
    :param when_of: returns what says when a call may be placed.
    :param check_before_send: the error that it returns right before a send is raised instead.
    :param listings: what is on record with each agent.
    """

    policy_of: Callable[[ListedCall], Policy]
    when_of: Callable[[ListedCall], When]
    check_before_send: Callable[[], FormantError | None]
    now: Callable[[], datetime]
    listings: Listings
    redial_on: Collection[str] = ()
    sleep: Callable[[float], None] = time.sleep

    def too_early(self, call: ListedCall) -> Came | None:
        """Return why a call must not be placed now, if it must not."""
        timing: _Timing | None = None
        try:
            timing = _Timing(self.when_of(call))
            timing.when(None, self.now())
        except (CallNotAllowed, InvalidInput) as error:
            return Came(call, error=error, due=timing.due if timing else None)
        return None

    def place(self, call: ListedCall, client: FormantClient, ledger: Ledger[Intent]) -> Came:
        """Place a call, or find out that it was placed already.

        :raises Exception: what is no error of ours; nothing is known then.
        """
        return replace(self._place(call, client, ledger), quota=client.quota)

    def _place(self, call: ListedCall, client: FormantClient, ledger: Ledger[Intent]) -> Came:
        timing, noted = _Timing(self.when_of(call)), _Noting(ledger)
        callbacks = CallCallbacks(
            now=self.now,
            sleep=self.sleep,
            check_before_send=self.check_before_send,
            when=timing.when,
            listing=self.listings.of(call.request.agent_id),
            about=f"Row {call.row_number}",
        )
        placing = CallPlacing(call.request, client, noted, self._policy(call), callbacks)
        try:
            placement = placing.run()
        except FormantError as error:
            due = timing.due if isinstance(error, CallNotAllowed) else None
            return Came(call, error=error, due=due, doubt=noted.doubt if error.maybe_placed else None)
        if placement.attempt >= call.attempt:
            return Came(call, placement)
        if noted.refused is not None or timing.error is not None:
            return Came(call, error=noted.refused or timing.error, due=timing.due)
        return Came(call, reason=self._why_not(placing))

    def _policy(self, call: ListedCall) -> Policy:
        return replace(
            self.policy_of(call),
            redial_on=frozenset(self.redial_on),
            try_number=call.attempt,  # each attempt of a list is a try of its own to the protocol
            lookup_timeout_s=0,  # who is not found now is found while the list waits
        )

    def _why_not(self, placing: CallPlacing) -> str | None:
        """Return why no further call was due, in a word; ``None`` if the last is not on record yet."""
        others = {record.status for record in placing.since_last_call} - set(self.redial_on)
        if not others:
            return None
        return REACHED if others <= FINAL else TALKING


def listed_of(call: Call) -> ListedCall:
    """Return the call that a row is due."""
    request = CallRequest(call.agent_id, call.parameters, call.key, metadata=call.metadata)
    reference = call.reference
    if reference and (holds_international(reference) or names(reference, call.number)):
        reference = None  # no number is in a store in the open
    return ListedCall(request, reference, call.attempt, call.has_own_name, call.row_number)


class _Timing:
    """Keeps a call from being placed for later, and remembers for when it was asked for."""

    def __init__(self, when: When) -> None:
        self._when = when
        self.due: datetime | None = None
        self.error: CallNotAllowed | None = None

    def when(self, asked: datetime | None, now: datetime) -> datetime | None:
        try:
            moment = self._when(asked, now)
            if moment is not None and moment > now:
                self.due = moment
                raise CallNotAllowed("It is not the time for this call yet", reason=LATER)
        except CallNotAllowed as error:
            self.error = error
            raise
        self.due = self.error = None
        return None


class _Noting:
    """Passes everything to a ledger, and remembers whether it did not admit the call."""

    def __init__(self, ledger: Ledger[Intent]) -> None:
        self._ledger = ledger
        self.refused: NotAdmitted | None = None
        self._last: Intent | None = None

    @property
    def doubt(self) -> Placement | None:
        """Return what was written last as a placement that is not confirmed."""
        if self._last is None or self._last.receipt is not None:
            return None
        spans = [send.span for send in self._last.sends]
        since = first_of(spans) if spans else self._last.written_at
        until = max((span.end for span in spans), default=None)
        return Placement(Result.UNCONFIRMED, None, since, until, self._last.attempt)

    def read(self) -> Intent | None:
        self._last = self._ledger.read()
        return self._last

    def write(self, intent: Intent) -> None:
        self._last = intent
        self._ledger.write(intent)

    def claim(self, intent: Intent) -> None:
        self._last = intent
        try:
            self._ledger.claim(intent)
        except NotAdmitted as error:
            self.refused = error
            raise
        self.refused = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
