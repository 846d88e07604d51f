"""What of a call may be seen in Airflow: the names of parameters, never their values.

Numbers and parameters are hidden from the UI when the fields are rendered (:class:`PrivateFields`), behind a
value that shows its shape alone (:func:`hide`); in logs they are masked (:func:`mask_numbers`).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from formant_provider.tasks.given_fields import Given, given_options, options_of, refuse_none
from formant_provider.tasks.options import refuse_literals_of_all_rows
from formant_provider.tasks.task_hook import HoldsHook

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import BaseOperator, Context

    _Operator = BaseOperator
else:
    _Operator = object

HIDDEN = "***"
# Of a long list the first few show its shape as well as all of them.
MOST_SHOWN = 20
_NUMBER = re.compile(r"\d{7,15}")
_RECIPIENT, _FEWEST_DIGITS = "customer_phone", 7


class Hidden:
    """Shows only the shape of a value, and holds the value itself for the operator: see :func:`hide`.

    Airflow stores rendered template fields where everyone who can see the task can read them, and renders a
    ``map_index_template`` once more after the call was placed. So it looks like the value, with ``***`` for
    all that is in it, and answers whatever is asked: nothing that only shows it may fail a task by then. A
    copy within the process is the same object; what is pickled is the shape alone.
    """

    # Not a name that a parameter can have: in a template both are attributes.
    _hidden_value: Any

    def __str__(self) -> str:
        return HIDDEN

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class _HiddenText(Hidden, str):
    """Looks like the text ``***``, and so does each item of it."""

    def __getitem__(self, key: object) -> str:
        return self

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __float__(self) -> float:
        return float("nan")

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (HIDDEN,)


class _HiddenMapping(Hidden, dict[str, Any]):
    """Looks like a mapping with the same names. Other names lead to ``***`` as well."""

    def __missing__(self, name: object) -> str:
        return ITEM

    def get(self, name: Any, default: object = None) -> Any:  # noqa: ARG002 - the shape says what is there
        return self[name]

    def __getattr__(self, name: str) -> Any:
        if name in self:  # no other: Airflow asks objects for methods that they may have
            return self[name]
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class _HiddenList(Hidden, list[Any]):
    """Looks like the first entries of a list. Every other entry is ``***``."""

    def __getitem__(self, index: Any) -> Any:
        with suppress(IndexError, TypeError):
            return super().__getitem__(index)
        return ITEM

    def __len__(self) -> int:
        return len(self._hidden_value)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


ITEM = _HiddenText(HIDDEN)


def hide(value: Any) -> Any:
    """Return what looks like a value and shows nothing of it; :func:`reveal` returns the value itself."""
    hidden = _HiddenText(HIDDEN) if (shape := _shape(value)) == HIDDEN else _look(shape)
    hidden._hidden_value = value
    return hidden


def _look(shape: Any) -> Any:
    if isinstance(shape, dict):
        return _HiddenMapping({name: _look(item) for name, item in shape.items()})
    if isinstance(shape, list):
        entries = _HiddenList(map(_look, shape))
        entries._hidden_value = shape
        return entries
    return ITEM if shape == HIDDEN else shape


def _shape(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"name", "value"}:
        return {"name": _label(value["name"]), "value": HIDDEN}
    if isinstance(value, Mapping):
        return {_label(name): HIDDEN for name in value}
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - MOST_SHOWN} more"] if len(value) > MOST_SHOWN else []
        return [*map(_shape, value[:MOST_SHOWN]), *more]
    return HIDDEN


def _label(name: object) -> str:
    return name if isinstance(name, str) and name.isidentifier() else HIDDEN


def reveal(value: Any) -> Any:
    """Return what was hidden, or the value itself when it was not."""
    return getattr(value, "_hidden_value", value) if isinstance(value, Hidden) else value


def mask_numbers(value: Any) -> None:
    """Have Airflow mask every phone-like number in ``value``, in logs and wherever else it masks secrets.

    The digits alone are registered, so a number is masked with and without its plus sign. One in groups is
    masked as it is written, but only where a call says that it is a number: a date looks like one.
    """
    from airflow.providers.common.compat.sdk import mask_secret

    for text in _recipients(value):
        if len(digits := "".join(re.findall(r"\d", text))) >= _FEWEST_DIGITS:
            mask_secret(text.strip().removeprefix("+"))
            mask_secret(digits)
    for text in _texts(value):
        for digits in _NUMBER.findall(text):
            mask_secret(digits)


def _recipients(value: Any) -> Iterator[str]:
    """Yield the numbers to call of anything that holds call parameters, as they are written."""
    if isinstance(value, Mapping):
        pairs = [(value["name"], value["value"])] if set(value) == {"name", "value"} else value.items()
        for name, item in pairs:
            if name == _RECIPIENT and isinstance(item, str):
                yield item
            else:
                yield from _recipients(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _recipients(item)


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


class PrivateFields(HoldsHook, _Operator):
    """The base of our operators and sensors, before Airflow's class: hides fields from everyone else.

    An operator names its ``private_fields`` and reads them with :func:`reveal`. What the DAG file gives it is
    noted as well: see :class:`~formant_provider.tasks.given_fields.Given`.

    Airflow offers no public hook between rendering fields and storing them. So this one class overrides
    ``_do_render_template_fields``, as read in Airflow 3.1.8, 3.2.2, 3.3.2 and 3.4.0b2: plain and mapped tasks
    pass through it, and a sensor, an operator and a decorated one inherit it alike.
    """

    private_fields: ClassVar[tuple[str, ...]] = ()
    # Airflow looks for each masked text in each line of a log: fit for a call, not for a million contacts.
    masks_numbers: ClassVar[bool] = True
    # Fields that may hold as many, and are never logged.
    unmasked_fields: ClassVar[tuple[str, ...]] = ("suppress",)
    # Fields whose None says no more than that nobody knows.
    may_be_missing: ClassVar[tuple[str, ...]] = ()
    # Fields that a task which places no call does not need; they are refused where they are used.
    refused_late: ClassVar[tuple[str, ...]] = ("suppress",)

    # Fields whose literals are checked when the file is parsed.
    literal_fields: ClassVar[tuple[str, ...]] = ()

    given: Given

    def __new__(cls, *_: Any, **kwargs: Any) -> Self:
        """Note what is given: in ``__init__`` nobody could tell a ``None`` that is given from a default."""
        made = super().__new__(cls)
        # Not by attribute: Airflow looks at that before it is ready to.
        vars(made)["given"] = Given.of(cls, kwargs)
        return made

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Check the options as well where the operator itself is made in each row only, when it runs."""
        made: Any = super().partial(**kwargs)
        try:
            options = options_of(cls, made, kwargs.get("default_args"))
            cls.check_options(given_options(cls, kwargs), options)
            refuse_literals_of_all_rows(cls, options)
        except ValueError:
            made._expand_called = True  # else Airflow warns that it was never mapped
            raise
        return made

    @staticmethod
    def check_options(given: Container[str], options: Mapping[str, Any]) -> None:
        """Refuse options without effect beside the others, by the names that are given and all values."""

    def refuse_missing(self) -> None:
        """Refuse a field that the DAG file gives, and that has no value now."""
        for name in self.given.missing:
            if name not in self.refused_late:
                refuse_none(name)

    def render_template(self, content: Any, *args: Any, **kwargs: Any) -> Any:
        """Render as Airflow does, but take text that is an enumeration for its value, not for its name."""
        is_text = isinstance(content, Enum) and isinstance(content, str)
        return super().render_template(content.value if is_text else content, *args, **kwargs)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render private fields apart, so that they are hidden before anyone sees them.

        Airflow logs a template that fails, with the values beside it; rendered here it does not.
        """
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        before = {name: getattr(self, name) for name in template_fields}
        for name, value in before.items():
            if hasattr(type(value), "template_fields"):  # rendered in place, and other tasks may share it
                setattr(self, name, copy(value))
        for name in self.private_fields:
            self._render_private(name, context, jinja_env, seen_oids, is_rendered=name in before)
        public = [name for name in before if name not in self.private_fields]
        super()._do_render_template_fields(parent, public, context, jinja_env, seen_oids)
        after = {name: reveal(getattr(self, name)) for name in before if name not in self.may_be_missing}
        self.given.note_missing(self, before, after, context)

    def _render_private(
        self,
        field: str,
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
        *,
        is_rendered: bool,  # in a YAML file only what is marked as a template is one
    ) -> None:
        rendered = value = getattr(self, field)
        if is_rendered:
            render = value if callable(value) else partial(self.render_template, value, seen_oids=seen_oids)
            rendered = render(context=context, jinja_env=jinja_env)
        if self.masks_numbers and field not in self.unmasked_fields:
            mask_numbers(rendered)
        setattr(self, field, None if rendered is None else hide(rendered))
