"""What makes two calls the same call: the idempotency key, derived and never random.

The vendor refuses a second POST /v1/call with the same key for 24 hours, per tenant and agent
(https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call). A key that is the same
in every try is therefore what keeps a phone from ringing twice.
"""

from __future__ import annotations

import json
import uuid

# Changing this value changes every key: tasks that are being retried during an upgrade would ring again.
_NAMESPACE = uuid.UUID("6a3f0d1e-52f4-5b0b-9d55-0c1f6f2b8c77")


def key_for_task(*, dag_id: str, run_id: str, task_id: str, agent_id: int, recipient: str) -> str:
    """Name the one call of this task to this recipient in this DAG run.

    Neither the try number is in it, since a retry means the same call, nor the map index, since a mapped
    list may come back in another order.
    """
    return _key("task", dag_id, run_id, task_id, agent_id, recipient)


def key_for_name(*, name: str, agent_id: int, recipient: str) -> str:
    """Name a call by the user's own words (a loan, a date), wherever it is asked for.

    Agent and recipient are part of it all the same: a name shared by a mapped list must not make
    one call out of many.
    """
    return _key("name", name, agent_id, recipient)


def _key(*parts: object) -> str:
    # JSON keeps ("a", "bc") and ("ab", "c") apart.
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))
