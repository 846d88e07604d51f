"""One poll serves every waiter of an agent: the list is read once, and each takes its conversation from it.

::

    record in the list ─┬─ bears an id somebody waits for ──────────────────────────► theirs, once it is over
                        └─ bears no trace id, is over, and is with a recipient ─► detail ─► by its trace id,
                           somebody waits for                                or else by recipient and time

A detail is read once for each record that has ended, and remembered for as long as somebody waits. What is
read is a flow (see :mod:`formant_provider.api.listing`): others send, and others wait.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.api.errors import FormantError, InvalidRequest, NotFound
from formant_provider.api.listing import Flow, recent
from formant_provider.api.models import Conversation
from formant_provider.api.progress import Endings, is_known
from formant_provider.api.recipients import Recipients
from formant_provider.api.retry import may_repeat
from formant_provider.api.waiters import Hopes, Waiter, Watch

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
        self._recipients = Recipients("", agent_id)
        self._agent_id = agent_id
        self._now = now
        self._details: dict[str, Conversation] = {}
        self._given: dict[str, object] = {}
        self._strange_words: set[str] = set()

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
        self._recipients = client.recipients(self._agent_id)

    def interval_s(self) -> float:
        """Return the poll interval of the most impatient of those who wait."""
        return min((waiter.watch.poll_interval_s for waiter in self.waiters), default=math.inf)

    def due_at(self) -> datetime | None:
        """Return when the first of the awaited conversations can begin; ``None`` when nobody waits."""
        return min((waiter.watch.due_at for waiter in self.waiters if not waiter.outcome), default=None)

    def poll(self) -> Flow[None]:
        """Look once for everybody whose conversation can have begun."""
        now = self._now()
        due = [waiter for waiter in self.waiters if not waiter.outcome and waiter.watch.due_at <= now]
        if self._agent_id is None:
            yield from self._read_details(due)
        elif due:
            yield from self._read_list(due)
        for waiter in due:
            waiter.looks += 1

    def _read_details(self, due: list[Waiter]) -> Flow[None]:
        self._forget_all_but({str(waiter.watch.conversation_id) for waiter in due})
        for waiter in due:
            record = yield from self._detail(str(waiter.watch.conversation_id), [waiter.watch.endings])
            if record and self._is_over(record, [waiter.watch.endings]):
                waiter.take(record, self._now())
                waiter.end()

    def _read_list(self, due: list[Waiter]) -> Flow[None]:
        listed: dict[str, Conversation] = {}
        since_ms = int(min(waiter.watch.due_at for waiter in due).timestamp() * 1000)
        yield from recent(self._agent_id, since_ms, lambda each: listed.update({each.conversation_id: each}))
        self._forget_all_but(listed)
        records = sorted(listed.values(), key=lambda each: each.start_timestamp or 0)
        hopes = Hopes(due, self._recipients, self._given)
        for record in records:
            yield from self._hand_out(record, hopes)
        hopes.settle_offers(self._now())
        with_person = defaultdict(list)
        for record in records:
            with_person[self._recipients.mark(record.contact_number)].append(record)
        for waiter in due:
            if waiter.record and not waiter.outcome:
                mark = self._recipients.mark(waiter.record.contact_number)
                yield from self._settle(waiter, with_person[mark] if mark else [], hopes)

    def _forget_all_but(self, names: Collection[str]) -> None:
        self._details = {name: detail for name, detail in self._details.items() if name in names}
        self._given = {name: call for name, call in self._given.items() if name in names}

    def _hand_out(self, record: Conversation, hopes: Hopes) -> Flow[None]:
        """Find out whose the conversation is, if it may be somebody's and is over."""
        if not hopes.are_for(record) or not self._is_over(record, hopes.endings):
            return
        if not hopes.are_named_by(record) and record.trace_id is None:
            detail = yield from self._detail(record.conversation_id, hopes.endings)
            if detail is None or not self._is_over(detail, hopes.endings):
                return
            record = detail
        hopes.hand_out(record, self._now())

    def _settle(self, waiter: Waiter, with_person: list[Conversation], hopes: Hopes) -> Flow[None]:
        """End the wait, unless the platform has rung again or may still do so."""
        endings = waiter.watch.endings
        for listed in with_person if endings.settle_for else []:
            if waiter.record is None or endings.is_success(waiter.record.status):
                break
            if (listed.start_timestamp or 0) <= (waiter.record.start_timestamp or 0):
                continue
            later = listed
            if listed.trace_id is None and endings.is_over(listed.status):
                detail = yield from self._detail(listed.conversation_id, [endings])
                if detail is None:
                    return
                later = detail
            if hopes.is_another_s(later, waiter):
                continue
            if not endings.is_over(later.status):
                return
            hopes.give(later, waiter, self._now())
        now = self._now()
        if waiter.record and endings.counts(waiter.record, now=now, seen_at=waiter.seen_at or now):
            waiter.end()

    def _detail(self, conversation_id: str, endings: Collection[Endings]) -> Flow[Conversation | None]:
        """Read a record in detail, less what was said; ``None`` when it is not to be had yet."""
        if conversation_id in self._details:
            return self._details[conversation_id]
        try:
            detail: Conversation = yield lambda client: client.get_conversation(conversation_id)
        except FormantError as error:
            if isinstance(error, NotFound | InvalidRequest) or may_repeat(error):
                return None  # one record that cannot be read holds up no other
            raise
        detail = replace(detail, results=None, transcript=None)
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
