"""From the checked rows of a list to calls. A row that is no call says why, and stops no other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from formant_provider.api.errors import InvalidInput
from formant_provider.core import validation
from formant_provider.core.call_lists.columns import Columns
from formant_provider.core.keys import key_for_list_name

INVALID = "invalid_input"
_LARGEST = 2**63 - 1


class Row(NamedTuple):
    """One row of a list as it was read.

    :param cells: those of its columns; ``None`` where nobody knows which cell is which.
    :param number: in E.164 if it can be called, otherwise the cell as it was.
    :param reason: why it cannot be called, in a word, if it cannot; ``detail`` says more.
    """

    row_number: int
    part: str | None
    number: str | None
    reason: str | None
    detail: str | None
    cells: Sequence[str] | None


class Wanted(NamedTuple):
    """What a row asks for.

    :param key: the idempotency key of its first attempt.
    :param has_own_name: whether the user named the call, so that others may ask for the same.
    :param asked: when it is to be called at the earliest, aware; ``None`` means from now on.
    """

    agent_id: int
    key: str
    has_own_name: bool
    parameters: tuple[tuple[str, str], ...]
    metadata: str | None
    asked: datetime | None


@dataclass(frozen=True)
class RowReader:
    """Reads what rows ask for.

    :param agent_for: returns the agent of a recipient; ``None``: each row names its own.
    :param key_for: returns the key of a recipient whose row has no name of its own.
    """

    columns: Columns
    agent_for: Callable[[str], int] | None
    key_for: Callable[[str], str]
    now: datetime

    def __post_init__(self) -> None:
        if self.agent_for is None and "agent_id" not in self.columns.roles:
            raise InvalidInput("agent_id", "is not given, and the list has no column agent_id")

    def wanted(self, row: Row) -> Wanted:
        """Return what a row asks for.

        :raises InvalidInput: it cannot be called; the error names the column.
        """
        cells, recipient = row.cells or (), str(row.number)
        given = {role: cells[place].strip() or None for role, place in self.columns.roles.items()}
        name = validation.to_optional_text("idempotency_key", given.get("idempotency_key"))
        own_agent = given.get("agent_id")
        agent_id = self._agent(recipient, own_agent)
        return Wanted(
            agent_id,
            # By whichever agent: whoever is given another one is not to be called a second time for that.
            self.key_for(recipient) if name is None else key_for_list_name(name=name, recipient=recipient),
            name is not None,
            tuple(self._parameters(recipient, cells)),
            given.get("metadata"),
            self._asked(given.get("scheduled_for")),
        )

    def _asked(self, text: str | None) -> datetime | None:
        asked = validation.to_scheduled_for(text, now=self.now)
        with suppress(OverflowError, ValueError):
            return None if asked is None else asked.astimezone(UTC)
        raise InvalidInput("scheduled_for", "lies outside of all calendars")

    def _parameters(self, recipient: str, cells: Sequence[str]) -> Iterator[tuple[str, str]]:
        for name, place in self.columns.parameters:
            yield name, recipient if place == self.columns.phone else cells[place]

    def reference_of(self, row: Row) -> str | None:
        """Return the user's own name of a row; ``None`` where there is none."""
        place = self.columns.roles.get("reference")
        return None if place is None or row.cells is None else row.cells[place].strip() or None

    def _agent(self, recipient: str, own: str | None) -> int:
        if own is not None:
            agent_id = validation.to_agent_id(own.removesuffix(".0"))  # integers beside a blank become floats
            if agent_id > _LARGEST:
                raise InvalidInput("agent_id", "is too large for one")
            return agent_id
        if self.agent_for is None:
            raise InvalidInput("agent_id", "is blank")
        return self.agent_for(recipient)
