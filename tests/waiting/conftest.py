"""What tests of waiting share: a sandbox whose calls are over soon, and an Airflow that reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor

KEY = "key-1234567"
# A call of 142 s is over after 0.05 s.
SPEED = 3000


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Make a sandbox with settings of the test's own."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Sandbox:
            chosen = {"api_key": KEY, "speed": SPEED, "rate_limit": None, **settings}
            return stack.enter_context(Sandbox(**chosen))

        yield make


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return make_sandbox()


def channel_to(sandbox: Sandbox, **extra: Any) -> FakeSupervisor:
    """Return an Airflow whose default connection leads to the sandbox."""
    connection = {"conn_type": "formant", "host": sandbox.base_url, "password": sandbox.api_key}
    return FakeSupervisor(connections={"formant_default": {**connection, "extra": extra}})


@pytest.fixture
def channel(sandbox: Sandbox) -> FakeSupervisor:
    return channel_to(sandbox)
