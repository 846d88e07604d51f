"""Waits for a conversation in the triggerer, where all waiters of an agent share one poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from formant_provider.api.pace import Pace
    from formant_provider.api.poller import Poller
    from formant_provider.api.waiters import Waiter


@dataclass(frozen=True)
class WaitEnd:
    """How a wait ended: what a trigger's event holds, and nothing private.

    :param conversation_id: of the record that ended the wait; ``None`` when the time was up before.
    :param status: of the same record.
    :param others: how many conversations with the recipient ended meanwhile and belong to other calls.
    :param trouble: what hindered it: the name of an error's class, and its text.
    :param receipt: what the task knew of the call when it began to wait.
    """

    conversation_id: str | None = None
    status: str | None = None
    others: int = 0
    trouble: tuple[str, str] | None = None
    receipt: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, waiter: Waiter, receipt: Mapping[str, Any]) -> WaitEnd:
        """Tell what a wait came to. At the deadline a record that had not settled yet counts as well."""
        record = waiter.record
        return cls(
            conversation_id=record.conversation_id if record else None,
            status=record.status if record else None,
            others=len(waiter.others),
            receipt=dict(receipt),
        )

    def to_event(self) -> TriggerEvent:
        """Return the event that a trigger fires."""
        return TriggerEvent(asdict(self))  # type: ignore[no-untyped-call]  # Airflow's

    def raise_trouble(self) -> None:
        """Raise what hindered the wait, if anything did.

        :raises FormantError: of the kind that it was in the triggerer.
        """
        from formant_provider.api.errors import named

        if self.trouble:
            raise named(*self.trouble)

    @classmethod
    def from_event(cls, payload: Mapping[str, Any]) -> WaitEnd:
        """Read what :meth:`to_event` wrote."""
        return cls(**payload)


class ConversationTrigger(BaseTrigger):
    """Fire when a conversation is over, or when the time is up.

    May be started again anywhere: the deadline is a moment, and nothing else is remembered.

    :param formant_conn_id: connection of type ``formant``.
    :param region: ``None`` means the connection's.
    :param agent_id: whose conversations are listed; ``None`` when the watch has a ``conversation_id``.
    :param watch: which call is waited for, as :meth:`~formant_provider.api.waiters.Watch.to_json` writes it.
        The recipient is in it as a mark that nobody without the API key can read.
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
        from formant_provider.api.waiters import Watch

        self.log.info("Waiting until %s for the conversation of %s.", self.deadline, self._name())
        try:
            poller = _poller(self.formant_conn_id, self.region, self.agent_id)
            waiter = await poller.wait(Watch.from_json(self.watch), datetime.fromisoformat(self.deadline))
        except Exception as error:
            yield self._trouble(error).to_event()
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

    def _trouble(self, error: Exception) -> WaitEnd:
        from formant_provider.api.errors import FormantError

        kind = type(error).__name__
        # The text of an error that is not ours may hold anything.
        text = str(error) if isinstance(error, FormantError) else f"The wait was broken off ({kind})"
        return WaitEnd(trouble=(kind, text), receipt=self.receipt)


@dataclass
class _Shared:
    """What the triggers of one event loop share."""

    pollers: dict[tuple[str, str | None, int | None], Poller] = field(default_factory=dict)
    paces: dict[tuple[str, str | None], Pace] = field(default_factory=dict)


_BY_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = WeakKeyDictionary()


def _poller(formant_conn_id: str, region: str | None, agent_id: int | None) -> Poller:
    """Return the one poller of this event loop for these conversations."""
    from formant_provider.api.pace import Pace
    from formant_provider.api.poller import Poller
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.hooks.formant import FormantHook

    shared = _BY_LOOP.setdefault(asyncio.get_running_loop(), _Shared())
    place, key = (formant_conn_id, region), (formant_conn_id, region, agent_id)
    if key not in shared.pollers:
        hook = FormantHook(formant_conn_id, region)
        pace = shared.paces.setdefault(place, Pace(lambda: datetime.now(UTC)))
        once = RetryPolicy(max_attempts=1)
        shared.pollers[key] = Poller(agent_id, pace, lambda: hook.aget_conn(once))
    return shared.pollers[key]
