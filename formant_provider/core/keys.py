"""Idempotency keys: derived from what makes two calls, or two batch calls, the same one; never random.

The vendor refuses a second POST /v1/call with the same key for 24 hours, per tenant and agent
(https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call). A key that is the same
in every try therefore keeps a person from being called twice. A batch call takes no key; there it is a mark
by which the batch call is found again.
"""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

# The vendor forgets a key after 24 hours; a little less, since its clock is not ours.
KEY_PROTECTS = timedelta(hours=23, minutes=55)
# Changing this value changes every key: tasks that are retried during an upgrade would place a second call.
_NAMESPACE = uuid.UUID("6a3f0d1e-52f4-5b0b-9d55-0c1f6f2b8c77")


def key_for_task(*, dag_id: str, run_id: str, task_id: str, agent_id: int, recipient: str) -> str:
    """Name the one call of this task to this recipient in this DAG run.

    Neither the try number is in it, since a retry means the same call, nor the map index, since a mapped
    list may come back in another order.
    """
    return _key("task", dag_id, run_id, task_id, agent_id, recipient)


def key_for_name(*, name: str, agent_id: int, recipient: str) -> str:
    """Name a call by the user's own words (a loan, a date), wherever it is asked for.

    Agent and recipient are part of it: a name shared by a mapped list must not make one call out of many.
    """
    return _key("name", name, agent_id, recipient)


def key_for_list(*, dag_id: str, run_id: str, task_id: str, recipient: str) -> str:
    """Name the call of a call list to this recipient in this DAG run.

    The agent is not in it: whoever is given another one, by an experiment or by a corrected file, is not to
    be called a second time for that.
    """
    return _key("list", dag_id, run_id, task_id, recipient)


def key_for_list_name(*, name: str, recipient: str) -> str:
    """Name a call of call lists by the user's own words, whichever list and agent it is of."""
    return _key("list name", name, recipient)


def key_for_batch(*, dag_id: str, run_id: str, task_id: str, agent_id: int, name: str | None) -> str:
    """Name the batch call of this task in this DAG run, as :func:`key_for_task` names its call.

    :param name: what tells the rows of a mapped list apart. ``None`` for a task that places one batch call
        alone, since a retry may render its name otherwise.
    """
    return _key("batch", dag_id, run_id, task_id, agent_id, name)


def key_for_named_batch(*, name: str, agent_id: int) -> str:
    """Name a batch call by the user's own words, wherever it is asked for."""
    return _key("named batch", name, agent_id)


def key_for_transcription(*, dag_id: str, run_id: str, task_id: str, audio: str, name: str | None) -> str:
    """Name the transcription job of this task in this DAG run.

    :param audio: the URI of the file. Another file is another job, in another row as after a correction.
    :param name: the user's own word for it, which is another one where the audio is to be transcribed again.
    """
    return _key("transcription", dag_id, run_id, task_id, audio, name)


def key_for_iteration(*, key: str, iteration: int) -> str:
    """Name the call, or batch call, of one iteration of a loop (Airflow 3.4), counted from 0."""
    return _key("iteration", key, iteration)


def key_for_redial(*, key: str, attempt: int) -> str:
    """Name a further call that was asked for on purpose, counted from 2; 1 is the call itself."""
    return _key("redial", key, attempt)


def key_after_refusals(*, key: str, spent: int) -> str:
    """Name the same call again, after the vendor refused it and counted so many of its keys as used."""
    return _key("refused", key, spent)


def key_of(*, first: str, attempt: int, spent: int) -> str:
    """Return the key of one attempt of a call, after so many of its keys were used up.

    :param first: the key of the first attempt.
    """
    key = first if attempt == 1 else key_for_redial(key=first, attempt=attempt)
    return key_after_refusals(key=key, spent=spent) if spent else key


def _key(*parts: object) -> str:
    # JSON keeps ("a", "bc") and ("ab", "c") apart.
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))
