"""Errors of storages, without the phone numbers that names of files may hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_numbers_in_errors() -> Iterator[None]:
    """Let an error of a storage pass, with no phone number in the names of files that it tells.

    It stays the same error: who asks for its kind, or retries on it, finds it as it was.
    """
    try:
        yield
    except OSError as error:
        error.args = tuple(map(_hidden, error.args))
        for name in ("filename", "filename2"):
            if (value := getattr(error, name)) is not None:  # one that was set to None would be in the text
                setattr(error, name, _hidden(value))
        raise


def _hidden(value: Any) -> Any:
    from formant_provider.core.numbers.in_text import without_numbers

    return without_numbers(value) if isinstance(value, str) else value
