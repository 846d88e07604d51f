"""What a ledger is: it remembers what was about to be sent, and what became of that, across tries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self, TypeVar

from formant_provider.api.errors import FormantError, RequestRefused, RetryableError
from formant_provider.api.retry import is_unclear


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

        :raises SendAborted: it cannot be written, so nothing may be sent.
        """


def became_of(before: Sent, errors: Iterable[FormantError]) -> Sent:
    """Add what these sends came to: a doubt outlives every refusal."""
    errors = list(errors)
    if before is Sent.UNCLEAR or any(map(is_unclear, errors)):
        return Sent.UNCLEAR
    if any(isinstance(error, RetryableError | RequestRefused) for error in errors):
        return Sent.REFUSED
    return before
