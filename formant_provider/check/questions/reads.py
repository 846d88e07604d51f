"""Reads from the API what its open questions are answered by. Every request is a GET.

The answers are kept as they came, since it is a question which fields they have.
Vendor pages: https://docs.formantai.com/platform/conversations and
https://docs.formantai.com/platform/batch-calls
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from formant_provider.api.client import (
    GET_BATCH_METRICS,
    GET_CONVERSATION,
    GET_RECORDING,
    LIST_BATCH_CALLS,
    LIST_CONVERSATIONS,
)
from formant_provider.api.errors import FormantError, InvalidRequest, NotFound
from formant_provider.api.retry import RetryPolicy

if TYPE_CHECKING:
    from formant_provider.api.config import ClientConfig
    from formant_provider.api.retry import Quota
    from formant_provider.api.transport import Transport

Record = Mapping[str, Any]
PAGE_SIZE = 100
MOST_PAGES = 5
MOST_DETAILS = 10
MOST_RECORDINGS = 2
MOST_BATCHES = 5
# As the samples of ids look. Nothing but these questions takes an id apart.
_ATTEMPT = re.compile(r"(.+)_([0-9]+)")
# A worker is not held, so the rate limit is waited for.
_PATIENCE = RetryPolicy(max_inline_wait_s=90, max_total_wait_s=180)


class Reader:
    """GET requests to one server, by the client's own transport.

    :param sleep: waits for so many seconds; ``None`` means :func:`time.sleep`.
    """

    def __init__(self, config: ClientConfig, sleep: Callable[[float], None] | None = None) -> None:
        from formant_provider.api.transport import Transport

        self.transport: Transport = Transport(config, _PATIENCE, "formant_provider.check", sleep)

    def page(self, operation: str, **query: Any) -> dict[str, Any]:
        """Return one page of a list, with those of its items that are objects."""
        page = self._get(operation, operation.partition(" ")[2], query=query, shape=list)
        return {**page, "data": [item for item in page["data"] if isinstance(item, Mapping)]}

    def newest(self, agent_id: int) -> list[Record]:
        """Return the newest conversations of an agent, at whichever end of the list they are."""
        page = self.page(LIST_CONVERSATIONS, agent_id=agent_id, limit=PAGE_SIZE)
        total, starts = page.get("total"), [start_ms(item) for item in page["data"]]
        if isinstance(total, int) and total > PAGE_SIZE and starts and starts[0] < starts[-1]:
            offset = total - PAGE_SIZE
            page = self.page(LIST_CONVERSATIONS, agent_id=agent_id, limit=PAGE_SIZE, offset=offset)
        return list(page["data"])

    def conversation(self, conversation_id: str) -> Record | None:
        """Return the detail of a conversation; ``None`` for a 404."""
        path = f"/v1/conversations/{quote(conversation_id, safe='')}"
        return self._found(GET_CONVERSATION, path)

    def metrics(self, batch_id: int) -> Record | None:
        """Return the metrics of a batch call; ``None`` for a 404."""
        return self._found(GET_BATCH_METRICS, f"/v1/batch-calls/{batch_id}/metrics")

    def recording_type(self, conversation_id: str) -> str | None:
        """Return the content type of a recording, which is not kept; ``None`` for a 404."""
        path = f"/v1/conversations/{quote(conversation_id, safe='')}/recording"
        with tempfile.TemporaryFile() as sink:
            try:
                return str(self._get(GET_RECORDING, path, sink=sink)["content_type"])
            except NotFound:
                return None

    def _found(self, operation: str, path: str) -> Record | None:
        try:
            data: Record = self._get(operation, path)["data"]
        except NotFound:
            return None
        return data

    def _get(self, operation: str, path: str, **options: Any) -> dict[str, Any]:
        from formant_provider.api.transport import Request

        return self.transport.send(Request(operation, path, **options))


@dataclass(kw_only=True)
class Reads:
    """What was read.

    :param items: the newest page of the conversation list, in its order.
    :param total: how many there are in all; ``None`` when the API did not say.
    :param details: some of them in detail, by their ids.
    :param recordings: content types of the recordings of some that were completed; ``None`` for a 404.
    :param over_limit: how many items a page of more than the documented 100 has; ``None``: it was refused.
    :param inbound: whether a conversation that is known to be inbound is in the list; ``None`` when there is
        no such conversation, or the list is too long to tell.
    :param batches: batch calls with their metrics.
    :param quota: what the answers say of the rate limit.
    """

    items: list[Record] = field(default_factory=list)
    total: int | None = None
    details: dict[str, Record] = field(default_factory=dict)
    recordings: list[str | None] = field(default_factory=list)
    over_limit: int | None = None
    inbound: bool | None = None
    batches: list[tuple[Record, Record]] = field(default_factory=list)
    quota: Quota | None = None

    @property
    def chains(self) -> list[list[str]]:
        """The ids of conversations with several attempts, as far as ids tell, in the order of attempts."""
        return chains_of(self.items)


def read_all(reader: Reader, agent_id: int | None, inbound_id: str | None) -> Reads:
    """Read what all questions need, in some twenty requests.

    :param agent_id: ``None`` means every agent.
    :param inbound_id: a conversation that is known to be of a call that the agent received.
    :raises FormantError: something cannot be read.
    """
    page = reader.page(LIST_CONVERSATIONS, agent_id=agent_id, limit=PAGE_SIZE)
    items, total = page["data"], page.get("total")
    reads = Reads(items=items, total=total if isinstance(total, int) else None, quota=reader.transport.quota)
    for conversation_id in _telling(items):
        if detail := reader.conversation(conversation_id):
            reads.details[conversation_id] = detail
    completed = [name for name, detail in reads.details.items() if detail.get("status") == "completed"]
    reads.recordings = [reader.recording_type(name) for name in completed[:MOST_RECORDINGS]]
    reads.over_limit = _over_limit(reader, agent_id)
    reads.inbound = _is_listed(reader, inbound_id) if inbound_id else None
    reads.batches = list(_batches(reader, agent_id))
    return reads


def start_ms(record: Record) -> float:
    """Return when a conversation began; 0 where that is not told, or not as a number."""
    start = record.get("start_timestamp")
    return start if isinstance(start, int | float) else 0


def chains_of(items: Iterable[Record]) -> list[list[str]]:
    """Return the ids that differ in their last number alone, in the order of that number."""
    chains: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for item in items:
        if found := _ATTEMPT.fullmatch(str(item.get("conversation_id"))):
            chains[found[1]].append((int(found[2]), found[0]))
    return [[name for _, name in sorted(chain)] for chain in chains.values() if len(chain) > 1]


def _telling(items: list[Record]) -> list[str]:
    """Return the ids of which the details tell most: a chain, and one of each status before others."""
    first_of_status = {str(item.get("status")): item for item in reversed(items)}
    chain = [name for chain in chains_of(items)[:1] for name in chain]
    named = [*chain, *(str(item.get("conversation_id")) for item in [*first_of_status.values(), *items])]
    return list(dict.fromkeys(named))[:MOST_DETAILS]


def _over_limit(reader: Reader, agent_id: int | None) -> int | None:
    try:
        return len(reader.page(LIST_CONVERSATIONS, agent_id=agent_id, limit=PAGE_SIZE + 1)["data"])
    except InvalidRequest:
        return None


def _is_listed(reader: Reader, conversation_id: str) -> bool | None:
    detail = reader.conversation(conversation_id)
    if detail is None:
        return None
    for number in range(MOST_PAGES):
        page = reader.page(
            LIST_CONVERSATIONS, agent_id=detail.get("agent_id"), limit=PAGE_SIZE, offset=number * PAGE_SIZE
        )
        if any(item.get("conversation_id") == conversation_id for item in page["data"]):
            return True
        if not page.get("has_more"):
            return False
    return None


def _batches(reader: Reader, agent_id: int | None) -> Iterable[tuple[Record, Record]]:
    page = reader.page(LIST_BATCH_CALLS, agent_id=agent_id, limit=PAGE_SIZE)
    for batch in page["data"][:MOST_BATCHES]:
        try:
            metrics = reader.metrics(int(batch["id"]))
        except (FormantError, LookupError, TypeError, ValueError):
            continue
        if metrics is not None:
            yield batch, metrics
