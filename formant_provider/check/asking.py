"""Asks a person twice before a number is called, since a call cannot be taken back."""

from __future__ import annotations

import sys
from collections.abc import Callable

from formant_provider.api.errors import InvalidInput


def confirmed(numbers: list[str], read: Callable[[str], str]) -> str:
    """Return the number to call, once it was given twice.

    :param numbers: those of the command line: one, or twice the same.
    :param read: asks the person at the terminal for a line.
    :raises InvalidInput: it was not given twice, or not the same; nothing was called.
    """
    first, *others = numbers
    if len(others) > 1:
        raise InvalidInput("--ring", "is given more than twice: exactly one number is called")
    if not others and not (sys.stdin and sys.stdin.isatty()):
        raise InvalidInput(
            "--ring", "must be given twice where nobody can be asked: standard input is no terminal"
        )
    again = others[0] if others else read("One real call will be placed. Type the number once more: ")
    if again.strip() != first.strip():
        raise InvalidInput("--ring", "the two numbers are not the same, so nobody is called")
    return first.strip()


def from_terminal(question: str) -> str:
    """Ask on standard error, since results alone belong on standard output."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline()
