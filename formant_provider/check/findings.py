"""What a check has found, and how people and programs are told of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How something is. ``NOT_CHECKED`` says neither good nor bad of it."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. It holds no key, secret or number.

    :param subject: what was looked at, in a word or two.
    :param state: how it is.
    :param text: what was seen, in a sentence.
    :param to_do: what to do about it; empty where there is nothing to do.
    """

    subject: str
    state: State
    text: str
    to_do: str = ""

    def __str__(self) -> str:
        line = f"{self.state.value:<11}  {self.subject}: {self.text}"
        return f"{line}\n{'':<13}To do: {self.to_do}" if self.to_do else line

    def as_data(self) -> dict[str, str]:
        """Return it as plain data."""
        return {**asdict(self), "state": self.state.value}


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether one of them is a problem."""
    return any(finding.state is State.PROBLEM for finding in findings)
