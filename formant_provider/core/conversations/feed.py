"""One poll serves every waiter of an agent: the list is read once, and each takes its conversation from it.

::

    record in the list ─┬─ bears an id somebody waits for ──────────────────────────► theirs, once it is over
                        └─ does not tell whose it is, is over, and ─► detail ─► by its trace id, or else as
                           may be with a recipient somebody waits for           the only one in its time

A detail is read once for each record that has ended, and remembered for as long as somebody waits. What is
read is a flow (see :mod:`formant_provider.core.paging`): others send, and others wait.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, InvalidRequest, NotFound
from formant_provider.api.fingerprints import Fingerprints
from formant_provider.api.models import Conversation
from formant_provider.api.retry import may_repeat
from formant_provider.core.conversations.matching import Claims, reads_since_ms
from formant_provider.core.conversations.redials import Settling
from formant_provider.core.conversations.statuses import Endings, is_known
from formant_provider.core.conversations.waiters import Waiter, Watch
from formant_provider.core.paging import Flow, recent
from formant_provider.core.vendor_clock import VendorClock

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient

log = logging.getLogger(__name__)


class Feed:
    """All who wait for calls of one agent.

    :param agent_id: whose conversations are listed. ``None`` lists nothing: then every waiter has a
        ``conversation_id``, and its detail is read in every poll.
    :param now: tells the current time, aware.
    """

    def __init__(self, agent_id: int | None, now: Callable[[], datetime]) -> None:
        self.waiters: list[Waiter] = []
        self._recipients = Fingerprints("", agent_id)
        self._agent_id = agent_id
        self._now = now
        self._details: dict[str, Conversation] = {}
        self._given: dict[str, object] = {}
        self._strange_words: set[str] = set()
        self._clock = VendorClock(now)
        self._has_traces = False

    def join(self, watch: Watch, tell: Callable[[], None] | None = None) -> Waiter:
        """Begin to wait; served from the next poll on."""
        waiter = Waiter(watch, tell)
        self.waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no more, whether it was served or not."""
        self.waiters.remove(waiter)
        if waiter.call is waiter:
            given = self._given.items()
            self._given = {name: waiter.watch if call is waiter else call for name, call in given}
        if not self.waiters:
            self._details = {}  # but who comes next is still not given what was another's

    def use(self, client: FormantClient) -> None:
        """Recognise recipients as this client does, whose API key may not be that of the last one."""
        self._recipients = client.fingerprints(self._agent_id)

    def interval_s(self) -> float:
        """Return the poll interval of the most impatient of those who wait."""
        return min((waiter.watch.poll_interval_s for waiter in self.waiters), default=math.inf)

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
        now = self._now()
        due = [each for each in self.waiters if not each.outcome and self._due_at(each.watch) <= now]
        if self._agent_id is None:
            yield from self._read_details(due)
        elif due:
            yield from self._read_list(due)
        for waiter in due:
            waiter.looks += 1

    def _read_details(self, due: list[Waiter]) -> Flow[None]:
        self._forget_all_but({str(waiter.watch.conversation_id) for waiter in due})
        for waiter in due:
            bare = Conversation(str(waiter.watch.conversation_id), agent_id=None, status=None)
            record = yield from self._detail(bare, [waiter.watch.endings])
            if record and self._is_over(record, [waiter.watch.endings]):
                waiter.take(record, self._now())
                waiter.end()

    def _read_list(self, due: list[Waiter]) -> Flow[None]:
        listed: dict[str, Conversation] = {}
        since_ms = int(min(reads_since_ms(waiter, self._clock) for waiter in due))

        def take(record: Conversation) -> None:
            listed[record.conversation_id] = record

        yield from self._clock.listening(recent(self._agent_id, since_ms, take, whole_pages=True))
        self._forget_all_but(listed)
        records = sorted(listed.values(), key=lambda each: each.start_timestamp or 0)
        self._has_traces |= any(record.trace_id is not None for record in records)
        claims = Claims(due, self._recipients, self._given, self._clock)
        for record in records:
            yield from self._hand_out(record, claims)
        claims.settle_offers(self._now(), has_traces=self._has_traces)
        yield from self._settle(due, records, claims)

    def _settle(self, due: list[Waiter], records: list[Conversation], claims: Claims) -> Flow[None]:
        """End the waits whose conversations count."""
        known = [self._details.get(record.conversation_id, record) for record in records]
        related = _Related(known, self._recipients).to
        settling = Settling(claims, self._clock, related, self._detail, has_traces=self._has_traces)
        for waiter in due:
            if waiter.record and not waiter.outcome:
                yield from settling.settle(waiter)

    def _forget_all_but(self, names: Collection[str]) -> None:
        self._details = {name: detail for name, detail in self._details.items() if name in names}
        self._given = {name: call for name, call in self._given.items() if name in names}

    def _hand_out(self, record: Conversation, claims: Claims) -> Flow[None]:
        """Find out whose the conversation is, if it may be somebody's."""
        if not claims.may_be_anybody_s(record):
            return
        is_settled = self._is_over(record, claims.endings)
        if is_settled and claims.needs_detail(record):
            detail = yield from self._detail(record, claims.endings)
            is_settled = detail is not None and self._is_over(detail, claims.endings)
            record = detail or record
        claims.hand_out(record, self._now(), is_settled=is_settled)

    def _detail(self, listed: Conversation, endings: Collection[Endings]) -> Flow[Conversation | None]:
        """Read a record in detail, less what was said; ``None`` when it is not to be had yet."""
        conversation_id = listed.conversation_id
        if conversation_id in self._details:
            return self._details[conversation_id]
        try:
            detail: Conversation = yield lambda client: client.get_conversation(conversation_id)
        except FormantError as error:
            if isinstance(error, NotFound | InvalidRequest) or may_repeat(error):
                return None  # one record that cannot be read holds up no other
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
        if status and not is_known(status) and status not in self._strange_words:
            self._strange_words.add(status)
            log.warning(
                "A conversation has the status %r, which is not known to be final: waiting on."
                " If it is final, name it in terminal_statuses.",
                status,
            )
        return False


class _Related:
    """Finds the records of one call or with one person, in the order in which they are given."""

    def __init__(self, records: Sequence[Conversation], recipients: Fingerprints) -> None:
        self._recipients = recipients
        self._records: dict[str | None, list[Conversation]] = defaultdict(list)
        for record in records:
            for name in {recipients.mark(record.contact_number), record.trace_id}:
                self._records[name].append(record)

    def to(self, waiter: Waiter) -> list[Conversation]:
        """Return those that may be of a waiter's call."""
        watch, record = waiter.watch, waiter.record
        own = self._recipients.mark(record.contact_number) if record else None
        names = {own or watch.recipient, watch.trace_id, record.trace_id if record else None} - {None}
        found = {each.conversation_id: each for name in names for each in self._records.get(name, [])}
        return sorted(found.values(), key=lambda each: each.start_timestamp or 0)
