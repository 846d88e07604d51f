"""Standard input, as commands read numbers from it, so that none is in the history of the shell."""

from __future__ import annotations

import sys
from typing import TextIO

from formant_provider.api.errors import InvalidInput

STDIN = "-"


def standard_input() -> TextIO:
    """Return it.

    :raises InvalidInput: it was closed before the command began.
    """
    if sys.stdin is None:
        raise InvalidInput(STDIN, "reads standard input, which is closed")
    return sys.stdin
