"""What one try can learn of a call, before it is decided what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from formant_provider.api.errors import FormantError
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.lookup import Finding


class At(Enum):
    """What there is to look at."""

    TIMING = auto()
    """Whether the call is allowed now, and for when."""
    CLOCK = auto()
    """The vendor's time."""
    LAST_CALL = auto()
    """The conversations with the recipient since the call that was placed."""
    OTHERS = auto()
    """A call that another row of the mapped task may have placed."""
    CALL = auto()
    """The call itself, for as long as the policy allows."""


@dataclass(frozen=True)
class Timing:
    """For when a call is placed if it is sent now.

    :param moment: aware; ``None`` means at once.
    :param error: why it is not to be sent now.
    """

    moment: datetime | None = None
    error: FormantError | None = None


@dataclass(frozen=True)
class Facts:
    """What this try knows besides the ledger. ``None``: it has not looked yet.

    :param key: the idempotency key of the call's first attempt.
    :param is_durable: whether the ledger would know of sends by other processes of this task.
    :param timing: what :attr:`At.TIMING` told; so do the others.
    :param others_scheduled: whether others can have asked for a moment that is still to come.
    :param call_error: what hindered the last look for the call.
    :param is_used: whether the API has said that a call was placed with the key.
    :param keys_used_up: keys that the API refused and counted as used, in this try.
    """

    key: str
    is_durable: bool
    timing: Timing | None = None
    vendor_now: datetime | None = None
    since_last_call: tuple[Conversation, ...] | None = None
    others: Finding | None = None
    others_scheduled: bool = False
    call: Finding | None = None
    call_error: FormantError | None = None
    is_used: bool = False
    keys_used_up: int = 0
