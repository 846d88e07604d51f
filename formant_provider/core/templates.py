"""What of a DAG file Airflow renders before a task runs, so that parsing cannot tell what it will be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def is_template(value: Any) -> bool:
    """Whether Airflow makes another value of it, or of something in it, before a task runs."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if hasattr(value, "resolve"):  # what another task returns
        return True
    if isinstance(value, Mapping):
        return any(map(is_template, value.values()))
    return isinstance(value, Iterable) and any(map(is_template, value))
