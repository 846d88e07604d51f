"""Which column of a list is what: the number, what the list goes by, and what the agent is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import PHONE_PARAMETER

# What a list goes by, besides the number. A column of such a name is no parameter of the call.
ROLES = ("reference", "agent_id", "scheduled_for", "idempotency_key", "metadata")


@dataclass(frozen=True)
class Columns:
    """The columns of one list, found by their names.

    :param names: all of them, in their order.
    :param chosen: for a role the name of its column, where that is another one; ``None``: there is none, and
        a column of the role's own name is a parameter.
    :param kept: columns that are kept in the results, under their own names.
    """

    names: Sequence[str]
    chosen: Mapping[str, str | None] = field(default_factory=dict)
    kept: Sequence[str] = ()

    def __post_init__(self) -> None:
        named = [("columns", name) for name in self.chosen.values() if name is not None]
        for option, name in [*named, *(("keep_columns", name) for name in self.kept)]:
            if name not in self.names:
                shown = f" {name}" if name.isidentifier() else ", which is one of them"
                raise InvalidInput(option, f"the list has no column{shown}")

        self._refuse_other_writings()

    def _refuse_other_writings(self) -> None:
        """Refuse a column that is called as a role is, but for its writing: it would be a parameter."""
        taken = {*self.roles.keys(), *self.chosen}
        for name in self.names:
            role = name.strip().casefold().replace(" ", "_").replace("-", "_")
            if role in ROLES and role not in taken:
                raise InvalidInput(
                    "columns",
                    f"the list has a column {name}: say what it is, with columns={{{role!r}: {name!r}}}, or"
                    f" with {{{role!r}: None}} if it is a parameter",
                )

    @property
    def roles(self) -> Mapping[str, int]:
        """The place of the column of each role that there is."""
        found = {role: self.chosen.get(role, role) for role in ROLES}
        return {role: self.names.index(name) for role, name in found.items() if name in self.names}

    @property
    def parameters(self) -> Sequence[tuple[str, int]]:
        """Name and place of each parameter, the number among them."""
        taken = set(self.roles.values())
        return [(name, place) for place, name in enumerate(self.names) if place not in taken]

    @property
    def phone(self) -> int:
        """The place of the column of numbers."""
        return list(self.names).index(PHONE_PARAMETER)

    def kept_of(self, cells: Sequence[str]) -> dict[str, str]:
        """Return the cells of a row that are kept."""
        return {name: cells[list(self.names).index(name)] for name in self.kept}
