"""Runs before any test module is imported: Airflow reads its home while it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.airflow_home import use_own_airflow_home
from support.databases import database

__all__ = ["database"]

if TYPE_CHECKING:
    import pytest

# Files with few tests that take long: of several processes, none shall begin one when the others are done.
SLOW = ("tests/engine/", "tests/harness/", "tests/machine/", "tests/docs/")

use_own_airflow_home()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first, as far as the order of files goes."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW))
