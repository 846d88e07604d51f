"""What makes two calls the same call, and what is remembered of one.

The idempotency key is derived and never random.

The vendor refuses a second POST /v1/call with the same key for 24 hours, per tenant and agent
(https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call). A key that is the same
in every try is therefore what keeps a phone from ringing twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from formant_provider.api.errors import FormantError, RequestRefused, TryLater
from formant_provider.api.models import CallReceipt
from formant_provider.api.retry import is_unclear

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


def key_for_redial(*, key: str, attempt: int) -> str:
    """Name a further call that was asked for on purpose.

    :param key: of the call that is called again.
    :param attempt: counted from 2; 1 is the call itself.
    """
    return _key("redial", key, attempt)


def key_after_refusals(*, key: str, spent: int) -> str:
    """Name the same call again, after the vendor refused it and counted its key as used.

    :param key: of the call when it was first sent.
    :param spent: how many keys were used up so.
    """
    return _key("refused", key, spent)


def _key(*parts: object) -> str:
    # JSON keeps ("a", "bc") and ("ab", "c") apart.
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))


# The vendor forgets a key after 24 hours; a little less, since its clock is not ours.
KEY_PROTECTS = timedelta(hours=23, minutes=55)


class Sent(StrEnum):
    """What became of all sends of one key, as far as is known."""

    NEVER = "never"
    REFUSED = "refused"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Intent:
    """What the ledger holds of one call. No number, no parameter, nothing that was said.

    :param key: the idempotency key that is sent.
    :param written_at: when this key was first about to be sent, aware.
    :param sent: what became of it.
    :param spent_keys: how many keys of this call the vendor used up by refusing.
    :param attempt: 1 for the call itself, more for redials.
    :param shared_since: when somebody else may have sent this key at the earliest, aware; ``None`` when
        nobody else can have sent it before we did.
    :param used_since: when somebody used this key at the earliest, aware; known once the vendor has said that
        it was used.
    :param redials: conversation that a redial follows and joins.
    :param receipt: the API's answer, once there is one.
    """

    key: str
    written_at: datetime
    sent: Sent = Sent.NEVER
    spent_keys: int = 0
    attempt: int = 1
    shared_since: datetime | None = None
    used_since: datetime | None = None
    redials: str | None = None
    receipt: CallReceipt | None = None

    def key_protects(self, now: datetime) -> bool:
        """Whether the vendor would still refuse a second call with this key."""
        return now - (self.used_since or self.written_at) < KEY_PROTECTS


class Ledger(Protocol):
    """Remembers the intent of one call across tries."""

    def read(self) -> Intent | None:
        """Return what is known, ``None`` when nothing is."""

    def write(self, intent: Intent) -> None:
        """Remember; committed when it returns.

        :raises NotSent: it cannot be written, so nothing may be sent.
        """


def became_of(before: Sent, errors: Iterable[FormantError]) -> Sent:
    """Add what these sends came to: a doubt outlives every refusal."""
    errors = list(errors)
    if before is Sent.UNCLEAR or any(map(is_unclear, errors)):
        return Sent.UNCLEAR
    if any(isinstance(error, TryLater | RequestRefused) for error in errors):
        return Sent.REFUSED
    return before
