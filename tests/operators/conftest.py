"""What tests of operators share: a sandbox, and an Airflow that knows how to reach it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from formant_provider.sandbox import Sandbox
from support.clocks import sleeps
from support.supervisor import FakeSupervisor

__all__ = ["sleeps"]

KEY = "key-1234567"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, speed=0, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def channel(sandbox: Sandbox) -> FakeSupervisor:
    return FakeSupervisor(connections={"formant_default": sandbox.connection_uri()})


@pytest.fixture(autouse=True)
def never_sleeps(sleeps: list[float]) -> None:
    """No test of operators waits."""
