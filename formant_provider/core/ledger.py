"""What a ledger is: it remembers what was about to be sent, and what became of that, across tries."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol, Self, TypeVar

from formant_provider.api.errors import FormantError, RequestRefused, RetryableError
from formant_provider.api.retry import is_unclear

log = logging.getLogger(__name__)

T = TypeVar("T")
Readers = Mapping[str, Callable[[Any], Any]]


class Sent(StrEnum):
    """What became of all sends of one key, as far as is known."""

    NEVER = "never"
    REFUSED = "refused"
    UNCLEAR = "unclear"


def from_plain(kind: type[T], entry: Mapping[str, Any], readers: Readers) -> T:
    """Return the dataclass that was written as plain values; a field that is missing has its default."""
    known = {name: value for name, value in entry.items() if name in vars(kind)["__dataclass_fields__"]}
    to_read = {name: value for name, value in known.items() if name in readers and value is not None}
    return kind(**known | {name: readers[name](value) for name, value in to_read.items()})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else vars(value)


@dataclass(frozen=True)
class BaseIntent:
    """What the ledger holds of a call, or of a batch call: no number, no parameter, nothing that was said.

    :param key: names it, in every try.
    :param written_at: when it was first about to be sent, aware.
    :param receipt: the API's answer, once there is one.
    """

    # What it is, and what its receipt is, in words for people.
    WORDS: ClassVar[tuple[str, str]] = ("intent to call", "receipt of a call that was placed")
    READERS: ClassVar[Readers] = {"written_at": datetime.fromisoformat, "sent": Sent}

    key: str
    written_at: datetime
    sent: Sent = Sent.NEVER
    receipt: object | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` makes the same of: plain values."""
        plain: dict[str, Any] = json.loads(json.dumps(vars(self), default=_plain))
        return plain

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        :raises Exception: of any kind, when it is something else.
        """
        return from_plain(cls, entry, cls.READERS)


IntentT = TypeVar("IntentT", bound=BaseIntent)


class Ledger(Protocol[IntentT]):
    """Remembers the intent of one call, or batch call, across tries.

    Whatever stores it has to pass the tests of ``tests/support/ledger_contract.py``.

    :ivar is_durable: whether what is written outlives this process, and a process whose task was given to
        another one is told so when it writes.
    :ivar is_guess: whether what was read last is a guess: nothing follows from it but a claim, which tells.
    :ivar is_of_others: whether what was read last was first asked for by another task, or by another row.
    """

    is_durable: bool
    is_guess: bool
    is_of_others: bool

    def read(self) -> IntentT | None:
        """Return what is known, ``None`` when nothing is."""

    def ids_of_others(self) -> Collection[str]:
        """Return trace ids and conversations that are known to be of other calls to the same person.

        :raises FormantError: they cannot be read.
        """

    def claim(self, intent: IntentT) -> None:
        """Remember that this may be sent from now on; committed when it returns.

        :raises Superseded: somebody has written something else since it was read, and it is to be read again.
        :raises NotAdmitted: the ledger holds that this person is not to be called, or not now.
        :raises FormantError: it cannot be written, so nothing may be sent.
        """

    def write(self, intent: IntentT) -> None:
        """Remember; committed when it returns.

        :raises FormantError: it cannot be written, so nothing may be sent.
        """


def outcome_of(before: Sent, errors: Iterable[FormantError]) -> Sent:
    """Return what became of all sends, with these: no refusal of one clears up a doubt about another."""
    errors = list(errors)
    if before is Sent.UNCLEAR or any(map(is_unclear, errors)):
        return Sent.UNCLEAR
    if any(isinstance(error, RetryableError | RequestRefused) for error in errors):
        return Sent.REFUSED
    return before


def note(ledger: Ledger[IntentT], intent: IntentT) -> None:
    """Write what is good to know, but no condition for sending."""
    try:
        ledger.write(intent)
    except FormantError as error:
        log.warning("%s. The next try will ask the API instead.", error)


def write_doubt(
    ledger: Ledger[IntentT], intent: IntentT, check: Callable[[], FormantError | None] | None
) -> FormantError | None:
    """Write that this may have been sent, right before it is; return what aborts the send.

    From here on the process may die at any moment. And a process whose task was given to another one is told
    so by this write alone.

    :param check: asked last, since a task may be stopped while it writes.
    """
    try:
        ledger.claim(intent)
    except FormantError as error:
        return error
    return check() if check else None
