"""Finds the conversation of a call whose ids were lost, in the list that is all the vendor offers.

The list has no filter but the agent, its order is not documented, and its entries may lack the trace id.
So it is read page by page, only as far back as needed in whichever order it comes, and what looks right by
recipient and time is confirmed by its detail.

Vendor pages: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.api.errors import NotFound
from formant_provider.api.models import Conversation, ConversationPage

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

PAGE_SIZE = 100
MAX_PAGES = 50
# The vendor's clock is not ours: a record may seem to begin a little before we asked for it.
CLOCK_SKEW_MS = 60_000


def find_call(
    client: FormantClient, *, agent_id: int, recipient: str, since: datetime, trace_id: str | None = None
) -> Conversation | None:
    """Return the record of a call, or ``None`` when there is none yet.

    Of several that fit, the earliest after ``since`` is taken: it is the one our own first send caused.

    :param since: when the call was asked for at the earliest, aware.
    :param trace_id: the call's own id, when it is known; then nothing else is taken for it.
    """
    since_ms = int(since.timestamp() * 1000)
    fitting = [
        record
        for record in _recent(client, agent_id, since_ms - CLOCK_SKEW_MS)
        if _same_number(record.contact_number, recipient)
        and record.trace_id in {None, trace_id or record.trace_id}
    ]
    fitting.sort(key=lambda record: ((record.start_timestamp or 0) < since_ms, record.start_timestamp or 0))
    for record in fitting:
        detail = find_detail(client, record.conversation_id)
        if detail and _is_the_call(detail, agent_id, recipient, trace_id):
            return detail
    return None


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
    """Yield the agent's records that begin no earlier than ``since_ms``."""
    for page in _pages_from_the_newest(client, agent_id):
        starts = [record.start_timestamp for record in page.items if record.start_timestamp is not None]
        yield from (record for record in page.items if (record.start_timestamp or 0) >= since_ms)
        if starts and max(starts) < since_ms:
            return


def _pages_from_the_newest(client: FormantClient, agent_id: int) -> Iterator[ConversationPage]:
    first = client.list_conversations(agent_id, limit=PAGE_SIZE)
    if first.has_more and _is_oldest_first(first) and first.total:
        offset = max(first.total - PAGE_SIZE, 0)
        for _ in range(MAX_PAGES):
            yield client.list_conversations(agent_id, limit=PAGE_SIZE, offset=offset)
            if offset == 0:
                return
            offset = max(offset - PAGE_SIZE, 0)
        return
    yield first
    page = first
    for number in range(1, MAX_PAGES):
        if not page.has_more:
            return
        page = client.list_conversations(agent_id, limit=PAGE_SIZE, offset=number * PAGE_SIZE)
        yield page


def _is_oldest_first(page: ConversationPage) -> bool:
    starts = [record.start_timestamp for record in page.items if record.start_timestamp is not None]
    return len(starts) > 1 and starts[0] < starts[-1]
