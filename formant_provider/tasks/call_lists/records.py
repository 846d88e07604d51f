"""Reads the records of conversations that a call list has ended with, for the columns made of them.

What webhooks have told comes first; the rest is read in detail, patiently: the list of conversations has
no results. An error that does not pass leaves a record unread, and loses nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from formant_provider.api.log_throttle import LogThrottle
from formant_provider.api.models import Conversation
from formant_provider.core.call_lists.result_columns import RESULTS
from formant_provider.core.conversations.heard import is_same_attempt
from formant_provider.core.conversations.statuses import nobody_connected

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.core.call_lists.calls import Attempt
    from formant_provider.core.call_lists.result_columns import ResultColumn
    from formant_provider.hooks.formant import FormantHook

log = logging.getLogger(__name__)

# How many attempts webhooks are asked for at a time.
AT_ONCE = 500
# So many reads in a row that fail, each after long patience, tell that the rest would as well.
_MOST_FAILURES = 3


class AttemptRecords(ExitStack):
    """The records of attempts that are over; to be used in a ``with`` block.

    :param columns: what is wanted of them.
    :ivar asked: how many were read in detail.
    :ivar from_webhooks: how many were not, since webhooks had told them.
    :ivar unread: how many could not be read.
    """

    def __init__(self, hook: FormantHook, columns: Sequence[ResultColumn]) -> None:
        from formant_provider.tasks.webhook_records import WebhookRecords

        super().__init__()
        self._hook, self._told_of = hook, WebhookRecords(hook).of
        self._wanted = {column.path[0] for column in columns}
        self._client: FormantClient | None = None
        self._told: Mapping[str, Conversation] = {}
        self._progress, self._warnings = LogThrottle(), LogThrottle(first_after_s=0)
        self._failures = 0
        self.asked = self.from_webhooks = self.unread = 0

    def expect(self, attempts: Collection[Attempt]) -> None:
        """Look up at once what webhooks have told of the attempts that are read next."""
        asked = {attempt.conversation_id for attempt in attempts if self._may_tell_more(attempt)}
        ids = [conversation_id for conversation_id in asked if conversation_id is not None]
        self._told = self._told_of(ids, False) if ids else {}

    def read(self, attempt: Attempt) -> Conversation | None:
        """Return the record of an attempt; ``None`` if it cannot be read, or is not the attempt's any more.

        Several attempts may share a conversation, of which the API tells the newest.
        """
        listed = _as_listed(attempt)
        if not self._may_tell_more(attempt):
            return listed
        told = self._told.get(listed.conversation_id)
        if told is not None and _is_of(told, listed):
            self.from_webhooks += 1
            return told
        record = self._detail(listed.conversation_id)
        if record is not None and _is_of(record, listed):
            return record
        self.unread += 1
        return None

    def log_read(self) -> None:
        """Log where the records came from."""
        log.info(
            "%s conversations were read in detail for the results, and %s could not be read%s.",
            self.asked,
            self.unread,
            f"; of {self.from_webhooks} more webhooks had told all" if self.from_webhooks else "",
        )

    def _detail(self, conversation_id: str) -> Conversation | None:
        from formant_provider.api.errors import AuthenticationFailed

        if self._failures >= _MOST_FAILURES:
            return None
        try:
            record = self._found(conversation_id)
        except Exception as error:  # of whatever kind: the file is worth more than some of its cells
            self._failures += _MOST_FAILURES if isinstance(error, AuthenticationFailed) else 1
            self._warn(error)
            return None
        self._failures = 0
        self.asked += record is not None
        if self._progress.is_due():
            log.info("%s conversations were read in detail so far, for the result columns.", self.asked)
        return record

    def _found(self, conversation_id: str) -> Conversation | None:
        """Read a conversation; once more with the connection read anew, where its key is refused."""
        from formant_provider.api.errors import AuthenticationFailed
        from formant_provider.core.conversations.lookup import find_detail

        try:
            return find_detail(self._connected(), conversation_id)
        except AuthenticationFailed:
            self._hook.reread()
            self._client = None
            return find_detail(self._connected(), conversation_id)

    def _connected(self) -> FormantClient:
        from formant_provider.api.retry import PATIENT

        if self._client is None:
            self._client = self.enter_context(self._hook.get_conn(PATIENT))
        return self._client

    def _warn(self, error: Exception) -> None:
        from formant_provider.api.errors import FormantError

        what = str(error) if isinstance(error, FormantError) else type(error).__name__
        if self._failures >= _MOST_FAILURES:
            log.warning(
                "Conversations cannot be read for the result columns; the rest stays unread: %s", what
            )
        elif self._warnings.is_due():
            log.warning("A conversation could not be read for the result columns: %s", what)

    def _may_tell_more(self, attempt: Attempt) -> bool:
        """Whether its record may have something that is wanted, and not known of the attempt."""
        talked = not nobody_connected(attempt.status, attempt.duration_s)
        return "failure_reason" in self._wanted or (RESULTS in self._wanted and talked)


def _as_listed(attempt: Attempt) -> Conversation:
    return Conversation(
        conversation_id=attempt.conversation_id or "",
        agent_id=None,
        status=attempt.status,
        trace_id=attempt.trace_id,
        start_timestamp=attempt.start_ms,
        end_timestamp=attempt.end_ms,
        duration_seconds=attempt.duration_s,
    )


def _is_of(record: Conversation, listed: Conversation) -> bool:
    return record.status == listed.status and is_same_attempt(record, listed)
