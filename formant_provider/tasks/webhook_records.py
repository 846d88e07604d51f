"""What webhooks have told of conversations, for tasks that would otherwise ask the API for each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from formant_provider.api.models import Conversation
    from formant_provider.hooks.formant import FormantHook
    from formant_provider.store.store import Store
    from formant_provider.store.webhook_records import ToldAttempt

log = logging.getLogger(__name__)
T = TypeVar("T")


class WebhookRecords:
    """The events in the call store of a connection.

    Without a store there are none. A store that cannot be read fails no task: the API has all that is in it.
    """

    def __init__(self, hook: FormantHook) -> None:
        self._hook, self._is_read = hook, hook.has_store

    def of(self, conversation_ids: Collection[str], needs_transcript: bool) -> Mapping[str, Conversation]:
        """Return the conversations of which the API need not be asked, by id."""

        def find(store: Store) -> Mapping[str, Conversation]:
            from formant_provider.store.webhook_records import records_from_events

            return records_from_events(store, conversation_ids, needs_transcript=needs_transcript)

        return self._read(find) or {}

    def since(self, agent_id: int, moment: datetime) -> Iterator[ToldAttempt]:
        """Yield the attempts of an agent that began since, as far as the store can be read."""

        def begin(store: Store) -> Iterator[ToldAttempt]:
            from formant_provider.store.webhook_records import attempts_since

            return attempts_since(store, agent_id, moment)

        attempts = self._read(begin)
        while attempts is not None and (told := self._read(lambda _: next(attempts, None))) is not None:
            yield told

    @cached_property
    def _store(self) -> Store | None:
        return self._hook.get_store()

    def _read(self, read: Callable[[Store], T]) -> T | None:
        from formant_provider.api.errors import FormantError

        try:
            return read(self._store) if self._is_read and self._store is not None else None
        except Exception as error:  # whatever it is, the API has all of it
            what = str(error) if isinstance(error, FormantError) else type(error).__name__
            log.warning("%s. What webhooks have told is not known, so the API is asked.", what)
            self._is_read = False
            return None
