"""One phone call, declared in a DAG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pendulum
from airflow.providers.common.compat.sdk import BaseOperator

from formant_provider.hooks.formant import FormantHook
from formant_provider.privacy import Hidden, mask_numbers, reveal

if TYPE_CHECKING:
    from datetime import datetime

    import jinja2
    from airflow.sdk import Context

    from formant_provider.api.models import CallReceipt, CallRequest

_PRIVATE_FIELDS = ("parameters", "retry_context")


class FormantCreateCallOperator(BaseOperator):
    """Place one phone call through a FormantAI Voice agent.

    The call is placed at most once for each DAG run, task, agent and recipient, however often the task is
    tried within 24 hours: every try sends the same idempotency key, and the vendor refuses a second use.

    Bad input, and what the API refuses for good (400, 401, 404, 409), fails the task at once without
    retries. What may pass (429, 5xx, lost connections) is sent again with the same key, four times in all
    with at most a minute of pauses, and then fails the task in a way that Airflow may retry.

    XCom: ``return_value``, a dict of ``agent_id``, ``trace_id``, ``conversation_id``, ``status`` and
    ``scheduled_for``; and on keys of their own ``trace_id`` and ``conversation_id`` (``None`` when the API
    gave none, as it does for most immediate calls).

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

    def execute(self, context: Context) -> dict[str, Any]:
        """Place the call and hand its ids downstream."""
        from formant_provider.failures import placing_a_call

        with placing_a_call():
            request = self._build_request(context)
            with FormantHook(self.formant_conn_id, self.region).get_conn() as client:
                self._log_request(request, client.base_url)
                receipt = client.create_call(request)
        return self._hand_on(receipt, context)

    def _build_request(self, context: Context) -> CallRequest:
        from formant_provider.api import inputs, intent
        from formant_provider.api.models import CallRequest

        agent_id = inputs.to_agent_id(self.agent_id)
        parameters = inputs.to_parameters(reveal(self.parameters))
        recipient = dict(parameters)["customer_phone"]
        name = inputs.to_optional_text("idempotency_key", self.idempotency_key)
        ti = context["ti"]
        return CallRequest(
            agent_id=agent_id,
            parameters=parameters,
            scheduled_for=inputs.to_scheduled_for(self.scheduled_for, now=pendulum.now("UTC")),
            conversation_id=inputs.to_optional_text("conversation_id", self.conversation_id),
            idempotency_key=(
                intent.key_for_name(name=name, agent_id=agent_id, recipient=recipient)
                if name is not None
                else intent.key_for_task(
                    dag_id=ti.dag_id,
                    run_id=ti.run_id,
                    task_id=ti.task_id,
                    agent_id=agent_id,
                    recipient=recipient,
                )
            ),
            metadata=inputs.to_metadata(self.metadata),
            retry_context=inputs.to_retry_context(reveal(self.retry_context)),
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

    def _hand_on(self, receipt: CallReceipt, context: Context) -> dict[str, Any]:
        self.log.info(
            "The call was accepted: status %s, trace_id %s, conversation_id %s.",
            receipt.status,
            receipt.trace_id,
            receipt.conversation_id or "not given yet",
        )
        if self.do_xcom_push:
            context["ti"].xcom_push(key="trace_id", value=receipt.trace_id)
            context["ti"].xcom_push(key="conversation_id", value=receipt.conversation_id)
        return {
            "agent_id": receipt.agent_id,
            "trace_id": receipt.trace_id,
            "conversation_id": receipt.conversation_id,
            "status": receipt.status,
            "scheduled_for": receipt.scheduled_for,
        }

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render private fields apart, so that they are hidden before anyone sees them.

        This is the one place that plain and mapped tasks both pass through before Airflow stores what was
        rendered. When a template fails, Airflow logs the whole of it, values beside the template included;
        rendered here it does not.
        """
        if parent is self:
            for field in _PRIVATE_FIELDS:
                value = getattr(self, field)
                if callable(value):
                    value = value(context=context, jinja_env=jinja_env)
                setattr(self, field, self.render_template(value, context, jinja_env, seen_oids))
            mask_numbers(self.parameters)
            for field in _PRIVATE_FIELDS:
                setattr(self, field, Hidden(getattr(self, field)))
            template_fields = [field for field in template_fields if field not in _PRIVATE_FIELDS]
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
