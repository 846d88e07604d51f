"""Finds the conversation of a call whose ids were lost, in the list that is all the vendor offers.

The list has no filter but the agent, and its entries may lack the trace id. So what looks right by recipient
and time is confirmed by its detail.

Vendor pages: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from formant_provider.api.errors import FormantError, NotFound
from formant_provider.api.listing import CLOCK_SKEW_MS, recent, run
from formant_provider.api.models import Conversation
from formant_provider.api.retry import may_repeat

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 10.0

T = TypeVar("T")


def find_call(
    client: FormantClient,
    *,
    agent_id: int,
    recipient: str,
    since: datetime,
    trace_id: str | None = None,
    other_than: str | None = None,
) -> Conversation | None:
    """Return the record of a call, or ``None`` when there is none yet.

    Of several that fit, the earliest after ``since`` is taken: it is the one our own first send caused.

    :param since: when the call was asked for at the earliest, aware.
    :param trace_id: the call's own id, when it is known; then nothing else is taken for it.
    :param other_than: a conversation that is known not to be this call's.
    """
    since_ms = int(since.timestamp() * 1000)
    found: dict[str, Conversation] = {}
    run(
        recent(
            agent_id, since_ms - CLOCK_SKEW_MS, lambda record: found.update({record.conversation_id: record})
        ),
        client,
    )
    fitting = [
        record
        for record in found.values()
        if _same_number(record.contact_number, recipient)
        and record.start_timestamp is not None
        and record.conversation_id != other_than
        and record.trace_id in {None, trace_id or record.trace_id}
    ]
    fitting.sort(key=lambda record: ((record.start_timestamp or 0) < since_ms, record.start_timestamp or 0))
    for record in fitting:
        detail = find_detail(client, record.conversation_id)
        if detail and _is_the_call(detail, agent_id, recipient, trace_id):
            return detail
    return None


@dataclass(frozen=True)
class Search:
    """A bounded look for one call.

    :param timeout_s: seconds to look for; 0 looks once.
    :param sleep: waits for so many seconds.
    """

    client: FormantClient
    agent_id: int
    recipient: str
    timeout_s: float
    sleep: Callable[[float], None]

    def run(self, since: datetime, other_than: str | None) -> tuple[Conversation | None, FormantError | None]:
        """Look until the record is there or the time is up; return it, or what hindered the last look."""
        client = self.client.without_repeats()

        def look() -> Conversation | None:
            return find_call(
                client,
                agent_id=self.agent_id,
                recipient=self.recipient,
                since=since,
                other_than=other_than,
            )

        return look_for(look, self.timeout_s, self.sleep)


def look_for(
    look: Callable[[], T | None], timeout_s: float, sleep: Callable[[float], None]
) -> tuple[T | None, FormantError | None]:
    """Look until something is there or the time is up; return it, or what hindered the last look.

    :param look: looks once; ``None`` means that it is not there.
    :param timeout_s: seconds to look for; 0 looks once.
    :param sleep: waits for so many seconds.
    """
    waited_s, pause_s = 0.0, 1.0
    while True:
        found, trouble = _once(look)
        left_s = timeout_s - waited_s
        asked_s = (trouble.retry_after_s if trouble else None) or 0.0
        final = trouble is not None and not may_repeat(trouble)
        if found is not None or final or left_s <= 0 or asked_s > left_s:
            return found, trouble
        pause_s = max(min(pause_s, left_s), asked_s)
        sleep(pause_s)
        waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)


def _once(look: Callable[[], T | None]) -> tuple[T | None, FormantError | None]:
    try:
        return look(), None
    except FormantError as error:
        log.warning("%s. Looking on.", error)
        return None, error


def _is_the_call(detail: Conversation, agent_id: int, recipient: str, trace_id: str | None) -> bool:
    if trace_id is not None and detail.trace_id is not None:
        return detail.trace_id == trace_id
    return detail.agent_id == agent_id and _same_number(detail.contact_number, recipient)


def find_detail(client: FormantClient, conversation_id: str) -> Conversation | None:
    """Return one conversation in detail, or ``None`` when the API does not know it, or not yet."""
    try:
        return client.get_conversation(conversation_id)
    except NotFound:
        return None


def _same_number(number: str | None, recipient: str) -> bool:
    return number is not None and re.sub(r"\D", "", number) == recipient.lstrip("+")
