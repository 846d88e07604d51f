from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.databases import Database
from support.stores import sqlite_store
from support.webhook_server import Receiver, receiving


@pytest.fixture
def sqlite() -> Iterator[Database]:
    """Where it does not matter in which database events are stored."""
    with sqlite_store() as database:
        yield database


@pytest.fixture
def receiver(sqlite: Database) -> Iterator[Receiver]:
    with receiving(sqlite) as receiver:
        yield receiver
