"""What the decision about a call goes by: what the user chose, and what one try has learnt."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from formant_provider.api.errors import FormantError
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.listing import Listing
from formant_provider.core.conversations.lookup import Finding
from formant_provider.core.placing import BasePolicy, Callbacks


@dataclass(frozen=True)
class Policy(BasePolicy):
    """What the placement of a call goes by. In a run that was cleared it is looked for before it is refused.

    :param look_since: when somebody else can have placed the call so long ago that the vendor has forgotten
        its key, aware: then it is looked for before it is sent. ``None``: nobody can have.
    :param redial_on: statuses of a conversation after which a further try places a further call.
    :param try_number: which try of the task this is, from 1 on: each is due one call, so the first never
        redials, and who shares a call with others redials it no oftener than if there were no others.
    """

    look_since: datetime | None = None
    redial_on: frozenset[str] = frozenset()
    try_number: int = 1


@dataclass(frozen=True)
class CallCallbacks(Callbacks):
    """What the placement of a call asks of its caller.

    :param when: takes the moment that was asked for and the current time, and returns the moment for which a
        call is placed that is sent now; ``None`` means at once. Raises ``CallNotAllowed`` or
        ``InvalidInput`` if it must not be sent.
    :param own_traces: returns the trace ids of calls that this task has placed, as far as they are known;
        asked when there is a conversation that may be the call's.
    :param listing: what is on record with the call's agent, for who places many; ``None``: the list is read
        anew for each look.
    """

    when: Callable[[datetime | None, datetime], datetime | None] = lambda asked, _now: asked
    own_traces: Callable[[], Collection[str]] = tuple
    listing: Listing | None = None


class At(Enum):
    """What there is to look at."""

    TIMING = auto()  # whether the call is allowed now, and for when
    CLOCK = auto()  # the vendor's time
    LAST_CALL = auto()  # the conversations with the recipient since the call that was placed
    OTHERS = auto()  # a call that another row of the mapped task may have placed
    CALL = auto()  # the call itself, for as long as the policy allows


@dataclass(frozen=True)
class Timing:
    """For when a call is placed that is sent now (``None``: at once), or why it must not be sent."""

    moment: datetime | None = None
    error: FormantError | None = None


@dataclass(frozen=True)
class Facts:
    """What this try knows besides the ledger, one field for each look. ``None``: it has not looked yet.

    :param key: the idempotency key of the call's first attempt.
    :param is_durable: whether the ledger would know of sends by other processes of this task.
    :param is_used: whether the API has said that a call was placed with the key.
    :param keys_used_up: keys that the API refused and counted as used, in this try.
    """

    key: str
    is_durable: bool
    timing: Timing | None = None
    vendor_now: datetime | None = None
    since_last_call: tuple[Conversation, ...] | None = None
    others: Finding | None = None
    call: Finding | None = None
    is_used: bool = False
    keys_used_up: int = 0
