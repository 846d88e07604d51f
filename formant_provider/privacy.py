"""What of a call may be seen in Airflow: the names of parameters, never their values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "***"
_NUMBER = re.compile(r"\d{7,15}")


class Hidden:
    """Holds a rendered value for the operator and shows only its shape to everyone else.

    Airflow stores rendered template fields where everyone who can see the task can read them.

    :param value: a mapping, a list of mappings, or anything else.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return HIDDEN

    def serialize(self) -> Any:
        """Return what Airflow may store: names with hidden values, and nothing where there is nothing."""
        return None if self.value is None else _shape(self.value)


def _shape(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"name", "value"}:
        return {"name": _label(value["name"]), "value": HIDDEN}
    if isinstance(value, Mapping):
        return {_label(name): HIDDEN for name in value}
    if isinstance(value, list | tuple):
        return [_shape(item) for item in value]
    return HIDDEN


def _label(name: object) -> str:
    return name if isinstance(name, str) and name.isidentifier() else HIDDEN


def reveal(value: Any) -> Any:
    """Return what was hidden, or the value itself when it was not."""
    return value.value if isinstance(value, Hidden) else value


def mask_numbers(value: Any) -> None:
    """Have Airflow mask every phone-like number in ``value``, in logs and wherever else it masks secrets.

    The digits alone are registered, so a number is masked with and without its plus sign.
    """
    from airflow.providers.common.compat.sdk import mask_secret

    for text in _texts(value):
        for digits in _NUMBER.findall(text):
            mask_secret(digits)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(name)
            yield from _texts(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str | int):
        yield str(value)
