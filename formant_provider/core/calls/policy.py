"""What a placement goes by, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from formant_provider.api.models import CallReceipt
from formant_provider.core.placing import Callbacks, Result


@dataclass(frozen=True)
class Placement:
    """Where a call stands.

    :param result: ``placed``: the receipt is the API's own; ``found``: an earlier send had placed it, and its
        ids were found; ``unconfirmed``: it may have been placed before, and no conversation is
        proven to be its.
    :param receipt: ``None`` when unconfirmed.
    :param since: when its conversation can begin at the earliest, aware.
    :param until: when it can have begun at the latest, aware; ``None`` when it has a receipt, which tells
        more, and when no conversation can ever be told to be its.
    """

    result: Result
    receipt: CallReceipt | None
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True)
class Policy:
    """What the user chose, and what is known of others who may place the same call. Values only.

    :param taken_since: when somebody else can have used the key of a fresh intent at the earliest, aware;
        ``None`` or not in the past: nobody else can have.
    :param look_since: when somebody else can have placed the call so long ago that the vendor has forgotten
        its key, aware: then it is looked for before it is sent. ``None``: nobody can have.
    :param was_cleared: whether the run was cleared, so that others are likely to have used the key: then a
        call that is not allowed now is looked for before it is refused.
    :param redial_on: statuses of a conversation after which a further try places a further call.
    :param lookup_timeout_s: seconds to look for the record of a call that was placed already.
    """

    taken_since: datetime | None
    lookup_timeout_s: float
    look_since: datetime | None = None
    was_cleared: bool = False
    redial_on: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CallCallbacks(Callbacks):
    """What a placement asks of its caller.

    :param when: takes the moment that was asked for and the current time, and returns the moment for which a
        call is placed that is sent now; ``None`` means at once. Raises ``CallNotAllowed`` or
        ``InvalidInput`` if it must not be sent.
    :param own_traces: returns the trace ids of calls that this task has placed, as far as they are known;
        asked when there is a conversation that may be the call's.
    """

    when: Callable[[datetime | None, datetime], datetime | None] = lambda asked, _now: asked
    own_traces: Callable[[], Collection[str]] = tuple
