"""What of a call may be seen in Airflow: the names of parameters, never their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

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
        more = [f"and {len(value) - MOST_SHOWN} more"] if len(value) > MOST_SHOWN else []
        return [*map(_shape, value[:MOST_SHOWN]), *more]
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


class HidesFields(_Operator):
    """Mixed into an operator, hides some of its template fields from everyone but its own code.

    Stands before Airflow's class among the bases. The operator reads such a field with :func:`reveal`.
    """

    private_fields: ClassVar[tuple[str, ...]] = ()
    # Airflow looks for each masked text in each line of a log: fit for a call, not for a million contacts.
    masks_numbers: ClassVar[bool] = True
    # Fields that may hold as many, and are never logged.
    unmasked_fields: ClassVar[tuple[str, ...]] = ("suppress",)

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

        Plain and mapped tasks both pass through here before Airflow stores what was rendered. Airflow logs
        a template that fails, with the values beside it; rendered here it does not.
        """
        if parent is self:
            for field in self.private_fields:
                self._render_private(field, context, jinja_env, seen_oids)
            template_fields = [field for field in template_fields if field not in self.private_fields]
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)

    def _render_private(
        self, field: str, context: Context, jinja_env: jinja2.Environment, seen_oids: set[int]
    ) -> None:
        value = getattr(self, field)
        render = value if callable(value) else partial(self.render_template, value, seen_oids=seen_oids)
        rendered = render(context=context, jinja_env=jinja_env)
        if self.masks_numbers and field not in self.unmasked_fields:
            mask_numbers(rendered)
        if rendered is not None:  # Airflow 3.1 cannot store a Hidden that shows as None
            rendered = Hidden(rendered)
        setattr(self, field, rendered)
