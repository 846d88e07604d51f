"""Serves all who wait for an agent's calls with one poll: the list is read once, and matched to all of them.

::

    record in the list ─┬─ bears an id somebody waits for ──────────────────────────► theirs, once it is over
                        └─ does not tell whose it is, is over, and ─► detail ─► by its trace id, or else as
                           may be with a recipient somebody waits for           the only one in its time

A detail is read once for each record that has ended, and remembered for as long as somebody waits. Events of
webhooks go the same way: with an id that somebody waits for one ends the wait between two polls, and else it
stands for the detail of a record in the list. While events come, the list is seldom read. What is read is a
flow (see :mod:`formant_provider.core.flows`): others send, and others wait.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, InvalidRequest, NotFound
from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import Conversation
from formant_provider.api.retry import may_repeat
from formant_provider.core.conversations.heard import Heard
from formant_provider.core.conversations.listening import Listening, hear_all
from formant_provider.core.conversations.matching import (
    Ownership,
    Reading,
    belongs_to_other,
    by_id,
    by_recipient,
    calls_of_others,
)
from formant_provider.core.conversations.redials import Redials, Related, settles_at, unread
from formant_provider.core.conversations.statuses import Endings, is_known
from formant_provider.core.conversations.waiter_index import WaiterIndex, reads_since_ms
from formant_provider.core.conversations.waiters import Waiter, Watch, own_traces
from formant_provider.core.flows import AT_ONCE, Flow, breathe
from formant_provider.core.paging import recent
from formant_provider.core.polling.news import Answer, AskNews, Told
from formant_provider.core.polling.waits import BaseFeed, Now, OnDone
from formant_provider.core.vendor_clock import VendorClock

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)


class Feed(BaseFeed[Waiter]):
    """All who wait for calls of one agent.

    :param agent_id: whose conversations are listed. ``None`` lists nothing: then every waiter has a
        ``conversation_id``, and its detail is read in every poll.
    :ivar details_of: how many details a poll reads, by the length of the list; another one follows soon.
    """

    hears = True
    details_of: Callable[[int], float] = staticmethod(lambda _listed: math.inf)

    def __init__(self, agent_id: int | None, now: Now) -> None:
        super().__init__(Waiter, now)
        self._recipients = Fingerprints("", agent_id)
        self.agent_id, self._clock = agent_id, VendorClock(now)
        self._details: dict[str, Conversation] = {}
        self._ownership, self._unknown_statuses = Ownership(), set[str]()
        self._has_traces, self._heard = False, Heard()
        self._listening, self._details_left = Listening(agent_id), math.inf

    def join(self, watch: Watch, on_done: OnDone | None = None) -> Waiter:
        """Begin to wait; served from the next poll on, or by the first event."""
        waiter = super().join(watch, on_done)
        self._listening.join(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Stop waiting, whether there was an outcome or not."""
        super().leave(waiter)
        self._ownership.waiter_left(waiter)
        if not self.waiters:
            self._details = {}  # but what was one call's is still not assigned to another
            self._heard = Heard()
            self._listening.rest()

    def use(self, client: FormantClient) -> None:
        """Recognise recipients as this client does, whose API key may not be that of the last one."""
        self._recipients = client.fingerprints(self.agent_id)

    def due_at(self) -> datetime | None:
        """Return when the first of the awaited conversations can begin; ``None`` when nobody waits."""
        moments = (self._due_at(waiter.watch) for waiter in self.waiters if not waiter.outcome)
        return min(moments, default=None)

    def _due_at(self, watch: Watch) -> datetime:
        """Return from when on it is worth to look, by our clock; a clock that is behind delays nothing."""
        due_at = watch.due_at - max(self._clock.ahead, timedelta(0))
        return min(due_at, self._now()) if watch.has_begun else due_at

    def poll(self) -> Flow[None]:
        """Look once for everybody whose conversation can have begun."""
        due = self._due()
        if self.agent_id is None:
            yield from self._read_details(due)
        elif due:
            yield from self._read_list(due)
        for waiter in due:
            waiter.looks += 1

    def _due(self) -> list[Waiter]:
        now = self._now()
        return [each for each in self.waiters if not each.outcome and self._due_at(each.watch) <= now]

    def ask(self) -> AskNews | None:
        """Return what to ask of the store, for everybody whose conversation can have begun."""
        due = self._due() if self.news is not None else []
        return AskNews(self.news, self._listening.question(due)) if self.news and due else None

    def hear(self, answer: Answer | str) -> None:
        """End the waits whose conversations events tell of by an id; anything else takes the list."""
        told = self._listening.take(answer)
        if told:
            hear_all(told, self._hear, self._heard.drop)

    def _hear(self, told: Sequence[Told]) -> None:
        waiters = [each for each in self.waiters if not each.outcome]
        index = WaiterIndex(waiters, self._recipients, self._clock)
        own = own_traces(waiters)
        of_use = [each for each in told if self._take_in(each, own, index)]
        records = self._own_records(waiters, index)
        for record in records if of_use else ():
            if self._is_over(record, index.endings):
                for waiter in by_id(record, index):
                    self._assign(record, waiter)
        next(self._settle(waiters, records, index, is_listed=False), None)

    def _take_in(self, told: Told, own: Collection[str | None], index: WaiterIndex) -> bool:
        """Keep what may be of use to somebody who waits; return whether it is."""
        record = told.record
        is_named = bool(index.named_by(record)) or record.trace_id in own
        if not is_named and not index.awaits(record.contact_number) and not index.awaits(told.from_phone):
            return False
        self._ownership.note_start(record)
        if self._heard.add(told, index.endings):
            self._details.pop(record.conversation_id, None)
        if not is_named and not self._heard.came_in(record, index):
            for waiter in index.with_recipient_of(record):
                waiter.is_hinted |= waiter.watch.trace_id is None or record.trace_id is None
        return True

    def _own_records(self, waiters: Collection[Waiter], index: WaiterIndex) -> list[Conversation]:
        """Return the records that events have told and that bear an id of a call that is waited for."""
        own = own_traces(waiters)
        found = [each for each in self._heard.records() if index.named_by(each) or each.trace_id in own]
        return sorted(found, key=lambda each: each.start_timestamp or 0)

    def pause_s(self, polled_at: datetime) -> float:
        """Return the seconds between two polls: more than the interval while events come."""
        if self._details_left < 0:  # the next poll goes on with them
            return min(self.interval_s(), 1.0)
        waiters, between = [each for each in self.waiters if not each.outcome], (polled_at, self._now())
        return self._listening.pause_s(waiters, self.interval_s(), between, self._settles_at)

    def _settles_at(self, waiter: Waiter, record: Conversation) -> datetime:
        told = self._heard.attempt(record)
        return settles_at(waiter, record, told, self._clock) - self._clock.ahead

    def _read_details(self, due: list[Waiter]) -> Flow[None]:
        self._forget_all_but({str(waiter.watch.conversation_id) for waiter in due})
        for waiter in (each for each in due if not each.outcome):  # an event may come meanwhile
            bare = Conversation(str(waiter.watch.conversation_id), agent_id=None, status=None)
            record = yield from self._detail(bare, [waiter.watch.endings])
            if record and self._is_over(record, [waiter.watch.endings]):
                waiter.take(record, self._now())
                waiter.end(record)

    def _read_list(self, due: list[Waiter]) -> Flow[None]:
        listed: dict[str, Conversation] = {}
        since_ms = int(min(reads_since_ms(waiter, self._clock) for waiter in due))

        def take(record: Conversation) -> None:
            listed[record.conversation_id] = record
            self._ownership.note_start(record)

        yield from recent(self.agent_id, since_ms, take, whole_pages=True, on_answer=self._clock.learn)
        self._has_traces |= any(record.trace_id is not None for record in listed.values())
        self._details_left = self.details_of(len(listed))
        index = WaiterIndex(due, self._recipients, self._clock)
        for record in self._own_records(due, index):
            listed.setdefault(record.conversation_id, record)
        self._heard.keep(listed, index)
        self._forget_all_but({*listed, *(each.conversation_id for each in self._heard.records())})
        told = (self._heard.of(record, index.endings) for record in listed.values())
        records = [each for each in told if index.named_by(each) or not self._heard.came_in(each, index)]
        records.sort(key=lambda each: each.start_timestamp or 0)
        unnamed: list[Reading] = []
        for number, record in enumerate(filter(index.is_relevant, records), 1):
            if number % AT_ONCE == 0:
                yield breathe
            reading = yield from self._reading(record, index)
            if not index.named_by(reading.record):
                unnamed.append(reading)
            elif reading.is_settled:
                for waiter in by_id(reading.record, index):
                    self._assign(reading.record, waiter)
        self._match(unnamed, index)
        yield from self._settle(due, records, index)

    def _match(self, unnamed: list[Reading], index: WaiterIndex) -> None:
        """Apply what the records tell that bear nobody's id."""
        for waiter, conversation_id in calls_of_others(unnamed, index, self._clock):
            waiter.others |= {conversation_id}
        has_traces = self._has_traces
        for match in by_recipient(unnamed, index, self._ownership, self._clock, has_traces=has_traces):
            match.waiter.candidates, match.waiter.likely = match.candidates, match.likely
            if match.likely and match.is_proven:
                self._assign(match.likely, match.waiter)

    def _assign(self, record: Conversation, waiter: Waiter) -> None:
        """Apply an assignment. Nothing else does."""
        self._ownership.note(record, waiter)
        waiter.take(record, self._now())

    def _settle(
        self, due: list[Waiter], records: list[Conversation], index: WaiterIndex, *, is_listed: bool = True
    ) -> Flow[None]:
        """End the waits whose conversations count."""
        known = [self._details.get(record.conversation_id, record) for record in records]
        redials = self._redials(known, index, is_listed=is_listed)
        for number, waiter in enumerate(due, 1):
            if is_listed and number % AT_ONCE == 0:
                yield breathe
            while waiter.record and not waiter.outcome:
                attempt = yield from redials.judge(waiter, waiter.record)
                if attempt is None:
                    break
                if attempt is waiter.record:
                    waiter.was_heard = not is_listed
                    waiter.end(attempt)
                else:
                    self._assign(attempt, waiter)

    def _redials(self, records: list[Conversation], index: WaiterIndex, *, is_listed: bool) -> Redials:
        related = Related(records, self._recipients).to
        belongs = partial(belongs_to_other, index=index, ownership=self._ownership)
        read = self._detail if is_listed else unread
        told = self._heard.attempt
        first = self._heard.is_call_of_its_own
        return Redials(belongs, self._clock, related, read, self._has_traces, told, is_listed, first)

    def _forget_all_but(self, names: Collection[str]) -> None:
        self._details = {name: detail for name, detail in self._details.items() if name in names}
        self._ownership.keep(names)

    def _reading(self, record: Conversation, index: WaiterIndex) -> Flow[Reading]:
        """Read what the list does not tell of a conversation that is over, if that matters."""
        if not self._is_over(record, index.endings) or not index.needs_detail(record):
            return Reading(record, self._is_over(record, index.endings))
        self._details_left -= record.conversation_id not in self._details
        if self._details_left < 0 and record.conversation_id not in self._details:
            return Reading(record, is_settled=False)
        detail = yield from self._detail(record, index.endings)
        return Reading(detail or record, detail is not None and self._is_over(detail, index.endings))

    def _detail(self, listed: Conversation, endings: Collection[Endings]) -> Flow[Conversation | None]:
        """Read a record in detail, less what was said; ``None`` when it cannot be read yet."""
        conversation_id = listed.conversation_id
        if conversation_id in self._details:
            return self._details[conversation_id]
        try:
            detail: Conversation = yield lambda client: client.get_conversation(conversation_id)
        except FormantError as error:
            if isinstance(error, NotFound | InvalidRequest) or may_repeat(error):
                return None  # one record that cannot be read must not hold up the others
            raise
        detail = replace(detail, results=None, transcript=None).filled_from(listed)
        self._has_traces |= detail.trace_id is not None
        if self._is_over(detail, endings):
            self._details[conversation_id] = detail
        return detail

    def _is_over(self, record: Conversation, endings: Collection[Endings]) -> bool:
        status = record.status
        if any(each.is_over(status) for each in endings):
            return True
        if status and not is_known(status) and status not in self._unknown_statuses:
            self._unknown_statuses.add(status)
            log.warning(
                "A conversation of this agent, perhaps of another task, has the status %r, which is not known"
                " to be final: waiting continues. If calls can end so, name it in terminal_statuses.",
                status,
            )
        return False
