from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.ledgers import Start, starting


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start
