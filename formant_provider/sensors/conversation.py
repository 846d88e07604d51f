"""Waits for the conversation of a call that another task, DAG or system has placed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from formant_provider.hooks.formant import FormantHook
from formant_provider.links import ConversationLink, links_of
from formant_provider.tasks.calls.ids import APART, show_link
from formant_provider.tasks.calls.outcome import end_as_it_ended, push_outcome
from formant_provider.tasks.calls.waiting import SUCCESSFUL, OnUnsuccessful, WaitOptions, trigger_for
from formant_provider.tasks.privacy import reveal
from formant_provider.tasks.references import to_reference
from formant_provider.tasks.sensing import WaitingSensor
from formant_provider.tasks.waiting import SHORTEST_POLL_INTERVAL_S, deferrable_or_default

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from formant_provider.core.conversations.waiters import Watch
    from formant_provider.tasks.failures import Activity
    from formant_provider.triggers.conversation import ConversationTrigger, WaitEnd


class FormantConversationSensor(WaitingSensor):
    """Wait until a conversation is over, and return its outcome. Places no call.

    Waits in all three ways of Airflow's sensors: ``mode="poke"``, ``mode="reschedule"`` and
    ``deferrable=True``, where all sensors and calls of one agent share one poll. ``poke_interval`` is the
    time between two looks, ``timeout`` and ``soft_fail`` mean what they mean for every sensor. What may pass
    (429, 5xx, lost connections) puts the next look off, by as much as the API asks, and fails nothing.

    XCom: ``return_value``, a dict of ``agent_id``, ``trace_id``, ``conversation_id``, ``status``,
    ``start_timestamp`` and ``end_timestamp`` (milliseconds since 1970), ``started_at`` and ``ended_at`` (the
    same as ISO 8601 text), ``duration_seconds``, ``failure_reason``, ``results``, ``reason``, ``map_index``
    and ``reference``; and on keys of their own ``trace_id``, ``conversation_id`` and ``status``. A wait that
    comes to nothing leaves a result as well: the ids it was given, and a ``reason`` such as ``timeout``.

    Vendor page: https://docs.formantai.com/platform/conversations

    :param trace_id: of the call, from its receipt. (templated)
    :param conversation_id: of one record, as the list of conversations or a webhook gives it; the id on a
        receipt need not be one. Either this or ``trace_id`` is given. (templated)
    :param agent_id: whose conversation it is: an integer, or a template that renders to digits. Required with
        ``trace_id``. With ``conversation_id`` it lets the sensors of one agent share one poll; ``None`` asks
        for the record itself. (templated)
    :param recipient: the number that was called, E.164. It spares requests where the list of conversations
        has no trace ids; Airflow never shows it. ``None`` means that any may be. (templated)
    :param since: when the call was placed at the earliest: an aware datetime, or ISO 8601 text with an
        offset. Older conversations are not looked at. ``None`` means since this DAG run began. (templated)
    :param reference: your own name of what the call is about: text or an integer, and never a phone number.
        It is in the result, and is not sent. ``None`` means none. (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :param success_statuses: the expected statuses.
    :param terminal_statuses: further words that end a conversation, besides those the vendor documents.
    :param settle_for: how long the record of an unsuccessful attempt must stay the newest with its recipient
        until it counts, since the platform may call again by itself; seconds or a ``timedelta``. Choose
        little more than it waits. Not with ``conversation_id``, which names one attempt.
    :param on_unsuccessful: how the task ends after any other outcome: ``"fail"`` (without retries),
        ``"skip"`` or ``"succeed"``.
    :param include_transcript: whether ``return_value`` holds ``transcript`` as well. XCom is plain text in
        Airflow's database.
    :param safety_poll_interval: time between two looks at the API while webhooks of this agent are in the
        connection's call store, in seconds or as a ``timedelta``: they are read about once a second, or at
        each look in the modes ``"poke"`` and ``"reschedule"``. ``poke_interval`` applies when that is longer,
        when none has come for a day, without ``agent_id``, and always in mode ``"reschedule"``.
    :param deferrable: whether to wait in the triggerer. ``None`` means Airflow's
        ``[operators] default_deferrable``.
    :raises ValueError: at parse time, an option is invalid.
    """

    template_fields: Sequence[str] = (
        "trace_id",
        "conversation_id",
        "agent_id",
        "recipient",
        "since",
        "reference",
        "formant_conn_id",
        "region",
    )
    private_fields = ("recipient",)
    pushed_apart = APART
    operator_extra_links: Collection[BaseOperatorLink] = (ConversationLink(),)
    ui_color = "#d9e6ef"

    def __init__(
        self,
        *,
        trace_id: str | None = None,
        conversation_id: str | None = None,
        agent_id: int | str | None = None,
        recipient: str | None = None,
        since: datetime | str | None = None,
        reference: str | int | None = None,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        success_statuses: Collection[str] = SUCCESSFUL,
        terminal_statuses: Collection[str] = (),
        settle_for: float | timedelta = 0,
        on_unsuccessful: OnUnsuccessful = "fail",
        include_transcript: bool = False,
        safety_poll_interval: float | timedelta = 600,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trace_id = trace_id
        self.conversation_id = conversation_id
        self.agent_id = agent_id
        self.recipient = recipient
        self.since = since
        self.reference = reference
        self.formant_conn_id = formant_conn_id
        self.region = region
        self.waiting = WaitOptions(
            max(self.poke_interval, SHORTEST_POLL_INTERVAL_S),
            success_statuses,
            terminal_statuses,
            settle_for,
            on_unsuccessful,
            include_transcript,
            safety_poll_interval,
        )
        self.deferrable = deferrable_or_default(deferrable)
        self.operator_extra_links = links_of(self)
        self._check()

    def _check(self) -> None:
        """Refuse invalid combinations, whatever the templates will render to."""
        if (self.trace_id is None) == (self.conversation_id is None):
            raise ValueError("give either trace_id or conversation_id")
        if self.trace_id is not None and self.agent_id is None:
            raise ValueError("agent_id is needed with trace_id: the API lists conversations by agent")
        if self.conversation_id is not None and self.waiting.endings.settle_for:
            raise ValueError("settle_for needs trace_id: a conversation_id names one attempt")

    def kind(self) -> tuple[Activity, type[WaitEnd]]:
        """Wait for a call."""
        from formant_provider.tasks.failures import WAITING_FOR_A_CALL
        from formant_provider.triggers.conversation import WaitEnd

        return WAITING_FOR_A_CALL, WaitEnd

    def _watch(self, context: Context) -> tuple[int | None, Watch]:
        """Check the rendered fields; return the agent and what is waited for."""
        from formant_provider.core import validation
        from formant_provider.core.conversations.waiters import Watch
        from formant_provider.tasks.run import TaskRun

        self.refuse_missing()
        to_reference(self.reference, reveal(self.recipient))
        agent_id = None if self.agent_id is None else validation.to_agent_id(self.agent_id)
        recipient = reveal(self.recipient)
        if recipient is not None:
            recipient = validation.to_phone(recipient, "recipient")
        return agent_id, Watch(
            since=TaskRun(context).run_began
            if self.since is None
            else validation.to_moment("since", self.since),
            trace_id=validation.to_optional_text("trace_id", self.trace_id),
            conversation_id=validation.to_optional_text("conversation_id", self.conversation_id),
            recipient=self.hook.fingerprints(agent_id).mark(recipient),
            endings=self.waiting.endings,
            poll_interval_s=self.waiting.poll_interval_s,
            safety_interval_s=self.waiting.safety_interval_s,
        )

    def trigger(self, context: Context, deadline: datetime) -> ConversationTrigger:
        """Return the trigger that waits for the conversation; its receipt holds the ids that were given."""
        agent_id, watch = self._watch(context)
        receipt = {"agent_id": agent_id, "trace_id": watch.trace_id, "conversation_id": watch.conversation_id}
        return trigger_for(self.hook, agent_id, watch, deadline, receipt)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the wait in the triggerer; the button in the UI does not outlive it."""
        show_link(self.hook, event["receipt"], context)
        return super().execute_complete(context, event)

    def without_outcome(self, context: Context) -> dict[str, Any]:
        """Return the ids that were given."""
        ids = {name: getattr(self, name) for name in ("agent_id", "trace_id", "conversation_id")}
        return {**ids, **self.of_this_row(context)}

    def conclude(self, end: WaitEnd, context: Context) -> dict[str, Any]:
        """End the task by the status."""
        with self.waiting_for_it():
            result = push_outcome(self.hook, end, context, self.waiting)
        result |= self.of_this_row(context)
        end_as_it_ended(self.waiting, result, context)
        return result
