from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from formant_provider.sandbox import Sandbox

BEFORE_THE_SAMPLES = datetime(2026, 3, 18, 20, 53, 19, 766_000, tzinfo=UTC)
"""Start of the vendor's sample call, which lasted 142 seconds; also within 30 days of the sample schedule."""

Send = Callable[..., requests.Response]


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Sandbox, Send]]]:
    """Start sandboxes at the time of the vendor's samples; each comes with a function that sends requests."""
    with contextlib.ExitStack() as running:

        def start_one(**settings: Any) -> tuple[Sandbox, Send]:
            defaults = {"speed": 0, "start_at": BEFORE_THE_SAMPLES}
            sandbox = running.enter_context(Sandbox(**{**defaults, **settings}))
            session = running.enter_context(requests.Session())
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {sandbox.api_key}"

            def send(method: str, path: str, **options: Any) -> requests.Response:
                return session.request(method, sandbox.base_url + path, **{"timeout": 5, **options})

            return sandbox, send

        yield start_one


@pytest.fixture(scope="session")
def facts() -> Callable[[str], Any]:
    """Read a file of facts, written by hand from the vendor's documents."""
    folder = Path(__file__).parent / "facts"
    return lambda name: json.loads((folder / name).read_text(encoding="utf-8"))
