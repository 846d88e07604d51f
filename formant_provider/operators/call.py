"""One phone call, declared in a DAG."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import pendulum
from airflow.providers.common.compat.sdk import BaseOperator, conf

from formant_provider.hooks.formant import FormantHook
from formant_provider.options import one_of, redial_outcomes, seconds
from formant_provider.privacy import Hidden, mask_numbers, reveal

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from formant_provider.api.errors import FormantError
    from formant_provider.api.models import CallRequest
    from formant_provider.api.placement import Placement

OnUnconfirmed = Literal["succeed", "fail", "skip"]
# A server that keeps asking to wait is waited for no longer than its own keys last.
LONGEST_WAIT = timedelta(hours=24)
_PRIVATE_FIELDS = ("parameters", "retry_context")
_RECEIPT_FIELDS = ("agent_id", "trace_id", "conversation_id", "status", "scheduled_for")


class FormantCreateCallOperator(BaseOperator):
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
    ``scheduled_for`` and ``placement``; and on keys of their own ``trace_id`` and ``conversation_id``
    (``None`` when the API gave none, as it does for most immediate calls). ``placement`` is ``placed``;
    ``found`` when an earlier try had placed the call and its ids were looked up; or ``unconfirmed`` when an
    earlier send used the key and no record of the call is there yet, as is usual while it lasts: the ids
    are ``None``.

    Vendor page: https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call

    :param agent_id: the agent that talks: an integer, or a template that renders to digits. (templated)
    :param parameters: what the agent is told: a mapping of names to values, or a list of
        ``{"name": ..., "value": ...}``. One of them is ``customer_phone``, the number to call, as E.164 text.
        Values become text: ``True`` is ``true``, numbers are written in decimals, dates and datetimes as
        ISO 8601. ``None`` and nested values are refused. Airflow shows the names and never the values.
        (templated)
    :param scheduled_for: when to call: an aware datetime, or ISO 8601 text with an offset; at most 30 days
        ahead. ``None`` means now. (templated)
    :param conversation_id: the conversation chain this call joins. ``None`` starts a new one. (templated)
    :param idempotency_key: a name for this call, such as a loan number and a date. Calls of one agent to one
        recipient with the same name are one call, whichever task, DAG or run asks for them. ``None`` means
        one call for each DAG run and task. What is sent is a UUID derived from it. (templated)
    :param metadata: opaque text that travels with the call; a mapping is encoded as JSON. ``None`` means
        none. (templated)
    :param retry_context: what an earlier attempt left: a mapping with any of ``collected_data`` (a mapping),
        ``retry_initial_message``, ``retry_language`` and ``retry_stage_id`` (text). Airflow shows the names
        and never the values. ``None`` means none. (templated)
    :param formant_conn_id: connection of type ``formant``. (templated)
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's region. (templated)
    :param on_unconfirmed: what the task does when the placement stays unconfirmed: ``"succeed"``, ``"fail"``
        (without retries) or ``"skip"``.
    :param lookup_timeout: how long to look for the record of a call that was placed already, in seconds or
        as a ``timedelta``.
    :param redial_on: outcomes after which a further try of this task (a retry, a clear) places a further call
        to the same recipient: any of ``no_answer``, ``busy``, ``failed``, ``unreachable``,
        ``socket_failure``, ``telephony_failed``. The new call joins the conversation and gets a
        ``retry_context`` from what the last one collected, unless one is given. Needs Airflow 3.3. Empty
        means that a further try never rings again.
    :param max_inline_wait: longest wait for the API's rate limit that holds a worker, in seconds or as a
        ``timedelta``. When the API asks for more, the task is deferred if ``deferrable``, and fails in a way
        that Airflow may retry if not.
    :param deferrable: whether to wait for the rate limit in the triggerer. ``None`` means Airflow's
        ``[operators] default_deferrable``.
    :raises ValueError: at parse time, for an option that cannot be meant.
    """

    template_fields: Sequence[str] = (
        "agent_id",
        "parameters",
        "scheduled_for",
        "conversation_id",
        "idempotency_key",
        "metadata",
        "retry_context",
        "formant_conn_id",
        "region",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json", "retry_context": "json"}
    ui_color = "#d9efe3"

    def __init__(
        self,
        *,
        agent_id: int | str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        scheduled_for: datetime | str | None = None,
        conversation_id: str | None = None,
        idempotency_key: str | None = None,
        metadata: str | Mapping[str, Any] | None = None,
        retry_context: Mapping[str, Any] | None = None,
        formant_conn_id: str = FormantHook.default_conn_name,
        region: str | None = None,
        on_unconfirmed: OnUnconfirmed = "succeed",
        lookup_timeout: float | timedelta = 30,
        redial_on: Collection[str] = (),
        max_inline_wait: float | timedelta = 30,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.agent_id = agent_id
        self.parameters = parameters
        self.scheduled_for = scheduled_for
        self.conversation_id = conversation_id
        self.idempotency_key = idempotency_key
        self.metadata = metadata
        self.retry_context = retry_context
        self.formant_conn_id = formant_conn_id
        self.region = region
        self.on_unconfirmed = one_of("on_unconfirmed", on_unconfirmed, get_args(OnUnconfirmed))
        self.lookup_timeout_s = seconds("lookup_timeout", lookup_timeout)
        self.redial_on = redial_outcomes(redial_on)
        self.max_inline_wait_s = seconds("max_inline_wait", max_inline_wait)
        default = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = default if deferrable is None else deferrable
        self._stopped = False
        self._give_up_at: datetime | None = None
        self._doubt_since: datetime | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Place the call and hand its ids downstream."""
        from formant_provider.api.errors import TryLater
        from formant_provider.failures import placing_a_call
        from formant_provider.state import earliest_send

        began = pendulum.now("UTC")
        with placing_a_call():
            try:
                placement = self._place(context)
            except TryLater as error:
                if error.maybe_placed:
                    self._doubt_since = self._doubt_since or earliest_send(context, began)
                if self.deferrable and (error.retry_after_s or 0) > self.max_inline_wait_s:
                    self._defer(error)
                raise
        return self._hand_on(placement, context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after the API's rate limit: from what is written down, as every try does."""
        self._give_up_at = datetime.fromisoformat(event["give_up_at"])
        if event.get("doubt_since"):
            self._doubt_since = datetime.fromisoformat(event["doubt_since"])
        return self.execute(context)

    def on_kill(self) -> None:
        """Send nothing more. A call that was sent cannot be taken back: the vendor has no cancel."""
        self._stopped = True
        self.log.warning("Stopping: no further send. A call that was sent already cannot be taken back.")

    def _place(self, context: Context) -> Placement:
        from formant_provider.api.placement import Rules, place
        from formant_provider.api.retry import RetryPolicy
        from formant_provider.state import announce, is_ours_alone, ledger_for, taken_since

        call = self._build_request(context)
        self._check_redial(context)
        own_name = self.idempotency_key is not None
        rules = Rules(
            taken_since=taken_since(context, own_name=own_name),
            lookup_timeout_s=self.lookup_timeout_s,
            now=lambda: pendulum.now("UTC"),
            sleep=time.sleep,
            redial_on=self.redial_on,
            is_ours_alone=lambda: not own_name and is_ours_alone(context, call.idempotency_key),
            keep_back=self._keep_back,
        )
        hook = FormantHook(self.formant_conn_id, self.region)
        with hook.get_conn(RetryPolicy(max_inline_wait_s=self.max_inline_wait_s)) as client:
            self._log_request(call, client.base_url)
            announce(context, call.idempotency_key)
            ledger = ledger_for(context, call.idempotency_key, self._doubt_since)
            return place(call, client, ledger, rules)

    def _check_redial(self, context: Context) -> None:
        if self.redial_on and context.get("task_state_store") is None:
            from formant_provider.api.errors import InvalidInput

            raise InvalidInput("redial_on", "needs the task state store of Airflow 3.3 or later")

    def _keep_back(self) -> FormantError | None:
        from formant_provider.api.errors import NotSent

        return NotSent("The task was stopped before this send") if self._stopped else None

    def _defer(self, error: FormantError) -> None:
        """Give the worker back until the API takes the call, unless we have waited long enough."""
        from formant_provider.triggers.wait import WaitTrigger

        now, wait = pendulum.now("UTC"), timedelta(seconds=error.retry_after_s or 0)
        give_up_at = self._give_up_at or now + LONGEST_WAIT
        if now + wait > give_up_at:
            return
        self.log.warning("%s. Going on at %s, without holding a worker.", error, now + wait)
        doubt_since = self._doubt_since.isoformat() if self._doubt_since else None
        self.defer(
            trigger=WaitTrigger((now + wait).isoformat(), give_up_at.isoformat(), doubt_since),
            method_name="execute_complete",
            timeout=wait + timedelta(hours=1),
        )

    def _build_request(self, context: Context) -> CallRequest:
        from formant_provider.api.request import build_request

        ti = context["ti"]
        return build_request(
            agent_id=self.agent_id,
            parameters=reveal(self.parameters),
            scheduled_for=self.scheduled_for,
            conversation_id=self.conversation_id,
            idempotency_key=self.idempotency_key,
            metadata=self.metadata,
            retry_context=reveal(self.retry_context),
            task=(ti.dag_id, ti.run_id, ti.task_id),
            now=pendulum.now("UTC"),
        )

    def _log_request(self, request: CallRequest, base_url: str) -> None:
        from formant_provider.api.inputs import in_known_range

        if not in_known_range(request.recipient):
            self.log.warning("customer_phone lies in no range known to be in use. It is called all the same.")
        self.log.info(
            "Asking %s for a call by agent %s, %s, with idempotency key %s.",
            base_url,
            request.agent_id,
            f"scheduled for {request.scheduled_for}" if request.scheduled_for else "now",
            request.idempotency_key,
        )

    def _hand_on(self, placement: Placement, context: Context) -> dict[str, Any]:
        from formant_provider.failures import end_unconfirmed

        receipt = placement.receipt
        if receipt is None:
            end_unconfirmed(self.on_unconfirmed)
        else:
            self.log.info(
                "The call is %s: status %s, trace_id %s, conversation_id %s.",
                placement.result,
                receipt.status,
                receipt.trace_id,
                receipt.conversation_id or "not given yet",
            )
        result = {name: getattr(receipt, name, None) for name in _RECEIPT_FIELDS}
        if self.do_xcom_push:
            for key in ("trace_id", "conversation_id"):
                context["ti"].xcom_push(key=key, value=result[key])
        return {**result, "placement": placement.result.value}

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render private fields apart, so that they are hidden before anyone sees them.

        Plain and mapped tasks both pass through here before Airflow stores what was rendered. Airflow logs
        a template that fails, with the values beside it; rendered here it does not.
        """
        if parent is self:
            for field in _PRIVATE_FIELDS:
                value = getattr(self, field)
                render = (
                    value if callable(value) else partial(self.render_template, value, seen_oids=seen_oids)
                )
                setattr(self, field, render(context=context, jinja_env=jinja_env))
            mask_numbers(self.parameters)
            for field in _PRIVATE_FIELDS:
                if getattr(self, field) is not None:  # Airflow 3.1 cannot store a Hidden that shows as None
                    setattr(self, field, Hidden(getattr(self, field)))
            template_fields = [field for field in template_fields if field not in _PRIVATE_FIELDS]
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
