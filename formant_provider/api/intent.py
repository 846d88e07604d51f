"""What makes two calls, or two batch calls, the same one, and what is remembered of it.

The idempotency key is derived and never random.

The vendor refuses a second POST /v1/call with the same key for 24 hours, per tenant and agent
(https://docs.formantai.com/api-reference/formant-ai-voice-api/calls/create-call). A key that is the same
in every try is therefore what keeps a phone from ringing twice. It takes no key for a batch call; there the
key is a mark to find it by.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self, TypeVar

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import FormantError, RequestRefused, TryLater
from formant_provider.api.evidence import Send
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


def key_for_batch(*, dag_id: str, run_id: str, task_id: str, agent_id: int, name: str | None) -> str:
    """Name the batch call of this task in this DAG run, as :func:`key_for_task` names its call.

    :param name: what tells the rows of a mapped list apart; ``None`` for a task that places one batch call
        alone. Then what its name was rendered to does not matter: a retry may render it otherwise.
    """
    return _key("batch", dag_id, run_id, task_id, agent_id, name)


def key_for_named_batch(*, name: str, agent_id: int) -> str:
    """Name a batch call by the user's own words, wherever it is asked for."""
    return _key("named batch", name, agent_id)


def key_for_iteration(*, key: str, iteration: int) -> str:
    """Name the call, or batch call, of one iteration of a loop (Airflow 3.4): each is one of its own.

    :param key: what it would have without the loop.
    :param iteration: counted from 0.
    """
    return _key("iteration", key, iteration)


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
class Remembered:
    """What the ledger holds of anything that rings. No number, no parameter, nothing that was said.

    :param key: names it, in every try.
    :param written_at: when it was first about to be sent, aware.
    :param sent: what became of that.
    :param receipt: the API's answer, once there is one.
    """

    key: str
    written_at: datetime
    sent: Sent = Sent.NEVER
    receipt: object | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same of: plain values."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote, now or in an earlier version.

        :raises Exception: of any kind, when it is something else.
        """
        return cls(entry["key"], datetime.fromisoformat(entry["written_at"]), Sent(entry["sent"]))


@dataclass(frozen=True)
class Intent(Remembered):
    """What the ledger holds of one call.

    :param key: the idempotency key that is sent.
    :param written_at: when this key was first about to be sent, aware.
    :param spent_keys: how many keys of this call the vendor used up by refusing.
    :param attempt: 1 for the call itself, more for redials.
    :param shared_since: when somebody else may have sent this key at the earliest, aware; ``None`` when
        nobody else can have sent it before we did.
    :param used_since: when somebody used this key at the earliest, aware; known once the vendor has said that
        it was used.
    :param redials: conversation that a redial follows and joins.
    :param sends: those that may have been accepted, as far as they are known.
    :param looked_at: when it was last looked for what others may have placed, and nothing was there, aware.
    :param earlier: ids of conversations with the recipient that were there before it was first sent.
    """

    receipt: CallReceipt | None = None
    spent_keys: int = 0
    attempt: int = 1
    shared_since: datetime | None = None
    used_since: datetime | None = None
    redials: str | None = None
    sends: tuple[Send, ...] = ()
    looked_at: datetime | None = None
    earlier: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same of: plain values."""
        sends = [send.to_json() for send in self.sends]
        return {**super().to_json(), "sends": sends, "earlier": list(self.earlier)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote; fields that came later may be missing."""
        receipt = entry.get("receipt")
        return cls(
            **vars(Remembered.from_json(entry))
            | {
                "receipt": CallReceipt.from_json(receipt) if receipt else None,
                "spent_keys": int(entry.get("spent_keys", 0)),
                "attempt": int(entry.get("attempt", 1)),
                "shared_since": _moment(entry.get("shared_since")),
                "used_since": _moment(entry.get("used_since")),
                "redials": entry.get("redials"),
                "sends": tuple(map(Send.from_json, entry.get("sends", ()))),
                "looked_at": _moment(entry.get("looked_at")),
                "earlier": tuple(entry.get("earlier", ())),
            }
        )

    def key_protects(self, now: datetime) -> bool:
        """Whether the vendor would still refuse a second call with this key."""
        return now - (self.used_since or self.written_at) < KEY_PROTECTS


@dataclass(frozen=True)
class BatchIntent(Remembered):
    """What the ledger holds of one batch call.

    :param key: its marker is made of it; it is not sent.
    """

    receipt: BatchCall | None = None

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote."""
        receipt = entry.get("receipt")
        known = {"receipt": BatchCall(**receipt) if receipt else None}
        return cls(**vars(Remembered.from_json(entry)) | known)


RememberedT = TypeVar("RememberedT", bound=Remembered)


class Ledger(Protocol[RememberedT]):
    """Remembers the intent of one call, or batch call, across tries.

    :ivar outlives: whether what is written outlives this process, and a process whose task was given to
        another one is told so when it writes.
    """

    outlives: bool

    def read(self) -> RememberedT | None:
        """Return what is known, ``None`` when nothing is."""

    def write(self, intent: RememberedT) -> None:
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


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
