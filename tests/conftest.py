"""Runs before any test module is imported: Airflow reads its home while it is imported."""

from __future__ import annotations

import gc
from itertools import islice
from typing import TYPE_CHECKING

from support.airflow_home import use_own_airflow_home
from support.databases import database

__all__ = ["database"]

if TYPE_CHECKING:
    import pytest

# Files that keep more than one core busy, or take minutes.
SLOW = ("tests/machine/", "tests/engine/", "tests/harness/", "tests/docs/")
# Files that wait for most of their time: beside the slow ones they cost nothing.
IDLE = ("tests/waiting/", "tests/notifications/", "tests/webhooks/")
QUICK_BETWEEN = 4

use_own_airflow_home()

# Airflow brings a million objects that stay, and looking at all of them again and again takes long.
gc.set_threshold(50_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, but let quick files stand between: several Airflows at once are too many.

    Of several processes none shall begin a slow file when the others are done, and in most others tests wait.
    """
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    slow = [file for folder in SLOW for file in files if file.startswith(folder)]
    idle_first = sorted(files, key=lambda file: not file.startswith(IDLE))
    quick = iter([file for file in idle_first if file not in slow])
    order = [each for file in slow for each in (file, *islice(quick, QUICK_BETWEEN))]
    items[:] = [item for file in (*order, *quick) for item in files[file]]
