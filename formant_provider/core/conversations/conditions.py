"""Which conversations are meant by what their records say? The only place that compares their fields.

An agent's results have whatever shape and types its settings give them: one says true, another ``"True"``, a
third a list of what was asked for. So values are compared as text, without regard to capitals.

Vendor page: https://docs.formantai.com/platform/conversations
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from formant_provider.api.errors import InvalidInput
from formant_provider.api.models import Conversation

RESULTS = "results"
FIELDS = ("status", "failure_reason", RESULTS)


@dataclass(frozen=True)
class Conditions:
    """What has to be said by the record of a conversation.

    :param wanted: for each dotted field the texts of which it has to be one.
    """

    wanted: Mapping[str, frozenset[str]]

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a record that are looked at."""
        return frozenset(name.partition(".")[0] for name in self.wanted)

    def are_met(self, record: Conversation) -> bool:
        """Whether each field has one of its values. One that is not there has none."""
        return all(not texts.isdisjoint(_texts_at(record, name)) for name, texts in self.wanted.items())


def to_conditions(field: str, value: object) -> Conditions:
    """Return the conditions that a mapping of dotted fields to a value, or to several, describes.

    :raises InvalidInput: it names a field that no record has, or no value.
    """
    if not isinstance(value, Mapping) or not value:
        raise InvalidInput(field, 'must be a mapping such as {"results.do_not_call": True}')
    return Conditions({_checked(field, name): _wanted(field, value[name]) for name in value})


def _checked(field: str, name: object) -> str:
    first, *rest = str(name).split(".")
    if first not in FIELDS or (first == RESULTS) is not bool(rest) or not all(part.strip() for part in rest):
        raise InvalidInput(field, "must name status, failure_reason, or a result such as results.do_not_call")
    return str(name)


def _wanted(field: str, value: object) -> frozenset[str]:
    texts = frozenset(_texts(value))
    if not texts or texts & {"", "none"}:
        raise InvalidInput(
            field, "must have a value for each field, or a list of values: text, a number or a bool"
        )
    return texts


def _texts_at(record: Conversation, name: str) -> Iterator[str]:
    first, *rest = name.split(".")
    value: Any = getattr(record, first)
    for part in rest:
        value = value.get(part) if isinstance(value, Mapping) else None
    return _texts(value)


def _texts(value: object) -> Iterator[str]:
    """Yield a value as text, or each of a list."""
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str | bool | int | float):
        yield str(value).strip().casefold()
