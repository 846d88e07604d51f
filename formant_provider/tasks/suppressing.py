"""Whom does a task put on the do-not-call list of the call store? From numbers, or from conversations.

Numbers are in memory alone; what leaves this module are their digests.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from formant_provider.tasks.do_not_call import opened_numbers

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation
    from formant_provider.core.conversations.conditions import Conditions
    from formant_provider.core.conversations.history import History, Interval
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.store import Store

log = logging.getLogger(__name__)


def store_of(hook: FormantHook) -> Store:
    """Return the call store of a task that is about nothing else.

    :raises InvalidInput: the connection names none.
    """
    from formant_provider.api.errors import InvalidInput

    store = hook.get_store()
    if store is None:
        raise InvalidInput(
            "formant_conn_id",
            f"needs a call store: name its connection in store_conn_id of the {hook.address}",
        )
    return store


def asked_in_list(
    store: Store, numbers: object, default_country: str | None, asked_at: datetime
) -> dict[str, datetime]:
    """Return the digests of a list of numbers, each with when it was asked for.

    :param numbers: as ``suppress`` of a call takes them.
    :raises InvalidInput: some of them cannot be read; none is left out.
    """
    from formant_provider.core.contacts.do_not_call import about_field, read_do_not_call
    from formant_provider.core.numbers.bulk import NumberReader
    from formant_provider.store.suppressions import digests_of

    with about_field("numbers"), opened_numbers(numbers, field="numbers") as entries:
        reader = NumberReader(default_country, renumber=True)
        found = read_do_not_call(entries, reader, may_be_empty=True)
    return dict.fromkeys(digests_of(store, found), asked_at)


@dataclass
class AskedInConversations:
    """Finds who asked for it in conversations of an agent.

    :ivar matched: how many conversations meet the conditions.
    :ivar unreadable: how many of these do not tell whose they are.
    :ivar unfinished: how many were not over when they were read, so that they may meet them later.
    :ivar undated: how many records do not say when they began, and were not looked at.
    """

    hook: FormantHook
    agent_id: int
    interval: Interval
    conditions: Conditions
    conversations: int = field(default=0, init=False)
    matched: int = field(default=0, init=False)
    unreadable: int = field(default=0, init=False)
    unfinished: int = field(default=0, init=False)
    undated: int = field(default=0, init=False)

    def read(self, store: Store) -> dict[str, datetime]:
        """Return the digests of those people, each with when their last such conversation began."""
        from formant_provider.api.retry import PATIENT
        from formant_provider.core.conversations.history import History
        from formant_provider.tasks.webhook_records import WebhookRecords

        told = WebhookRecords(self.hook).of
        with (
            self.hook.get_conn(PATIENT) as client,
            History(client, self.agent_id, self.interval, told=told) as history,
        ):
            history.read_list()
            # The oldest is first, so that the last moment stays.
            asked = {
                digest: at for record in self._met(history) for digest, at in self._of(record, history, store)
            }
            self.conversations, self.undated = len(history), history.undated
        self._warn()
        return asked

    def counts(self) -> dict[str, int]:
        """Return what was counted."""
        names = ("conversations", "matched", "unreadable", "unfinished", "undated")
        return {name: getattr(self, name) for name in names}

    def _met(self, history: History) -> Iterator[Conversation]:
        from formant_provider.core.conversations.statuses import Endings

        is_over = Endings().is_over
        for record in history.records(self.conditions.fields):
            if self.conditions.are_met(record):
                self.matched += 1
                yield record
            elif not is_over(record.status):
                self.unfinished += 1

    def _of(self, record: Conversation, history: History, store: Store) -> Iterator[tuple[str, datetime]]:
        """Yield the digest of a conversation's recipient, in each spelling of the number."""
        from formant_provider.core.numbers.plans import other_writing
        from formant_provider.store.store import to_moment
        from formant_provider.store.suppressions import digests_of

        number = _number(record.contact_number)
        if number is None:  # the list may mask it
            number = _number(history.complete(record, ["results"]).contact_number)
        if number is None:
            self.unreadable += 1
            log.warning("Conversation %s does not tell whose it is.", record.conversation_id)
            return
        for digest in digests_of(store, filter(None, (number, other_writing(number)))):
            yield digest, to_moment(record.start_timestamp or 0)

    def _warn(self) -> None:
        if self.unreadable:
            log.warning("%s people could not be told from their conversations.", self.unreadable)
        if self.unfinished:
            log.warning(
                "%s conversations are not over, and may have results later. Let intervals overlap, or run"
                " some time after they end.",
                self.unfinished,
            )
        if self.undated:
            log.warning("%s records do not say when they began, and are left out.", self.undated)


def _number(text: str | None) -> int | None:
    from formant_provider.core.numbers.bulk import NumberReader
    from formant_provider.core.numbers.reasons import Reason

    # The API writes them with their country code, perhaps without the plus sign.
    read = NumberReader(None, "e164_without_plus", renumber=True).read(text or "")
    return None if isinstance(read, Reason) else int(read)
