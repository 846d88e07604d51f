"""What tests through the real Airflow engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from formant_provider.sandbox import Sandbox

KEY = "key-1234567"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=KEY, speed=1, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def env(sandbox: Sandbox) -> dict[str, str]:
    """The environment of an Airflow that reaches the sandbox."""
    return {"AIRFLOW_CONN_FORMANT_DEFAULT": sandbox.connection_uri()}
