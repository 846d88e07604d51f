"""From the fields a user fills in to one complete, checked request."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import CallRequest
from formant_provider.core import validation
from formant_provider.core.keys import key_for_name, key_for_task


def build_request(
    *,
    agent_id: Any,
    parameters: Any,
    scheduled_for: Any,
    conversation_id: Any,
    idempotency_key: Any,
    metadata: Any,
    retry_context: Any,
    task: tuple[str, str, str],
    now: datetime,
    default_country: str | None = None,
    renumber: bool = False,
) -> CallRequest:
    """Check every field of the operator, rendered, and derive the idempotency key.

    :param task: DAG id, run id and task id: what names the call when the user does not.
    :param default_country: where a recipient is from that is written without a country code.
    :param renumber: whether a recipient of an old numbering plan is called under the number of today.
    :raises InvalidInput: with the name of the field at fault.
    """
    request = _checked(
        agent_id=agent_id,
        parameters=validation.to_parameters(parameters, default_country, renumber=renumber),
        scheduled_for=scheduled_for,
        conversation_id=conversation_id,
        metadata=metadata,
        retry_context=retry_context,
        now=now,
    )
    whom: dict[str, Any] = {"agent_id": request.agent_id, "recipient": request.recipient}
    name, (dag_id, run_id, task_id) = validation.to_optional_text("idempotency_key", idempotency_key), task
    if name is not None:
        key = key_for_name(name=name, **whom)
    else:
        key = key_for_task(dag_id=dag_id, run_id=run_id, task_id=task_id, **whom)
    return replace(request, idempotency_key=key)


def keyed_request(*, parameters: Any, idempotency_key: Any, now: datetime, **fields: Any) -> CallRequest:
    """Check the fields of a call, by the vendor's names, that is sent with the user's own key as it is.

    :raises InvalidInput: with the name of the field at fault.
    """
    key = validation.to_optional_text("idempotency_key", idempotency_key)
    if key is None:
        raise InvalidInput("idempotency_key", "is missing: it keeps the call from being placed twice")
    request = _checked(parameters=validation.to_parameters(parameters), now=now, **fields)
    validation.refuse_past(request.scheduled_for, now=now)
    return replace(request, idempotency_key=key)


def _checked(
    *,
    agent_id: Any,
    parameters: tuple[tuple[str, str], ...],
    scheduled_for: Any,
    conversation_id: Any,
    metadata: Any,
    retry_context: Any,
    now: datetime,
) -> CallRequest:
    """Return a request whose fields are all checked, and whose key is still to come."""
    return CallRequest(
        agent_id=validation.to_agent_id(agent_id),
        parameters=parameters,
        idempotency_key="",
        scheduled_for=validation.to_scheduled_for(scheduled_for, now=now),
        conversation_id=validation.to_optional_text("conversation_id", conversation_id),
        metadata=validation.to_metadata(metadata),
        retry_context=validation.to_retry_context(retry_context),
    )
