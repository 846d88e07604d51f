"""Says what was found in the contacts of a batch call: counts, rows, columns and reasons, never a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from formant_provider.core.numbers.reasons import WHICH_READING, Reason

MAX_EXAMPLES = 10
# The way out when plus signs were lost on the way, in a spreadsheet or a data frame.
_LOST_PLUS = (
    'would be valid with a plus sign: if each begins with its country code, say numbers="e164_without_plus";'
    " better, keep the column as text where the list is made (dtype=str in pandas)"
)
# A handful may be odd. More than this, and more than one in a hundred, tell that the whole list was spoilt.
A_FEW, ONE_IN = 3, 100


@dataclass(frozen=True)
class Problem:
    """What is the matter with a row.

    :param row: its number. A file is counted as a spreadsheet counts it, so that its header is row 1;
        without a header the first contact is row 1.
    :param column: the column at fault; ``None`` when it is that of the number, or no single one.
    """

    row: int
    reason: str
    column: str | None = None
    # Words for people, which make no other problem of it.
    note: str | None = field(default=None, compare=False)
    part: str | None = None

    @property
    def detail(self) -> str:
        """The reason in words, with the column."""
        parts = [Reason(self.reason).sentence]
        parts += [f"Column: {self.column}"] if self.column else []
        parts += [f"Here: {self.note}."] if self.note else []
        return " ".join(parts)

    def __str__(self) -> str:
        where = f" {self.column}" if self.column else ""
        part = f"{self.part} " if self.part else ""
        return f"{part}row {self.row} ({self.reason}{where})" + (f": {self.note}" if self.note else "")


@dataclass(frozen=True)
class ContactReport:
    """What became of the contacts of a batch call.

    :param total: contacts that were read. Rows without anything in them are none.
    :param rewritten: accepted numbers that had to be brought into E.164, or into its one spelling.
    :param do_not_call: how many numbers the do-not-call list had; ``None``: there was none.
    :param completed: accepted numbers whose country code is that of ``default_country``, since they had none.
    :param without_plus: numbers that cannot be called, and are valid but for their plus sign.
    """

    total: int = 0
    accepted: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    rewritten: int = 0
    do_not_call: int | None = None
    completed: int = 0
    round_numbers: int = 0
    without_plus: int = 0

    @property
    def rejected(self) -> int:
        """How many contacts cannot be called."""
        return self.total - self.accepted

    @property
    def invalid(self) -> int:
        """How many contacts have a fault: those that are left out for another reason than these three."""
        return self.rejected - self.suppressed - self.closed - self.capped

    @property
    def suppressed(self) -> int:
        """How many contacts are on the do-not-call list."""
        return self.by_reason.get(Reason.SUPPRESSED, 0)

    @property
    def closed(self) -> int:
        """How many contacts may not be called at this hour."""
        return self.by_reason.get(Reason.CLOSED, 0)

    @property
    def capped(self) -> int:
        """How many contacts were called as often as allowed."""
        return self.by_reason.get(Reason.CAPPED, 0)

    @property
    def two_readings(self) -> int:
        """How many contacts have a number that can be read as two phones."""
        return self.by_reason.get(Reason.AMBIGUOUS_NUMBER, 0)

    @property
    def phonenumbers(self) -> str:
        """The version of the library, which knows the numbering plans of its day."""
        import phonenumbers  # here and not above: a DAG file is parsed far more often than a call is placed

        return str(phonenumbers.__version__)

    @property
    def doubt(self) -> str | None:
        """Why the whole list is in doubt, and what to do; ``None``: it is not."""
        if too_many(self.round_numbers, self.total):
            return (
                f"{self.round_numbers} of {self.total} numbers end in six or more zeros, as a spreadsheet"
                " leaves them when their last digits are gone. Export the list again, with numbers as text"
            )
        if too_many(self.two_readings, self.total):
            return f"{self.two_readings} of {self.total} numbers can be read as two phones. {WHICH_READING}"
        return None

    @property
    def _which(self) -> str:
        """How a sentence goes on before the problems."""
        if self.rejected == 1:
            return "it is"
        return "they are" if self.rejected == len(self.problems) else "the first are"

    def counts(self) -> dict[str, Any]:
        """Return the numbers alone, as plain data."""
        return {
            "total": self.total,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "by_reason": dict(self.by_reason),
            "rewritten": self.rewritten,
            "completed": self.completed,
            "round_numbers": self.round_numbers,
            "two_readings": self.two_readings,
            "phonenumbers": self.phonenumbers,
        }

    def summary(self) -> str:
        """Return what is wrong with the rejected contacts, in a sentence for a log or an error."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.by_reason.items())
        first = "; ".join(str(problem) for problem in self.problems)
        text = f"{self.rejected} of {self.total} cannot be called: {reasons}; {self._which} {first}"
        if Reason.AMBIGUOUS_NUMBER in self.by_reason:
            return f"{text}. {WHICH_READING}"
        return f"{text}. {self.without_plus} of them {_LOST_PLUS}" if self.without_plus else text


def too_many(count: int, total: int) -> bool:
    """Whether so many of a list are odd that it is the list which is, and not its entries."""
    return count > A_FEW and count * ONE_IN > total
