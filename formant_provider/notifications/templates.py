"""Renders the fields of a notifier to text; one that cannot be rendered is named, with its variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def render(field: str, value: Any, env: jinja2.Environment, known: Mapping[str, Any]) -> Any:
    """Render every text in a value, to text.

    :raises InvalidInput: with the name of the field and of the variables, and nothing of their values: the
        text of an error that is not ours may hold anything.
    """
    from formant_provider.api.errors import InvalidInput

    if isinstance(value, Mapping):
        return {name: render(field, item, env, known) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [render(field, item, env, known) for item in value]
    if hasattr(type(value), "template_fields"):
        value = copy(value)  # the next event is rendered from the same
        for name in value.template_fields:
            setattr(value, name, render(f"{field}.{name}", getattr(value, name), env, known))
    if not isinstance(value, str):
        return value
    try:
        return env.from_string(value).render(known)
    except Exception as error:
        names = ", ".join(sorted(_names_in(value, env)))
        told = f"could not be rendered or read ({type(error).__name__})"
        raise InvalidInput(field, f"{told}; its template reads {names}" if names else told) from None


def _names_in(template: str, env: jinja2.Environment) -> set[str]:
    """Return the variables of a template as they are written, such as ``var.value.on_call_phone``."""
    from jinja2 import TemplateError, nodes

    try:
        tree = env.parse(template)
    except TemplateError:
        return set()
    paths = {".".join(_path(node)) for node in tree.find_all((nodes.Getattr, nodes.Name))}
    return {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}


def _path(node: Any) -> Iterator[str]:
    from jinja2 import nodes

    if isinstance(node, nodes.Getattr):
        yield from _path(node.node)
        yield node.attr
    elif isinstance(node, nodes.Name):
        yield node.name
