"""What users import is in the reference, and each of its arguments is explained where it is defined."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from formant_provider import get_provider_info

REFERENCE = (Path(__file__).resolve().parents[2] / "docs" / "reference.md").read_text()
KINDS = ("hooks", "operators", "sensors", "triggers", "notifications")


def announced_to_airflow() -> Iterator[str]:
    """What users put into DAG files: what Airflow is told of, and the retry policy."""
    info = get_provider_info()
    modules = [module for kind in KINDS for entry in info.get(kind, []) for module in _modules(entry)]
    for module in [*modules, "formant_provider.retries"]:
        for name, value in vars(import_module(module)).items():
            # A dataclass is a record that a trigger hands over, nothing that users make.
            if _is_public_class(value, module) and not is_dataclass(value):
                yield f"{module}.{name}"
    yield from info["extra-links"]
    yield from (decorator["class-name"] for decorator in info.get("task-decorators", []))


def _modules(entry: Any) -> list[str]:
    # Notifications are named as classes, all other kinds by their modules.
    return [entry.rpartition(".")[0]] if isinstance(entry, str) else list(entry["python-modules"])


def _is_public_class(value: Any, module: str) -> bool:
    return inspect.isclass(value) and value.__module__ == module and not value.__name__.startswith("_")


def load(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def explained(value: Any) -> list[str]:
    return re.findall(r"^ *:param (\w+):", inspect.getdoc(value) or "", re.MULTILINE)


def arguments_of(value: Any) -> list[str]:
    """The arguments a caller can give; `**kwargs`, mostly those of Airflow's base classes, if explained."""
    free = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    parameters = inspect.signature(value).parameters.values()
    return [
        p.name for p in parameters if p.name != "self" and (p.kind not in free or p.name in explained(value))
    ]


PUBLIC = sorted(set(announced_to_airflow()))
IN_THE_REFERENCE = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", REFERENCE, re.MULTILINE)
METHODS = [
    f"{name}.{method}"
    for name, methods in re.findall(r"^\.\. autoclass:: (\S+)\n   :members: (.+)$", REFERENCE, re.MULTILINE)
    if name.startswith("formant_provider.hooks.")
    for method in methods.split(", ")
]


@pytest.mark.parametrize("name", PUBLIC)
def test_it_is_in_the_reference(name: str) -> None:
    """No operator, sensor, trigger, hook, notifier, decorator or link is missing from the reference."""
    assert name in IN_THE_REFERENCE


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_explained(name: str) -> None:
    """The docstring has one `:param:` for each argument, in their order, and none besides."""
    value = load(name)
    assert explained(value) == arguments_of(value)


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_of_the_hook_is_explained(name: str) -> None:
    """So has the docstring of each method of the hook that is in the reference."""
    owner, _, method = name.rpartition(".")
    value = getattr(load(owner), method)
    assert explained(value) == arguments_of(value)


@pytest.mark.parametrize("name", IN_THE_REFERENCE)
def test_it_says_what_it_is(name: str) -> None:
    """The docstring of everything in the reference begins with a sentence."""
    first = (inspect.getdoc(load(name)) or "").split("\n\n", maxsplit=1)[0]
    assert first.endswith((".", ":"))
