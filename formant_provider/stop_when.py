"""When a call list stops before its end, as a user writes it in a DAG."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from formant_provider.api.errors import InvalidInput
from formant_provider.core.plain_values import made_of
from formant_provider.core.templates import is_template
from formant_provider.core.validation import to_whole_number

if TYPE_CHECKING:
    from formant_provider.core.call_lists.stopping import StopRule

_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_PERCENT = 100


@dataclass(repr=False)
class StopWhen:
    """When a call list stops before its end: as soon as one of these is so, nobody is called any more.

    Calls that were placed continue and are counted, so a list may go beyond a limit by those in progress.
    Minutes are those of the records, to the second: if you pay for each minute that was begun, give a price
    that allows for it. Every field is a template field of the operator that it is given to; ``None`` is no
    limit.

    :param reached: so many people are reached.
    :param minutes: all conversations together lasted so many minutes.
    :param cost: they cost so much together, in any currency; needs ``cost_per_minute``.
    :param cost_per_minute: what a minute costs, in the same currency.
    :param failed_above: more percent of the attempts that are over were no success, from 0 to 100.
    :param after: so many attempts have to be over before ``failed_above`` counts. ``None``: 50.
    :raises ValueError: at parse time, for a value that is invalid and no template, for one without effect,
        and if there is no limit at all.
    """

    reached: int | str | None = None
    minutes: float | str | None = None
    cost: float | str | None = None
    cost_per_minute: float | str | None = None
    failed_above: float | str | None = None
    after: int | str | None = None

    template_fields: ClassVar[tuple[str, ...]] = (
        "reached",
        "minutes",
        "cost",
        "cost_per_minute",
        "failed_above",
        "after",
    )

    def __post_init__(self) -> None:
        for name in self.template_fields:
            if not is_template(getattr(self, name)):
                self._read(name)
        self._refuse_idle()

    @classmethod
    def of(cls, value: Self | Mapping[str, Any] | None) -> Self | None:
        """Return the same, or what a mapping of the fields names, as in a YAML file; ``None`` is no limit.

        :raises ValueError: it is neither, names a field that is none, or a value is invalid.
        """
        return None if value is None else made_of(cls, "stop_when", value)

    def rule(self) -> StopRule:
        """Return the rule that the rendered fields name.

        :raises InvalidInput: with the name of the field at fault.
        """
        from formant_provider.core.call_lists.stopping import StopRule

        self._refuse_idle()
        read = {name: self._read(name) for name in self.template_fields}
        return StopRule(**{name: value for name, value in read.items() if value is not None})

    def serialize(self) -> dict[str, str]:
        """Return what Airflow shows of it: the same in every process; what is not given is left out."""
        given = {name: getattr(self, name) for name in self.template_fields}
        return {name: _as_shown(value) for name, value in given.items() if value is not None}

    def __repr__(self) -> str:
        # Airflow writes it into the DAG of a mapped task, and what differs from parse to parse is a new DAG.
        return f"StopWhen({', '.join(f'{name}={value!r}' for name, value in self.serialize().items())})"

    def _read(self, name: str) -> Any:
        value, field = getattr(self, name), f"stop_when.{name}"
        if value is None:
            return None
        if name in ("reached", "after"):
            return to_whole_number(field, value)
        return _to_percent(field, value) if name == "failed_above" else _to_amount(field, value)

    def _refuse_idle(self) -> None:
        given = {name for name in self.template_fields if getattr(self, name) is not None}
        if not given & {"reached", "minutes", "cost", "failed_above"}:
            raise InvalidInput("stop_when", "must have a limit: reached, minutes, cost or failed_above")
        for name, needs in (
            ("cost", "cost_per_minute"),
            ("cost_per_minute", "cost"),
            ("after", "failed_above"),
        ):
            if name in given and needs not in given:
                raise InvalidInput(f"stop_when.{name}", f"has no effect without {needs}")


def _to_number(field: str, value: object) -> float:
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidInput(field, "must be a number, 0 or more")
    return float(value)


def _to_amount(field: str, value: object) -> float:
    amount = _to_number(field, value)
    if not amount:
        raise InvalidInput(field, "must be above 0")
    return amount


def _to_percent(field: str, value: object) -> float:
    percent = _to_number(field, value)
    if percent > _PERCENT:
        raise InvalidInput(field, "must be in percent, from 0 to 100")
    if 0 < percent < 1:
        raise InvalidInput(field, f"is in percent: write {100 * percent:g} instead of {percent:g}")
    return percent


def _as_shown(value: Any) -> str:
    with suppress(InvalidInput):
        return f"{_to_number('', value):.12g}"
    return str(value)  # of a template, or of what one came to that will be refused
