"""Finds the conversation of a call whose ids were lost, in the list that is all the vendor offers.

The list has no filter but the agent, and its entries may lack the trace id and the number; then the detail is
read. What counts as proof is said in :mod:`formant_provider.core.conversations.evidence`.

Vendor pages: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, NotFound
from formant_provider.api.models import Conversation
from formant_provider.core.conversations.evidence import Span, first_of
from formant_provider.core.conversations.listing import Listing, digits_of

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient


@dataclass(frozen=True)
class Finding:
    """What a look brought.

    :param record: the conversation that is proven to be the call's.
    :param is_own: whether its trace id is known to be that of a call of this task.
    :param others: how many conversations with the recipient may be the call's, or may not.
    :param spans: in which the call can have begun, by our clock.
    :param may_be_scheduled: whether it can have been placed for a moment that is still to come.
    :param error: what hindered the look.
    """

    record: Conversation | None = None
    is_own: bool = False
    others: int = 0
    spans: tuple[Span, ...] = ()
    may_be_scheduled: bool = False
    error: FormantError | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there was no conversation at all that may be the call's."""
        return self.record is None and not self.others


@dataclass
class Search:
    """Looks for the conversation of one call. Its ``client`` sends every request once.

    :param listing: what is on record with this agent; ``None``: the list is read anew for each look.
    """

    client: FormantClient
    agent_id: int
    recipient: str
    now: Callable[[], datetime]
    listing: Listing | None = None
    _details: dict[str, Conversation] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._listing = self.listing or Listing(self.client, self.agent_id, self.now)
        if self._listing.agent_id != self.agent_id:  # a call to be found would be overlooked
            raise ValueError("listing must be that of the call's agent")

    def find(
        self,
        spans: Sequence[Span],
        *,
        other_than: Collection[str] = (),
        own_traces: Callable[[], Collection[str]] = tuple,
        ids_of_others: Callable[[], Collection[str]] = tuple,
    ) -> Finding:
        """Look once.

        :param spans: in which the call can have begun, by our clock.
        :param other_than: ids of conversations that are known not to be the call's.
        :param own_traces: asked when there is something to decide: trace ids that are known to be the call's.
        :param ids_of_others: asked likewise: trace ids and conversations that are known to be of other calls.
        """
        records = self._with_recipient(spans)
        possible = [record for record in records if record.conversation_id not in other_than]
        asked = self._by_vendor_clock(spans)
        fitting = [
            record
            for record in possible
            if (began := _began(record)) and any(span.holds(began) for span in asked)
        ]
        calls = list(self._calls(fitting))
        own = set(own_traces()) if calls else set()
        taken = set(ids_of_others()) if calls else set()
        calls = [call for call in calls if taken.isdisjoint((call.trace_id, call.conversation_id))]
        calls = [call for call in calls if call.trace_id in own] or calls
        if len(calls) == 1 and calls[0].conversation_id in self._details:
            return Finding(calls[0], calls[0].trace_id in own, spans=tuple(spans))
        return Finding(others=len(possible), spans=tuple(spans))

    def since(self, span: Span) -> list[Conversation]:
        """Return all conversations with the recipient that began since a span, by our clock, did.

        The oldest comes first, and before all others those that do not say when they began.
        """
        return self._read(self._with_recipient([span]))

    def _calls(self, records: Sequence[Conversation]) -> Iterator[Conversation]:
        """Return the first record of each call: those with the same trace id are attempts at one."""
        seen: set[str] = set()
        for record in self._read(records):
            if record.agent_id != self.agent_id or not self._is_their_number(record.contact_number):
                continue
            if record.trace_id is None or record.trace_id not in seen:
                yield record
            seen.add(record.trace_id or "")

    def _with_recipient(self, spans: Sequence[Span]) -> list[Conversation]:
        """Return the conversations with the recipient that began since the first span, or do not say when."""
        begin = first_of(self._by_vendor_clock(spans))
        self._listing.refresh(begin)
        if (corrected := first_of(self._by_vendor_clock(spans))) < begin:  # which the answer has just told
            self._listing.refresh(corrected)
        begin = first_of(self._by_vendor_clock(spans))
        return self._listing.with_recipient(self.recipient, begin, self._in_detail)

    def _by_vendor_clock(self, spans: Sequence[Span]) -> list[Span]:
        """Return the spans by the vendor's clock, as far as its last answer told it; ask right after one."""
        skew = self._listing.skew
        return [span.moved(skew) for span in spans]

    def _is_their_number(self, number: str | None) -> bool:
        return digits_of(number) == digits_of(self.recipient)

    def _read(self, records: Sequence[Conversation]) -> list[Conversation]:
        return sorted(map(self._in_detail, records), key=lambda record: record.start_timestamp or 0)

    def _in_detail(self, record: Conversation) -> Conversation:
        """Read the detail, which may lack what the list has; the record itself if there is none yet."""
        known = self._details.get(record.conversation_id)
        if known is None:
            known = find_detail(self.client, record.conversation_id)
            if known is None:
                return record
            known = self._details[record.conversation_id] = known.filled_from(record)
        return known


def find_detail(client: FormantClient, conversation_id: str) -> Conversation | None:
    """Return one conversation in detail, or ``None`` when the API does not know it, or not yet."""
    try:
        return client.get_conversation(conversation_id)
    except NotFound:
        return None


def _began(record: Conversation) -> datetime | None:
    milliseconds = record.start_timestamp
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
