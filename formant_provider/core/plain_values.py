"""Options that are a class in Python, and a mapping where a file has plain values alone, as YAML does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from formant_provider.api.errors import InvalidInput


class _Option(Protocol):
    template_fields: ClassVar[tuple[str, ...]]


OptionT = TypeVar("OptionT", bound=_Option)


def made_of(kind: type[OptionT], field: str, value: OptionT | Mapping[str, Any]) -> OptionT:
    """Return the same, or what a mapping of its fields names.

    :param kind: the class.
    :param field: the name of the option, for errors.
    :raises InvalidInput: it is neither, or names a field that is none.
    """
    if isinstance(value, kind):
        return value
    names = kind.template_fields
    if not isinstance(value, Mapping) or not set(value) <= set(names):
        raise InvalidInput(field, f"must be {kind.__name__} or a mapping of {', '.join(names)}")
    return kind(**value)


def refuse_empty(field: str, value: object) -> None:
    """Refuse a mapping without fields, of an option whose defaults somebody should have chosen.

    :raises InvalidInput: it is one.
    """
    if isinstance(value, Mapping) and not value:
        raise InvalidInput(field, "is an empty mapping: name a field, or leave the option out")
