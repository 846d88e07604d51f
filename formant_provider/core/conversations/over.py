"""Asks which calls in progress are over, for whoever waits until there are fewer of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from formant_provider.api.models import Conversation
from formant_provider.core.conversations.lookup import find_detail
from formant_provider.core.conversations.statuses import Endings
from formant_provider.core.flows import run
from formant_provider.core.paging import recent

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

# The newest 300 of an agent. What is older is learnt by whoever waits for it, or assumed after a while.
_MAX_PAGES = 3
# A list names no trace, so each conversation whose call is not known is read by itself: some each time.
_MOST_DETAILS = 10
_CLOCKS_DIFFER_BY = timedelta(minutes=5)


@dataclass(frozen=True)
class Going:
    """A call that may be in progress. A receipt names its trace, and not always its conversation."""

    agent_id: int
    trace_id: str | None
    conversation_id: str | None
    call_at: datetime


def over(client: FormantClient, going: Collection[Going], settled: Collection[str]) -> list[Conversation]:
    """Return the conversations of these calls that are over.

    :param settled: conversations of other calls.
    """
    ids, traces = {call.conversation_id for call in going}, {call.trace_id for call in going} - {None}
    ended = _ended(client, going)
    found = [record for record in ended if record.conversation_id in ids or record.trace_id in traces]
    if all(call.conversation_id for call in going):
        return found
    unknown = [record for record in ended if record not in found and record.conversation_id not in settled]
    for record in unknown[:_MOST_DETAILS]:
        detail = find_detail(client, record.conversation_id)
        if detail is not None and detail.trace_id in traces:
            found.append(detail.filled_from(record))
    return found


def _ended(client: FormantClient, going: Collection[Going]) -> list[Conversation]:
    records: dict[str, Conversation] = {}

    def take(record: Conversation) -> None:
        records[record.conversation_id] = record

    for agent_id in {call.agent_id for call in going}:
        since = min(call.call_at for call in going if call.agent_id == agent_id) - _CLOCKS_DIFFER_BY
        run(recent(agent_id, round(since.timestamp() * 1000), take, max_pages=_MAX_PAGES), client)
    endings = Endings()
    ended = [record for record in records.values() if endings.is_over(record.status)]
    return sorted(ended, key=lambda record: record.start_timestamp or 0)
