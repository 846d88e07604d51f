"""What the store holds of one call, or batch call: a row, made of who asked and of the core's intent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from formant_provider.api.batch_models import BatchCall
from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import CallReceipt
from formant_provider.core.calls.intent import Intent
from formant_provider.core.keys import key_of
from formant_provider.core.ledger import BaseIntent, Sent
from formant_provider.core.numbers.in_text import may_hold_number
from formant_provider.store.schema import DIGEST_LENGTH, NAME_LENGTH
from formant_provider.store.store import to_ms

if TYPE_CHECKING:
    from formant_provider.store.secrets import Digests

IntentT = TypeVar("IntentT", bound=BaseIntent)

_LARGEST = 2**63 - 1
CALL, BATCH_CALL = "call", "batch_call"
PLACED = "placed"
# States of a row in which its calls may have been placed.
COUNTED = (Sent.UNCLEAR.value, PLACED)
# Columns that a process at work on a call writes.
CHANGING = ("state", "call_at", "trace_id", "conversation_id", "batch_id", "intent", "try_number",
            "sending_by", "sending_until", "version")  # fmt: skip
# Columns that say who is at work on a row, and nothing of what happened.
_OF_WORK = ("sending_by", "sending_until", "version")


def fitting(name: str) -> str:
    """Return a name that every database takes: one that they do not take ends in a digest of it."""
    plain = _plain(name)
    if plain == name and len(name) <= NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]
    return f"{plain[: NAME_LENGTH - DIGEST_LENGTH - 1]}~{digest}"


@dataclass(frozen=True)
class Asked:
    """What was asked for, and by whom. Names of Airflow's are made to fit: see :func:`fitting`.

    :param key: the idempotency key of the first attempt.
    :param recipient: the number, E.164; ``None`` for a batch call. Neither of the two is stored.
    :param map_index: the row of a mapped task; -1 of another.
    :param asked_by: who started the run, in a word.
    :param account: digest of the account that the call is placed with.
    :param knew_all: whether the store then knew of all that this row of the task had asked for before.
    :raises InvalidInput: no database can hold the agent, or the reference.
    """

    key: str
    agent_id: int
    recipient: str | None
    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    reference: str | None = None
    asked_by: str | None = None
    account: str | None = None
    knew_all: bool = False

    def __post_init__(self) -> None:
        if self.agent_id > _LARGEST:
            raise InvalidInput("agent_id", "is larger than the call store can hold")
        if self.reference is not None and _plain(self.reference) != self.reference:
            raise InvalidInput("reference", "holds a character that databases refuse, such as NUL")
        for name in ("dag_id", "run_id", "task_id", "asked_by"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, fitting(value))

    @property
    def place(self) -> tuple[str, str, str, int]:
        """The task, and the row of it."""
        return self.dag_id, self.run_id, self.task_id, self.map_index


def kind_of(asked: Asked) -> str:
    """Return whether a call was asked for, or a batch call."""
    return BATCH_CALL if asked.recipient is None else CALL


def first_row(asked: Asked, digests: Digests, *, now: datetime) -> dict[str, Any]:
    """Return the columns of a new row that never change."""
    return {
        "id": digests.idempotency_key(asked.key),
        "kind": kind_of(asked),
        "agent_id": asked.agent_id,
        "recipient": None if asked.recipient is None else digests.recipient(asked.recipient),
        "dag_id": asked.dag_id,
        "run_id": asked.run_id,
        "task_id": asked.task_id,
        "map_index": asked.map_index,
        "reference": None if asked.reference is None else str(asked.reference),
        "asked_by": asked.asked_by,
        "account": asked.account,
        "asked_at": to_ms(now),
        "knew_all": asked.knew_all,
        "outcome": None,
        "outcome_at": None,
        "version": 0,
    }


def columns_of(intent: BaseIntent, people: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the columns that tell what is known of a call now.

    :param people: of a batch call: how many, and the digest of who they are.
    """
    plain = intent.to_json()
    del plain["key"]
    if people is not None:
        plain["people"] = dict(people)
    if isinstance(intent.receipt, BatchCall) and may_hold_number(intent.receipt.name or ""):
        plain["receipt"]["name"] = None  # nothing depends on it, and the id is there
    return {
        "state": intent.sent.value if intent.receipt is None else PLACED,
        "call_at": to_ms(call_at(intent)),
        **_ids_of(_last_receipt(intent)),
        "intent": json.dumps(plain, sort_keys=True, separators=(",", ":")),
    }


def intent_of(row: Mapping[str, Any], kind: type[IntentT], first_key: str) -> IntentT:
    """Return the intent that a row holds.

    :param first_key: the idempotency key of the first attempt, which the row does not tell.
    """
    plain = json.loads(row["intent"])
    attempt, spent = plain.get("attempt", 1), plain.get("spent_keys", 0)
    return kind.from_json({**plain, "key": key_of(first=first_key, attempt=attempt, spent=spent)})


def people_in(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how many people a batch call is to, and the digest of who they are, once that is known."""
    people: dict[str, Any] | None = json.loads(row["intent"]).get("people")
    return people


def call_at(intent: BaseIntent) -> datetime:
    """Return when the person is called, as far as that is known."""
    if not isinstance(intent, Intent):
        return intent.written_at
    if intent.receipt is not None and (known := intent.called_at or intent.receipt.scheduled_at):
        return known
    if intent.sends:
        last = intent.sends[-1]
        # At the latest: two calls must not be closer than a cap says because one of them was slow.
        return last.scheduled_for or last.ended_at or last.at
    return intent.called_at or intent.written_at


def vouched(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a row that its events tell."""
    return {name: value for name, value in row.items() if name not in _OF_WORK}


def as_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a row what the chain of events keeps: all but who is at work on it."""
    kept = vouched(row)
    people = people_in(row) if row["kind"] == BATCH_CALL else None
    return kept if people is None else {**kept, "people": people}


def attempt_of(intent: BaseIntent) -> int:
    """Return which attempt of the call this is; a batch call has one."""
    return intent.attempt if isinstance(intent, Intent) else 1


def _plain(text: str) -> str:
    """Return a text without half of a surrogate pair, which no database takes, and NUL, which some refuse."""
    return text.encode(errors="replace").decode().replace("\x00", "?")


def _last_receipt(intent: BaseIntent) -> object | None:
    """Return the newest receipt: while a redial is not sent, that of the call before it."""
    if isinstance(intent, Intent) and intent.receipt is None and intent.sent is not Sent.UNCLEAR:
        return intent.last_receipt
    return intent.receipt


def _ids_of(receipt: object) -> dict[str, Any]:
    trace_id = conversation_id = batch_id = None
    if isinstance(receipt, CallReceipt):
        trace_id = receipt.trace_id and fitting(receipt.trace_id)
        conversation_id = receipt.conversation_id and fitting(receipt.conversation_id)
    elif isinstance(receipt, BatchCall):
        batch_id = receipt.batch_id if receipt.batch_id <= _LARGEST else None
    return {"trace_id": trace_id, "conversation_id": conversation_id, "batch_id": batch_id}
