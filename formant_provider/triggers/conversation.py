"""Waits for a conversation in the triggerer, where all waiters of an agent share one poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from formant_provider.triggers.shared import WaitingTrigger, WaitResult

if TYPE_CHECKING:
    from formant_provider.core.conversations.feed import Feed
    from formant_provider.core.conversations.waiters import Waiter, Watch
    from formant_provider.core.polling.waits import Now


@dataclass(frozen=True)
class WaitEnd(WaitResult):
    """How the wait for a conversation ended.

    :param conversation_id: of the record that ended the wait; ``None`` when the time was up before.
    :param status: of the same record.
    :param others: how many conversations with the recipient ended meanwhile and belong to other calls.
    :param candidates: how many calls may be this one, where no trace id tells; of several, none is taken.
    :param known: what else was known of the record: its trace id, its times and its duration.
    :param was_heard: whether a webhook has ended the wait, and not a poll.
    """

    conversation_id: str | None = None
    status: str | None = None
    others: int = 0
    candidates: int = 0
    known: dict[str, Any] = field(default_factory=dict)
    was_heard: bool = False
    subject: ClassVar[str] = "The conversation"

    @property
    def is_over(self) -> bool:
        """Whether it was over before the time was up."""
        return self.conversation_id is not None

    @classmethod
    def of(cls, waiter: Waiter, receipt: Mapping[str, Any]) -> WaitEnd:
        """Return what a wait came to. At the deadline a record that had not settled yet counts as well."""
        record = waiter.record or waiter.likely
        names = ("trace_id", "start_timestamp", "end_timestamp", "duration_seconds")
        return cls(
            conversation_id=record.conversation_id if record else None,
            status=record.status if record else None,
            others=len(waiter.others),
            candidates=waiter.candidates,
            known={name: getattr(record, name) for name in names} if record else {},
            was_heard=waiter.was_heard,
            receipt=dict(receipt),
        )


class ConversationTrigger(WaitingTrigger):
    """Fire when a conversation is over, or when the time is up.

    :param formant_conn_id: connection of type ``formant``.
    :param region: ``None`` means the connection's.
    :param agent_id: whose conversations are listed; ``None`` when the watch has a ``conversation_id``.
    :param watch: which call is waited for, as
        :meth:`~formant_provider.core.conversations.waiters.Watch.to_json` writes it. It holds the recipient
        as a fingerprint that nobody without the API key can read.
    :param deadline: ISO 8601 text with an offset.
    :param receipt: returned in the event: plain values, nothing private.
    """

    result = WaitEnd
    continues = "The call itself goes on: the vendor has no cancel."

    def __init__(  # noqa: PLR0917 - Airflow makes it of a mapping
        self,
        formant_conn_id: str,
        region: str | None,
        agent_id: int | None,
        watch: dict[str, Any],
        deadline: str,
        receipt: dict[str, Any],
    ) -> None:
        super().__init__(formant_conn_id, region, watch, deadline, receipt)
        self.agent_id = agent_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids, moments and the mark of a recipient."""
        path, arguments = super().serialize()
        return path, {**arguments, "agent_id": self.agent_id}

    @property
    def subject(self) -> str:
        """The conversation, by the id that is waited for, if there is one."""
        for name in ("trace_id", "conversation_id"):
            if self.watch[name]:
                return f"the conversation of {name} {self.watch[name]}"
        return "the conversation of a call that is unconfirmed"

    def feed(self, now: Now) -> Feed:
        """Share one poll with all who wait for this agent."""
        from formant_provider.core.conversations.feed import Feed

        return Feed(self.agent_id, now)

    def watched(self) -> Watch:
        """Return which call is waited for."""
        from formant_provider.core.conversations.waiters import Watch

        return Watch.from_json(self.watch)
