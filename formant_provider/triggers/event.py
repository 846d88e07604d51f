"""Starts DAGs when webhooks tell of conversations: a trigger for an asset's watcher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from formant_provider.triggers.events.feed import shared_feed
from formant_provider.triggers.events.reader import ConfirmedStream, EventReader, Fired, fired

if TYPE_CHECKING:
    from formant_provider.store.webhook_events import StoredEvent
    from formant_provider.triggers.events.feed import Told

_HAS_CONFIRMATIONS = hasattr(BaseEventTrigger, "create_shared_stream_producer")


class FormantConversationEventTrigger(BaseEventTrigger):
    """Fires for each event that the vendor's webhooks bring, for the ``AssetWatcher`` of an asset.

    The receiver of webhooks keeps events in the call store of its connection; this reads them there. Each is
    fired at least once: again, if a triggerer ends before Airflow has said that it is stored. Events of one
    conversation are fired in order, but for one that reaches the receiver late. A trigger begins with the
    events that come after its first start, and goes on where it was after any other, also when its DAG was
    paused. With other arguments it is another trigger.

    What is fired holds no number, no parameter and no transcript: ``event_id``, ``event_type``,
    ``agent_id``, ``trace_id``, ``conversation_id``, ``status``, ``attempt``, ``is_final_attempt``,
    ``next_retry_at``, ``occurred_at``, ``reference`` (of the call, if the call store knows it) and
    ``results``.

    Vendor page: https://docs.formantai.com/webhooks/events

    :param event_types: such as ``["call.completed"]``; ``None`` means all.
    :param agent_id: whose conversations; ``None`` means those of all agents.
    :param conn_id: the formant connection to whose address the events are sent. It has to name a call store.
    :param results: which of a conversation's results are fired, by name; ``"payment.date"`` is the ``date``
        of the result ``payment``. They can be seen by everybody who can see the asset.
    :param name: tells apart the triggers of several Airflows that share a call store.
    """

    def __init__(
        self,
        event_types: Collection[str] | None = None,
        agent_id: int | None = None,
        conn_id: str = "formant_default",
        results: Sequence[str] = (),
        name: str = "",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        if agent_id is not None and (isinstance(agent_id, bool) or not isinstance(agent_id, int)):
            raise ValueError("agent_id must be an integer")
        self.event_types = None if event_types is None else sorted(_names("event_types", event_types))
        if self.event_types == []:
            raise ValueError("event_types must not be empty; None means all types")
        self.agent_id = agent_id
        self.conn_id = conn_id
        self.results = _names("results", results)
        self.name = name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: names and ids."""
        names = ("event_types", "agent_id", "conn_id", "results", "name")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire events for ever, on an Airflow that does not say when they are stored.

        :raises InvalidInput: the connection names no call store, or one that cannot be used.
        """
        async for each in fired(self._reader()):
            yield _event(each)

    def shared_stream_key(self) -> Hashable | None:
        """Return the mark of this trigger alone, where Airflow says when its events are stored."""
        return self._mark() if _HAS_CONFIRMATIONS else None

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return what gives this trigger its events, and is told when they are stored."""
        return ConfirmedStream(cls(**kwargs)._reader())

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Fired]) -> AsyncIterator[TriggerEvent]:
        """Fire what the stream gives."""
        async for each in shared_stream:
            yield _event(each)
            each.is_taken = True

    def _reader(self) -> EventReader:
        return EventReader(shared_feed(self.conn_id), self._mark(), self._is_wanted, self._payload)

    def _mark(self) -> str:
        arguments = json.dumps(self.serialize()[1], sort_keys=True)
        return f"trigger:{hashlib.sha256(arguments.encode()).hexdigest()[:32]}"

    def _is_wanted(self, stored: StoredEvent) -> bool:
        record = stored.event.conversation
        return (
            stored.conn_id == self.conn_id
            and not stored.event.is_check
            and (self.event_types is None or stored.event.event_type in self.event_types)
            and (self.agent_id is None or (record is not None and record.agent_id == self.agent_id))
        )

    def _payload(self, told: Told) -> dict[str, Any]:
        from formant_provider.store.webhook_payload import public_payload

        return public_payload(told.event, told.reference, self.results)


def _event(each: Fired) -> TriggerEvent:
    return TriggerEvent(each.payload)  # type: ignore[no-untyped-call]  # Airflow's


def _names(field: str, given: object) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Collection):
        raise ValueError(f"{field} must be a list of names")
    if not all(isinstance(each, str) and each for each in given):
        raise ValueError(f"{field} must be a list of names")
    return list(given)
