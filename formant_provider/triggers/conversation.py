"""Waits for a conversation in the triggerer, where all waiters of an agent share one poll."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from formant_provider.hooks.formant import FormantHook
from formant_provider.triggers.shared import End, shared_poller, trouble_of

if TYPE_CHECKING:
    from formant_provider.core.conversations.waiters import Waiter, Watch
    from formant_provider.core.polling.async_poller import Poller


@dataclass(frozen=True)
class WaitEnd(End):
    """How the wait for a conversation ended.

    :param conversation_id: of the record that ended the wait; ``None`` when the time was up before.
    :param status: of the same record.
    :param others: how many conversations with the recipient ended meanwhile and belong to other calls.
    :param candidates: how many calls may be this one, where no trace id tells; of several, none is taken.
    :param known: what else the poll knew of the record: its trace id, its times and its duration.
    """

    conversation_id: str | None = None
    status: str | None = None
    others: int = 0
    candidates: int = 0
    known: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, waiter: Waiter, receipt: Mapping[str, Any]) -> WaitEnd:
        """Tell what a wait came to. At the deadline a record that had not settled yet counts as well."""
        record = waiter.record or waiter.likely
        names = ("trace_id", "start_timestamp", "end_timestamp", "duration_seconds")
        return cls(
            conversation_id=record.conversation_id if record else None,
            status=record.status if record else None,
            others=len(waiter.others),
            candidates=waiter.candidates,
            known={name: getattr(record, name) for name in names} if record else {},
            receipt=dict(receipt),
        )


class ConversationTrigger(BaseTrigger):
    """Fire when a conversation is over, or when the time is up.

    May be started again anywhere: the deadline is a moment, and nothing else is remembered.

    :param formant_conn_id: connection of type ``formant``.
    :param region: ``None`` means the connection's.
    :param agent_id: whose conversations are listed; ``None`` when the watch has a ``conversation_id``.
    :param watch: which call is waited for, as
        :meth:`~formant_provider.core.conversations.waiters.Watch.to_json` writes it. It holds the recipient
        as a fingerprint that nobody without the API key can read.
    :param deadline: ISO 8601 text with an offset.
    :param receipt: handed back in the event: plain values, nothing private.
    """

    def __init__(  # noqa: PLR0917 - Airflow makes it of a mapping
        self,
        formant_conn_id: str,
        region: str | None,
        agent_id: int | None,
        watch: dict[str, Any],
        deadline: str,
        receipt: dict[str, Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's
        self.formant_conn_id = formant_conn_id
        self.region = region
        self.agent_id = agent_id
        self.watch = watch
        self.deadline = deadline
        self.receipt = receipt

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids, moments and the mark of a recipient."""
        names = ("formant_conn_id", "region", "agent_id", "watch", "deadline", "receipt")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait. Whatever happens, the task goes on: a trigger that fails would use up none of its retries."""
        from formant_provider.core.conversations.waiters import Watch

        self.log.info("Waiting until %s for the conversation of %s.", self.deadline, self._name())
        try:
            waiter = await self._poller().wait(
                Watch.from_json(self.watch), datetime.fromisoformat(self.deadline)
            )
        except Exception as error:
            yield WaitEnd(trouble=trouble_of(error), receipt=self.receipt).to_event()
        else:
            yield WaitEnd.of(waiter, self.receipt).to_event()

    async def on_kill(self) -> None:
        """Say that the call goes on (Airflow 3.3 and later asks on a user's action alone)."""
        self.log.warning(
            "No longer waiting for %s. The call itself goes on: the vendor has no cancel.", self._name()
        )

    def _name(self) -> str:
        trace_id, conversation_id = self.watch["trace_id"], self.watch["conversation_id"]
        return f"trace_id {trace_id}" if trace_id else f"conversation_id {conversation_id}"

    def _poller(self) -> Poller[Watch, Waiter]:
        from formant_provider.core.conversations.feed import Feed
        from formant_provider.core.polling.async_poller import utc_now

        hook = FormantHook(self.formant_conn_id, self.region)
        return shared_poller(hook, ("conversations", self.agent_id), lambda: Feed(self.agent_id, utc_now))
