"""How often one person may be called, as a user writes it in a DAG."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Self

from formant_provider.api.errors import InvalidInput
from formant_provider.core.caps import CapRule, parse_calls, parse_span, span_text
from formant_provider.core.plain_values import made_of, refuse_empty
from formant_provider.core.templates import is_template


@dataclass(repr=False)
class CallCap:
    """How often one person may be called, counted across all tasks, DAGs and agents of a call store.

    Every field is a template field of the operator that it is given to. It needs a connection with a store:
    ``store_conn_id``.

    :param calls: at most so many calls to one person, 1 or more.
    :param per: in every span of this length, whichever way it slides: in seconds, as a ``timedelta``, or as
        text such as ``"7d"``, ``"12h"``, ``"90m"`` or ``"45s"``; whole seconds, at most 366 days. A day is 24
        hours, and calls that are exactly as far apart as the span is long do not share one.
    :raises ValueError: at parse time, for a value that is invalid and no template.
    """

    calls: int | str = 2
    per: timedelta | float | str = timedelta(days=1)

    template_fields: ClassVar[tuple[str, ...]] = ("calls", "per")

    def __post_init__(self) -> None:
        if not is_template(self.calls):
            parse_calls(self.calls)
        if not is_template(self.per):
            parse_span(self.per)

    @classmethod
    def of(cls, value: Self | Mapping[str, Any] | None) -> Self | None:
        """Return the same, or what a mapping of the fields names, as in a YAML file; ``None`` is no cap.

        :raises ValueError: it is neither, names a field that is none, or a value is invalid.
        """
        refuse_empty("call_cap", value)
        return None if value is None else made_of(cls, "call_cap", value)

    def rule(self) -> CapRule:
        """Return the rule that the rendered fields name.

        :raises InvalidInput: with the name of the field at fault.
        """
        return CapRule(parse_calls(self.calls), parse_span(self.per))

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow shows of it: the same in every process."""
        per = str(self.per)  # of a template, or of what one came to that will be refused
        with suppress(InvalidInput):
            per = span_text(parse_span(self.per))
        return {"calls": str(self.calls), "per": per}

    def __repr__(self) -> str:
        # Airflow writes it into the DAG of a mapped task, and what differs from parse to parse is a new DAG.
        return f"CallCap({', '.join(f'{name}={value!r}' for name, value in self.serialize().items())})"
