"""What is known of one call of a list, and of each attempt at it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from formant_provider.api.models import CallRequest
from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import Sent

# Statuses that are none of the vendor's: it may have been placed and nothing tells; the API said no.
UNKNOWN, REFUSED = "unknown", "refused"


@dataclass(frozen=True)
class Attempt:
    """One attempt to reach a person that is over: placed, and its outcome known, or given up.

    :param number: from 1 on.
    :param status: the vendor's word for how the conversation ended; or ``no_record`` when none was on record
        in time, or ``unknown`` when the attempt may have been placed and nothing tells.
        ``refused`` when the API said no for good: then nobody was called, and a further try asks again.
    :param start_ms: milliseconds since 1970, as the record has them; so is ``end_ms``.
    :param in_try: of the task, in which it was refused.
    """

    number: int
    status: str
    trace_id: str | None = None
    conversation_id: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    duration_s: int | None = None
    in_try: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same of; what is not known is left out."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(**plain)


@dataclass(frozen=True)
class ListedCall:
    """One call of a list, ready to be asked for.

    :param request: with the idempotency key of the first attempt, which names the call to a ledger.
    :param reference: the user's own name of the row, if there is one.
    :param attempt: which attempt is due, from 1 on.
    :param has_own_name: whether the user named the call, so that others may ask for the same.
    :param row_number: as a person counts the rows of its file, for the log.
    """

    request: CallRequest
    reference: str | None = None
    attempt: int = 1
    has_own_name: bool = False
    row_number: int = 0

    @property
    def key(self) -> str:
        """The idempotency key of the first attempt."""
        return self.request.idempotency_key

    def by(self, agent_id: int | None) -> Self:
        """Return the same call by another agent; ``None`` means the same one."""
        if agent_id in {None, self.request.agent_id}:
            return self
        return replace(self, request=replace(self.request, agent_id=agent_id))


@dataclass(frozen=True)
class Known:
    """What a ledger knows of one call of a list.

    :param agent_id: of the agent that it was first asked for; ``None`` when nothing tells of it any more.
    :param intent: of its newest attempt.
    :param ended: its attempts that are over, the first one first.
    :param agents: by whom it may have been asked for, where nothing tells of it any more.
    """

    agent_id: int | None
    intent: Intent
    ended: tuple[Attempt, ...] = ()
    agents: frozenset[int] = frozenset()

    def may_be_sent_by(self, agent_id: int) -> bool:
        """Whether the vendor would know a key again with this agent, if the call was placed before."""
        return self.agent_id is not None or self.agents <= {agent_id}

    @property
    def bound_to(self) -> int | None:
        """The agent that has to call again, since it may have called; ``None``: another one may as well.

        The vendor knows a key by agent. Where the API has refused all, a corrected list may name another one.
        """
        tried = any(each.status != REFUSED for each in self.ended)
        is_open = self.intent.receipt is not None or self.intent.sent is Sent.UNCLEAR
        return self.agent_id if tried or is_open else None


class RowResult(NamedTuple):
    """What came of one row of a list, or how it stands.

    :param row_number: as a person counts the rows of its file; ``part`` names the file, where there are
        several.
    :param number: in E.164 if the row can be called, otherwise the cell as it was.
    :param reason: why it was not called, or not any more, in a word; ``None`` if there is nothing to say.
    :param status: of the last attempt; ``rejected`` if there was none and will be none; ``in_progress`` or
        ``waiting`` while the list is not over.
    :param zone: IANA name of the recipient's time zone, as far as it is one; ``None`` otherwise.
    """

    row_number: int
    part: str | None
    number: str | None
    reference: str | None
    agent_id: int | None
    status: str
    reason: str | None
    detail: str | None
    zone: str | None
    attempts: tuple[Attempt, ...] = ()
    carried: Mapping[str, str | None] = MappingProxyType({})

    @property
    def last(self) -> Attempt | None:
        """The newest attempt that is over."""
        return self.attempts[-1] if self.attempts else None
