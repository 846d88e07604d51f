"""From the fields a user fills in to one complete, checked request."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from formant_provider.api.models import PHONE_PARAMETER, CallRequest
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
    agent = validation.to_agent_id(agent_id)
    pairs = validation.to_parameters(parameters, default_country, renumber=renumber)
    whom: dict[str, Any] = {"agent_id": agent, "recipient": dict(pairs)[PHONE_PARAMETER]}
    name, (dag_id, run_id, task_id) = validation.to_optional_text("idempotency_key", idempotency_key), task
    if name is not None:
        key = key_for_name(name=name, **whom)
    else:
        key = key_for_task(dag_id=dag_id, run_id=run_id, task_id=task_id, **whom)
    return CallRequest(
        agent_id=agent,
        parameters=pairs,
        idempotency_key=key,
        scheduled_for=validation.to_scheduled_for(scheduled_for, now=now),
        conversation_id=validation.to_optional_text("conversation_id", conversation_id),
        metadata=validation.to_metadata(metadata),
        retry_context=validation.to_retry_context(retry_context),
    )
