"""One phone call, declared in a DAG."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from airflow.providers.common.compat.sdk import BaseOperator

from formant_provider.hooks.formant import FormantHook
from formant_provider.links import ConversationLink, links_of
from formant_provider.tasks import options
from formant_provider.tasks.calls.ids import show_link
from formant_provider.tasks.calls.outcome import CallWait, OnTimeout, OnUnconfirmed
from formant_provider.tasks.calls.placing import CALL_FIELDS, CallPlacer, LimitWait, PlacingOptions, call_of
from formant_provider.tasks.calls.receipts import dry_run_result, leaving_a_result, push_receipt
from formant_provider.tasks.calls.waiting import SUCCESSFUL, OnUnsuccessful, WaitOptions
from formant_provider.tasks.capping import CapOptions, OnCapped, check_cap
from formant_provider.tasks.do_not_call import suppression
from formant_provider.tasks.dry_run import is_dry_run
from formant_provider.tasks.lateness import lateness_s
from formant_provider.tasks.privacy import PrivateFields, reveal
from formant_provider.tasks.references import recipient_in, reference_or_none, to_reference
from formant_provider.tasks.results import of_row
from formant_provider.tasks.run import TaskRun
from formant_provider.tasks.timing import OnClosed, TimingOptions, check_window
from formant_provider.tasks.waiting import deferrable_or_default

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from formant_provider.call_cap import CallCap
    from formant_provider.calling_window import CallingWindow


class FormantCreateCallOperator(PrivateFields, BaseOperator):
    """Place one phone call through a FormantAI Voice agent, and never twice.

    The call is placed at most once for each DAG run, task, agent and recipient. Before anything is sent,
    the task writes its intent into Airflow's task state store (3.3 and later); a further try, after a lost
    answer or a killed worker, starts from there: it returns the receipt, or sends the same idempotency key,
    which the vendor refuses if it was used. A call that turns out to have been placed is looked up among
    the agent's conversations. Airflow before 3.3 has no such store; there the vendor's key alone protects,
    for 24 hours, and beyond them a further try sends nothing.

    Bad input, and what the API refuses for good (400, 401, 404), fails the task at once without retries. What
    may pass (429, 5xx, lost connections) is sent again with the same key, four times in all with at most a
    minute of pauses, and then fails the task in a way that Airflow may retry.

    XCom: ``return_value``, a dict of ``agent_id``, ``trace_id``, ``conversation_id``, ``status``,
    ``scheduled_for``, ``placement``, ``reason``, ``map_index`` and ``reference``; and on keys of their own
    ``trace_id``, ``conversation_id`` and ``status``, with blank text for what is not known, such as the
    conversation of most calls. ``placement`` is ``placed``; ``found`` when an earlier try had placed the call
    and its ids were looked up; or ``unconfirmed`` when an earlier send used the key and no record of the call
    is there yet, as is usual while it lasts: the ids are ``None``.

    A task that places no call leaves a result as well, before it is skipped or fails: ``status`` is
    ``skipped``, ``refused``, ``not_placed`` (another try may have placed none either) or ``unconfirmed``, and
    ``reason`` says why in a word, such as ``closed``, ``late`` or ``invalid_input``.

    With ``wait_for_completion`` the status is the outcome, ``return_value`` holds ``start_timestamp`` and
    ``end_timestamp`` (milliseconds since 1970), ``started_at`` and ``ended_at`` (the same as ISO 8601 text),
    ``duration_seconds``, ``failure_reason`` and ``results`` as well, and all ids are those of the record.

    Vendor page: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call

    **What is said, and to whom:**

    :param agent_id: the agent that talks: an integer, or a template that renders to digits. (templated)
    :param parameters: what the agent is told: a mapping of names to values, or a list of
        ``{"name": ..., "value": ...}``. One of them is ``customer_phone``, the number to call, as E.164 text.
        Values become text: ``True`` is ``true``, numbers are written in decimals, dates and datetimes as
        ISO 8601. ``None`` and nested values are refused. Airflow shows the names and never the values.
        (templated)
    :param default_country: where numbers without a country code are from, those of ``suppress`` too, as two
        letters; with it, numbers in any usual writing are taken. ``None`` takes E.164 alone.
    :param renumber: whether a number of an old numbering plan is called under what it is today, where that is
        known. ``False`` refuses it. Numbers of ``suppress`` are always read so.
    :param conversation_id: the conversation chain this call joins. ``None`` starts a new one. (templated)
    :param retry_context: what an earlier attempt left: a mapping with any of ``collected_data`` (a mapping),
        ``retry_initial_message``, ``retry_language`` and ``retry_stage_id`` (text). Airflow shows the names
        alone. ``None`` means none. (templated)
    :param metadata: opaque text that travels with the call; a mapping is encoded as JSON. ``None`` means
        none. (templated)
    :param reference: your own name of what the call is about, such as a loan's: text or an integer, and never
        a phone number. It is in the result, and is not sent. ``None`` means none. (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)

    **When the call is placed:**

    :param scheduled_for: when to call: an aware datetime, or ISO 8601 text with an offset; at most 30 days
        ahead. ``None`` means now. (templated)
    :param calling_window: a :class:`~formant_provider.calling_window.CallingWindow`: the hours in which the
        call may be placed. ``None`` means any. Only a call that would be placed anew is bound to it.
        (templated)
    :param on_closed: what becomes of a call outside of the hours: ``"schedule"`` for their next opening, at
        most 30 days ahead, ``"skip"`` or ``"fail"`` (without retries).
    :param max_lateness: how long ago the day may have ended that the run is about, in seconds or as a
        ``timedelta``, for a call to be placed anew; otherwise the task is skipped. ``None`` means however
        long. A run that somebody starts is never late.
    :param call_cap: a :class:`~formant_provider.call_cap.CallCap`: how often the person may be called, by all
        who share the connection's call store, which it needs. ``None`` means the connection's. (templated)
    :param on_capped: what becomes of a call that would be one too many: ``"skip"``, ``"fail"`` (without
        retries), or ``"schedule"`` for the next moment that is free, at most 30 days ahead.

    **How safe it is:**

    :param idempotency_key: a name for this call, such as a loan number and a date. Calls of one agent to one
        recipient with the same name are one call, whichever task, DAG or run asks for them. ``None`` means
        one call for each DAG run and task. What is sent is a UUID derived from it. (templated)
    :param suppress: numbers that must not be called: a URI or an absolute path of a file (CSV, also in gzip,
        or Parquet) with a column ``customer_phone`` or a single one, or a list. A call to one of
        them is skipped. Only a call that would be placed anew is held against it. ``None`` means none; a list
        that is there and comes to ``None`` or holds no number fails the task. Airflow never shows it.
        (templated)
    :param dry_run: whether to check everything, and send nothing to the API: ``True``, ``False``, or a
        template for one of them. The result says when it would be placed, or why not. (templated)
    :param on_unconfirmed: what the task does when the placement stays unconfirmed: ``"succeed"``, ``"fail"``
        (without retries) or ``"skip"``.
    :param lookup_timeout: how long to look for the record of a call that was placed already, in seconds or
        as a ``timedelta``.
    :param redial_on: outcomes after which a further try of this task (a retry, a clear) places a further call
        to the same recipient: any of ``no_answer``, ``busy``, ``failed``, ``unreachable``,
        ``socket_failure``, ``telephony_failed``. The new call joins the conversation and gets a
        ``retry_context`` from what the last one collected, unless one is given. Needs Airflow 3.3,
        ``wait_for_completion`` and ``retries``. Empty means that a further try never places a further call.

    **How long to wait:**

    :param wait_for_completion: whether to wait until the conversation is over. A further try of a task that
        waits continues to wait for the same call.
    :param deferrable: whether to wait, for the rate limit and for the conversation, in the triggerer, where
        all who wait for one agent share one poll. ``None`` means Airflow's
        ``[operators] default_deferrable``.
    :param max_inline_wait: longest wait for the API's rate limit that holds a worker, in seconds or as a
        ``timedelta``. When the API asks for more, the task is deferred if ``deferrable``, and fails in a way
        that Airflow may retry if not.
    :param poll_interval: time between two looks, in seconds or as a ``timedelta``; longer where limits ask.
    :param safety_poll_interval: the same while webhooks of the agent come, which end the wait at once.
    :param timeout: how long a try waits for the conversation, in seconds or as a ``timedelta``; counted from
        ``scheduled_for`` if that comes later.
    :param on_timeout: what the task does then: ``"fail"`` (without retries), ``"skip"``, or ``"return"``
        the receipt. An unconfirmed call that is not found until then ends by ``on_unconfirmed``.

    **How it ends:**

    :param success_statuses: the expected statuses.
    :param terminal_statuses: further words that end a conversation, besides those the vendor documents.
    :param settle_for: how long the record of an unsuccessful attempt must stay the newest with its recipient
        until it counts, in seconds or as a ``timedelta``; the platform may call again by itself.
    :param on_unsuccessful: what the task does after a status that is not expected: ``"fail"`` (with retries
        only after one of ``redial_on``), ``"skip"`` or ``"succeed"``. After one of ``redial_on`` it does so
        in its last try, and is tried again before.
    :param include_transcript: whether ``return_value`` holds ``transcript`` as well. XCom is plain text in
        Airflow's database.

    :raises ValueError: at parse time, for an option that is invalid.
    """

    template_fields: Sequence[str] = (
        *CALL_FIELDS,
        "reference",
        "formant_conn_id",
        "region",
        "calling_window",
        "call_cap",
        "suppress",
        "dry_run",
    )
    private_fields: ClassVar[tuple[str, ...]] = ("parameters", "retry_context", "suppress")
    literal_fields = ("agent_id", "region", "scheduled_for", "parameters", "default_country")
    operator_extra_links: Collection[BaseOperatorLink] = (ConversationLink(),)
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json", "retry_context": "json"}
    ui_color = "#d9efe3"
    check_options = staticmethod(options.check_call_options)

    def __init__(
        self,
        *,
        agent_id: int | str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        default_country: str | None = None,
        renumber: bool = False,
        conversation_id: str | None = None,
        retry_context: Mapping[str, Any] | None = None,
        metadata: str | Mapping[str, Any] | None = None,
        reference: str | int | None = None,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        scheduled_for: datetime | str | None = None,
        calling_window: CallingWindow | Mapping[str, Any] | None = None,
        on_closed: OnClosed = "schedule",
        max_lateness: float | timedelta | None = 86400,
        call_cap: CallCap | Mapping[str, Any] | None = None,
        on_capped: OnCapped = "skip",
        idempotency_key: str | None = None,
        suppress: str | Sequence[str] | None = None,
        dry_run: bool | str = False,
        on_unconfirmed: OnUnconfirmed = "succeed",
        lookup_timeout: float | timedelta = 30,
        redial_on: Collection[str] = (),
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        max_inline_wait: float | timedelta = 30,
        poll_interval: float | timedelta = 30,
        safety_poll_interval: float | timedelta = 600,
        timeout: float | timedelta = 3600,
        on_timeout: OnTimeout = "fail",
        success_statuses: Collection[str] = SUCCESSFUL,
        terminal_statuses: Collection[str] = (),
        settle_for: float | timedelta = 0,
        on_unsuccessful: OnUnsuccessful = "fail",
        include_transcript: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id, self.parameters, self.scheduled_for = agent_id, parameters, scheduled_for
        self.conversation_id, self.idempotency_key = conversation_id, idempotency_key
        self.metadata, self.retry_context, self.reference = metadata, retry_context, reference
        self.formant_conn_id, self.region, self.suppress = formant_conn_id, region, suppress
        self.default_country = options.country("default_country", default_country)
        self.renumber = options.flag("renumber", renumber)
        self.dry_run = dry_run  # type: ignore[method-assign,assignment] # nothing calls Airflow's method
        self.calling_window, on_closed = check_window(calling_window, on_closed, get_args(OnClosed))
        self.timing = TimingOptions(on_closed, lateness_s(max_lateness))
        self.call_cap, self.on_capped = check_cap(call_cap, on_capped, get_args(OnCapped))
        self.placing = PlacingOptions(
            options.one_of("on_unconfirmed", on_unconfirmed, get_args(OnUnconfirmed)),
            options.seconds("lookup_timeout", lookup_timeout),
            options.redial_outcomes(redial_on),
            options.seconds("max_inline_wait", max_inline_wait),
        )
        self.deferrable, self.operator_extra_links = deferrable_or_default(deferrable), links_of(self)
        self.wait_for_completion = wait_for_completion
        self.timeout_s = options.time_to_wait("timeout", timeout)
        self.on_timeout = options.one_of("on_timeout", on_timeout, get_args(OnTimeout))
        endings = (success_statuses, terminal_statuses, settle_for, on_unsuccessful, include_transcript)
        self.waiting = WaitOptions(poll_interval, *endings, safety_poll_interval)
        self._limit, self._stopped = LimitWait(), False
        chosen = {"timeout": timeout, "retries": self.retries, "wait_for_completion": wait_for_completion}
        self.check_options(self.given, chosen)
        options.refuse_literals(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Place the call, push its ids, and wait for its conversation if asked to."""
        from formant_provider.tasks.failures import PLACING_A_CALL, end_unconfirmed, ending_the_task
        from formant_provider.tasks.ledger import noting_nothing_sent

        run = TaskRun(context, own_name=self.idempotency_key is not None)
        with (
            leaving_a_result(context, self.row_of),
            ending_the_task(PLACING_A_CALL, self.hook),
            noting_nothing_sent(run),
        ):
            self.refuse_missing()
            self.reference = to_reference(self.reference, recipient_in(reveal(self.parameters)))
            call = call_of(self, run, default_country=self.default_country, renumber=self.renumber)
            refuse_listed = suppression(call.recipient, self.suppress, self.given, self.default_country)
            when = self.timing.when(call.recipient, self.calling_window, refuse_listed, context)
            chosen = self.placing, CapOptions(self.call_cap, self.on_capped), when, self._limit
            placer = CallPlacer(call, run, self.hook, *chosen, lambda: self._stopped, self.reference)
            if is_dry_run(self.dry_run):
                return dry_run_result(placer, self.calling_window, self.row_of(context), context)
            placement = placer.place(deferrable=self.deferrable)
        receipt = push_receipt(
            placement, self.row_of(context), self.hook, context, waits=self.wait_for_completion
        )
        if self.wait_for_completion and (placement.receipt or placement.until):
            return self._call_wait().wait(call, placement, receipt, context, placer.store_row)
        if placement.receipt is None:
            end_unconfirmed(self.placing.on_unconfirmed)
        return receipt

    def execute_after_limit(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Continue after the API's rate limit: from what is written down, as every try does."""
        self._limit = LimitWait.from_event(event)
        return self.execute(context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the wait for the conversation in the triggerer."""
        from formant_provider.triggers.conversation import WaitEnd

        end = WaitEnd.from_event(event)
        show_link(self.hook, end.receipt, context)
        return self._call_wait().conclude(end, context)

    def on_kill(self) -> None:
        """Send nothing more. A call that was sent cannot be taken back: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Stopping: this try sends nothing more. A call that was sent cannot be taken back.")

    def row_of(self, context: Context) -> dict[str, Any]:
        """Return by what this result is told from those of other rows."""
        return of_row(context, reference_or_none(self.reference, recipient_in(reveal(self.parameters))))

    def _call_wait(self) -> CallWait:
        chosen = self.placing.on_unconfirmed, self.placing.redial_on, self.deferrable
        return CallWait(self.hook, self.waiting, self.timeout_s, self.on_timeout, *chosen)
