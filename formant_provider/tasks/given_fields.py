"""What a DAG file gives an operator: which options, and whether each field has a value when the task runs.

``None`` means something for most optional fields: call now, no name of your own, the connection's region.
That is for the DAG file to say. An XCom that is ``None``, or a template that renders to the word, is a value
that is missing, and a call must not be placed at once for the want of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from airflow.sdk import Context


@dataclass
class Given:
    """The names of the options that the DAG file itself gives a task, without those of ``default_args``."""

    options: frozenset[str]
    nones: frozenset[str]  # what is given and None
    missing: tuple[str, ...] = ()  # the fields that are given and have no value once they are rendered

    @classmethod
    def of(cls, operator: Any, kwargs: Mapping[str, Any]) -> Self:
        """Read the arguments of an operator's class."""
        nones = frozenset(name for name in kwargs if kwargs[name] is None)
        return cls(given_options(operator, kwargs), nones)

    def note_missing(
        self, task: Any, before: Mapping[str, object], after: Mapping[str, object], context: Context
    ) -> None:
        """Note which of these fields came to nothing when they were rendered."""
        of_the_row = self.nones & _from_tasks(task, context)
        self.missing = tuple(
            name
            for name, value in after.items()
            if name in of_the_row or _came_to_nothing(before[name], value)
        )

    def __contains__(self, name: object) -> bool:
        return name in self.options


def given_options(operator: Any, kwargs: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the options that are given and ask for something else than is the default."""
    defaults = _defaults_of(operator)
    options = kwargs.keys() & defaults.keys() - set(operator.template_fields)
    return frozenset(name for name in options if kwargs[name] != defaults[name])


def options_of(operator: Any, made: Any, default_args: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of a mapped operator: its own, the DAG's, the group's, and what is left out."""
    options: dict[str, Any] = dict(_defaults_of(operator))
    for place in (made.kwargs["dag"], made.kwargs["task_group"]):
        options |= getattr(place, "default_args", None) or {}
    options |= default_args or {}
    return {**options, **made.kwargs}


@cache
def _defaults_of(operator: Any) -> dict[str, Any]:
    """Return the defaults of the options that our classes have."""
    parameters = [
        parameter
        for cls in reversed(operator.__mro__)
        if hasattr(cls, "private_fields") and "__init__" in vars(cls)
        for parameter in signature(cls.__init__).parameters.values()
    ]
    return {item.name: item.default for item in parameters if item.default is not item.empty}


def refuse_none(field: str) -> None:
    """Raise that a field has no value."""
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
    if isinstance(mapped, Sequence) and isinstance(
        mapped[context["ti"].map_index or 0], Mapping
    ):  # expand_kwargs()
        return frozenset()
    return frozenset(task.template_fields) - frozenset(in_file.partial_kwargs)
