"""How often a call list tries to reach one person, as a user writes it in a DAG."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from formant_provider.api.errors import InvalidInput
from formant_provider.core.caps import parse_span, span_text
from formant_provider.core.plain_values import made_of
from formant_provider.core.templates import is_template
from formant_provider.core.validation import to_whole_number

if TYPE_CHECKING:
    from formant_provider.core.call_lists.attempting import AttemptRule

MOST = 20


@dataclass(repr=False)
class Attempts:
    """How often a call list tries to reach one person, and how long it waits in between.

    Only who was not reached is called again, within the calling hours and the cap. Every field is a template
    field of the operator that it is given to.

    :param most: at most so many attempts, from 1 to 20.
    :param after: how long after the end of an attempt the next one is due, by the status of that attempt:
        ``no_answer``, ``busy``, ``failed``, ``unreachable``, ``socket_failure`` or ``telephony_failed``. In
        seconds, as a ``timedelta``, or as text such as ``"2h"``, ``"15m"`` or ``"1d"``. After a status that
        is not named, the person is not called again. ``None`` names none.
    :param per_day: at most so many attempts of this list in one calendar day of the person; where a number
        may be in several time zones, in a day of each. ``None``: as many as are due.
    :raises ValueError: at parse time, for a value that is invalid and no template.

    Vendor page: https://docs.formantai.com/platform/conversations
    """

    most: int | str = 1
    after: Mapping[str, timedelta | float | str] | str | None = None
    per_day: int | str | None = None

    template_fields: ClassVar[tuple[str, ...]] = ("most", "after", "per_day")

    def __post_init__(self) -> None:
        if self.after is None or isinstance(self.after, Mapping):
            self.after = dict(self.after or {})  # nobody changes it later, and Airflow renders a dict
            _refuse_words(self.after)
        if not is_template(self.most):
            _to_most(self.most)
        if not is_template(self.after):
            _to_after(self.after)
        if not is_template(self.per_day):
            _to_per_day(self.per_day)
        if not is_template([self.most, self.after]):
            _refuse_idle(_to_most(self.most), self.after)

    @classmethod
    def of(cls, value: Self | Mapping[str, Any] | None) -> Self:
        """Return the same, or what a mapping of the fields names, as in a YAML file; ``None`` is one attempt.

        :raises ValueError: it is neither, names a field that is none, or a value is invalid.
        """
        return cls() if value is None else made_of(cls, "attempts", value)

    def rule(self) -> AttemptRule:
        """Return the rule that the rendered fields name.

        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.core.call_lists.attempting import AttemptRule

        most, after = _to_most(self.most), _to_after(self.after)
        _refuse_idle(most, after)
        return AttemptRule(most, after, _to_per_day(self.per_day))

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow shows of it: the same in every process."""
        after: Any = self.after
        if isinstance(after, Mapping):
            after = {str(word): _span_as_shown(after[word]) for word in sorted(after, key=str)}
        else:
            after = str(after)
        return {
            "most": str(self.most),
            "after": after,
            "per_day": None if self.per_day is None else str(self.per_day),
        }

    def __repr__(self) -> str:
        # Airflow writes it into the DAG of a mapped task, and what differs from parse to parse is a new DAG.
        return f"Attempts({', '.join(f'{name}={value!r}' for name, value in self.serialize().items())})"


def _to_most(value: object) -> int:
    most = to_whole_number("attempts.most", value)
    if most > MOST:
        raise InvalidInput("attempts.most", f"must be from 1 to {MOST}")
    return most


def _to_per_day(value: object) -> int | None:
    return None if value is None else to_whole_number("attempts.per_day", value)


def _to_after(value: object) -> dict[str, timedelta]:
    value = {} if value is None else value  # which a template may render to
    if not isinstance(value, Mapping):
        raise InvalidInput(
            "attempts.after", 'must be a mapping of statuses to waits, such as {"busy": "15m"}'
        )
    _refuse_words(value)
    return {word: parse_span(span, f"attempts.after[{word!r}]") for word, span in value.items()}


def _refuse_words(after: Mapping[Any, Any]) -> None:
    if not after:  # what takes time to import is imported for a use alone
        return
    from formant_provider.core.conversations.statuses import UNSUCCESSFUL

    if not set(after) <= UNSUCCESSFUL:
        words = ", ".join(sorted(UNSUCCESSFUL))
        raise InvalidInput("attempts.after", f"must name statuses, which are {words}")


def _refuse_idle(most: int, after: object) -> None:
    if most == 1 and after:
        raise InvalidInput("attempts.after", "has no effect with one attempt: give most=2 or more")
    if most > 1 and not after:
        reason = 'has no effect without after, such as {"no_answer": "2h"}: it says when to call again'
        raise InvalidInput("attempts.most", reason)


def _span_as_shown(value: Any) -> str:
    with suppress(InvalidInput):
        return span_text(parse_span(value))
    return str(value)  # of a template, or of what one came to that will be refused
