"""What tests of the rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.feeds import Waiting, waiting
from support.triggerer import Triggerer, triggerers


@pytest.fixture
def world() -> Iterator[Callable[..., Waiting]]:
    """Start sandboxes at noon, each with a feed."""
    with waiting() as start:
        yield start


@pytest.fixture
def triggerer() -> Iterator[Callable[..., Triggerer]]:
    """Start sandboxes, each with a poller."""
    with triggerers() as start:
        yield start
