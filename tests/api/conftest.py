"""What tests of the client share: a sandbox, and clients that wait for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from formant_provider.api.client import FormantClient
from formant_provider.api.config import ClientConfig
from formant_provider.sandbox import Sandbox

KEY = "key-1234567"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, speed=0, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def sleeps() -> list[float]:
    """The waits the client asked for, none of which was waited."""
    return []


@pytest.fixture
def client_for(sleeps: list[float]) -> Iterator[Callable[..., FormantClient]]:
    with ExitStack() as stack:

        def build(base_url: str, key: str = KEY, **config: Any) -> FormantClient:
            chosen = ClientConfig(base_url, key, **config)
            client = FormantClient(chosen, user_agent_suffix="x/1", sleep=sleeps.append)
            return stack.enter_context(client)

        yield build
