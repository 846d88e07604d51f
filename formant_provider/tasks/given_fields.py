"""What a DAG file gives an operator: which options, and whether each field has a value when the task runs.

``None`` means something for most optional fields: call now, no name of your own, the connection's region.
That is for the DAG file to say. An XCom that is ``None``, or a template that renders to the word, is a value
that is missing, and a call must not be placed at once for the want of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Self

from formant_provider.tasks.privacy import HidesFields, reveal

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


class GivenFields(HidesFields):
    """Mixed into an operator, remembers what the DAG file gives it.

    :ivar given: names of the options that the file gives itself, those of ``default_args`` not among them.
    """

    # A field whose None says no more than that nobody knows.
    may_be_missing: ClassVar[tuple[str, ...]] = ()
    # A field of which a task has no need that places no call; it is refused where it is used.
    refused_late: ClassVar[tuple[str, ...]] = ()

    given: frozenset[str]
    _given_none: frozenset[str]
    _missing: tuple[str, ...] = ()

    def __new__(cls, *_: Any, **kwargs: Any) -> Self:
        """Note the names: in ``__init__`` nobody could tell a ``None`` that is given from a default."""
        made = super().__new__(cls)
        # Not by attribute: Airflow looks at that before it is ready to.
        vars(made)["given"] = given_options(cls, kwargs)
        vars(made)["_given_none"] = frozenset(name for name, value in kwargs.items() if value is None)
        return made

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Check the options as well where the operator itself is made in each row only, when it runs."""
        made: Any = super().partial(**kwargs)
        try:
            cls.check_options(given_options(cls, kwargs), _options_of(cls, made))
        except ValueError:
            made._expand_called = True  # else Airflow warns that it was never mapped
            raise
        return made

    @staticmethod
    def check_options(given: frozenset[str], options: Mapping[str, Any]) -> None:
        """Refuse options that cannot act beside the others, by the names that are given and all values."""

    def refuse_missing(self) -> None:
        """Refuse a field that the DAG file gives, and that has no value now.

        :raises InvalidInput: with the name of the field.
        """
        for name in self._missing:
            if name not in self.refused_late:
                refuse_none(name)

    def is_missing(self, field: str) -> bool:
        """Whether the DAG file gives a field that has no value now."""
        return field in self._missing

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        if parent is not self:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        fields = tuple(template_fields)
        before = {name: getattr(self, name) for name in fields}
        super()._do_render_template_fields(parent, fields, context, jinja_env, seen_oids)
        of_the_row = self._given_none & _from_tasks(self, context)
        self._missing = tuple(
            name
            for name in fields
            if name not in self.may_be_missing
            and (name in of_the_row or _came_to_nothing(before[name], reveal(getattr(self, name))))
        )


def given_options(operator: Any, kwargs: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the options that are given and ask for something else than is the default."""
    defaults = _defaults_of(operator)
    options = kwargs.keys() & defaults.keys() - set(operator.template_fields)
    return frozenset(name for name in options if kwargs[name] != defaults[name])


def _options_of(operator: Any, made: Any) -> dict[str, Any]:
    """Return the options of a mapped operator: its own, the DAG's and the group's, and what is left out."""
    options: dict[str, Any] = dict(_defaults_of(operator))
    for place in (made.kwargs["dag"], made.kwargs["task_group"]):
        options |= getattr(place, "default_args", None) or {}
    return {**options, **made.kwargs}


@cache
def _defaults_of(operator: Any) -> dict[str, Any]:
    """Return the defaults of the options that our classes have."""
    parameters = [
        parameter
        for cls in reversed(operator.__mro__)
        if issubclass(cls, GivenFields) and "__init__" in vars(cls)
        for parameter in signature(cls.__init__).parameters.values()
    ]
    return {item.name: item.default for item in parameters if item.default is not item.empty}


def refuse_none(field: str) -> None:
    """Refuse a field for having no value.

    :raises InvalidInput: always.
    """
    from formant_provider.api.errors import InvalidInput

    raise InvalidInput(
        field,
        "is given, and what gives it came to None: an XCom, a template or a row without a value. To mean the"
        " default, leave the field out, in a row its key",
    )


def _came_to_nothing(before: object, after: object) -> bool:
    if before is None:
        return False
    return after is None or (isinstance(after, str) and after.strip() == "None" and before != after)


def _from_tasks(task: Any, context: Context) -> frozenset[str]:
    """Return the names of what this row of a mapped task was given by other tasks; others are in the file."""
    in_file: Any = task.dag.task_dict.get(task.task_id) if task.has_dag() else None
    if in_file is None or not in_file.is_mapped:
        return frozenset()
    mapped: Any = in_file.expand_input.value
    if isinstance(mapped, Mapping):  # expand()
        return frozenset(name for name, values in mapped.items() if not isinstance(values, Sequence))
    if isinstance(mapped, Sequence) and isinstance(mapped[_index(context)], Mapping):  # expand_kwargs()
        return frozenset()
    return frozenset(task.template_fields) - frozenset(in_file.partial_kwargs)


def _index(context: Context) -> int:
    return int(context["ti"].map_index or 0)
