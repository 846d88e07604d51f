"""Finds the conversation of a call whose ids were lost, in the list that is all the vendor offers.

The list has no filter but the agent, its order is not documented, and its entries may lack the trace id.
So it is read page by page, only as far back as needed in whichever order it comes, and what looks right by
recipient and time is confirmed by its detail.

Vendor pages: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, NotFound
from formant_provider.api.models import Conversation, ConversationPage
from formant_provider.api.retry import may_repeat

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)

PAGE_SIZE = 100
MAX_PAGES = 50
# The vendor's clock is not ours: a record may seem to begin a little before we asked for it.
CLOCK_SKEW_MS = 60_000
LONGEST_PAUSE_S = 10.0


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
    fitting = [
        record
        for record in _recent(client, agent_id, since_ms - CLOCK_SKEW_MS)
        if _same_number(record.contact_number, recipient)
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
        client, waited_s, pause_s = self.client.without_repeats(), 0.0, 1.0
        while True:
            record, trouble = self._once(client, since, other_than)
            left_s = self.timeout_s - waited_s
            asked_s = (trouble.retry_after_s if trouble else None) or 0.0
            final = trouble is not None and not may_repeat(trouble)
            if record is not None or final or left_s <= 0 or asked_s > left_s:
                return record, trouble
            pause_s = max(min(pause_s, left_s), asked_s)
            self.sleep(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(2 * pause_s, LONGEST_PAUSE_S)

    def _once(
        self, client: FormantClient, since: datetime, other_than: str | None
    ) -> tuple[Conversation | None, FormantError | None]:
        try:
            record = find_call(
                client,
                agent_id=self.agent_id,
                recipient=self.recipient,
                since=since,
                other_than=other_than,
            )
        except FormantError as error:
            log.warning("%s. Looking on.", error)
            return None, error
        return record, None


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


def _recent(client: FormantClient, agent_id: int, since_ms: int) -> Iterator[Conversation]:
    """Yield the agent's records from ``since_ms`` on, reading as few pages as their order allows."""
    first = client.list_conversations(agent_id, limit=PAGE_SIZE)
    oldest_first = _is_oldest_first(first)
    if oldest_first and first.has_more and first.total:
        pages = _pages_backwards(client, agent_id, first.total)
    else:
        pages = _pages_onwards(client, agent_id, first)
    may_stop = not (oldest_first and not first.total)
    for page in pages:
        yield from (record for record in page.items if (record.start_timestamp or 0) >= since_ms)
        starts = _starts(page)
        if may_stop and starts and max(starts) < since_ms:
            return


def _pages_onwards(
    client: FormantClient, agent_id: int, page: ConversationPage
) -> Iterator[ConversationPage]:
    yield page
    for number in range(1, MAX_PAGES):
        if not page.has_more:
            return
        page = client.list_conversations(agent_id, limit=PAGE_SIZE, offset=number * PAGE_SIZE)
        yield page


def _pages_backwards(client: FormantClient, agent_id: int, total: int) -> Iterator[ConversationPage]:
    offset = total
    for _ in range(MAX_PAGES):
        offset = max(offset - PAGE_SIZE, 0)
        yield client.list_conversations(agent_id, limit=PAGE_SIZE, offset=offset)
        if offset == 0:
            return


def _is_oldest_first(page: ConversationPage) -> bool:
    starts = _starts(page)
    return len(starts) > 1 and starts[0] < starts[-1]


def _starts(page: ConversationPage) -> list[int]:
    return [record.start_timestamp for record in page.items if record.start_timestamp is not None]
