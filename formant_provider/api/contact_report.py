"""Says what was found in a campaign's contacts: counts, row numbers, columns and reasons, never a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_EXAMPLES = 10
# What a cell is reported as that a spreadsheet would take for one.
FORMULA = "formula"
# The way out when a number can be read in two ways.
WHICH_READING = (
    'Put a plus sign before the country code, or say numbers="national" or numbers="e164_without_plus"'
)


class Reason(StrEnum):
    """Why a contact is not called. The first that applies, in this order, is the one that counts."""

    WRONG_WIDTH = "wrong_width"
    NO_NUMBER = "no_number"
    NOT_E164 = "not_e164"
    IMPOSSIBLE_NUMBER = "impossible_number"
    AMBIGUOUS_NUMBER = "ambiguous_number"
    SUPPRESSED = "suppressed"
    BLANK_VARIABLE = "blank_variable"
    DUPLICATE = "duplicate"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.WRONG_WIDTH: "The row has more or fewer cells than the header.",
    Reason.NO_NUMBER: "There is no number to call.",
    Reason.NOT_E164: "The number is not E.164 (a plus sign, the country code, digits only), or, with"
    " default_region, not one number as people write it: no decimal, extension, second number or letter.",
    Reason.IMPOSSIBLE_NUMBER: "The number has an unknown country code, or a length no number there has.",
    Reason.AMBIGUOUS_NUMBER: f"The number can be read in two ways, as two phones. {WHICH_READING}.",
    Reason.SUPPRESSED: "The number is on the do-not-call list.",
    Reason.BLANK_VARIABLE: "A variable that the agent needs is blank.",
    Reason.DUPLICATE: "An earlier row calls the same number.",
}


@dataclass(frozen=True)
class Problem:
    """What is the matter with a row.

    :param row: its number. A file is counted as a spreadsheet counts it, so that its header is row 1;
        without a header the first contact is row 1.
    :param reason: a :class:`Reason`, or ``FORMULA``.
    :param column: the column at fault; ``None`` when it is that of the number, or no single one.
    :param note: what there is to say of this row alone, without a value.
    :param part: the name of the file it is in, when the contacts are in several.
    """

    row: int
    reason: str
    column: str | None = None
    note: str | None = None
    part: str | None = None

    @property
    def detail(self) -> str:
        """The reason in words, with the column."""
        parts = [Reason(self.reason).sentence]
        parts += [f"Column: {self.column}"] if self.column else []
        parts += [f"Here: {self.note}."] if self.note else []
        return " ".join(parts)

    def __str__(self) -> str:
        more = (f" {self.column}" if self.column else "") + (f": {self.note}" if self.note else "")
        part = f"{self.part} " if self.part else ""
        return f"{part}row {self.row} ({self.reason}{more})"


@dataclass(frozen=True)
class ContactReport:
    """What became of a campaign's contacts.

    :param total: contacts that were read. Rows without anything in them are none.
    :param accepted: contacts that can be called.
    :param by_reason: contacts that cannot, by :class:`Reason`.
    :param problems: the first of those.
    :param formulas: cells of accepted contacts that a spreadsheet would take for a formula. They go out as
        they are.
    :param formula_examples: the first of those.
    :param rewritten: accepted numbers that had to be brought into E.164, or into its one spelling.
    :param do_not_call: how many numbers the do-not-call list had; ``None``: there was none.
    """

    total: int = 0
    accepted: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    formulas: int = 0
    formula_examples: tuple[Problem, ...] = ()
    rewritten: int = 0
    do_not_call: int | None = None

    @property
    def rejected(self) -> int:
        """How many contacts cannot be called."""
        return self.total - self.accepted

    @property
    def invalid(self) -> int:
        """How many contacts cannot be called for another reason than that nobody is to call them."""
        return self.rejected - self.suppressed

    @property
    def duplicates(self) -> int:
        """How many contacts repeat the number of an accepted one."""
        return self.by_reason.get(Reason.DUPLICATE, 0)

    @property
    def suppressed(self) -> int:
        """How many contacts are on the do-not-call list."""
        return self.by_reason.get(Reason.SUPPRESSED, 0)

    def counts(self) -> dict[str, Any]:
        """Return the numbers alone, as plain data."""
        return {
            "total": self.total,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "by_reason": dict(self.by_reason),
            "formulas": self.formulas,
            "rewritten": self.rewritten,
        }

    def summary(self) -> str:
        """Return what is wrong with the rejected contacts, in a sentence for a log or an error."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.by_reason.items())
        first = ", ".join(str(problem) for problem in self.problems)
        text = f"{self.rejected} of {self.total} cannot be called: {reasons}; the first are {first}"
        return f"{text}. {WHICH_READING}" if Reason.AMBIGUOUS_NUMBER in self.by_reason else text
