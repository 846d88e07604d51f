"""A hook that is connected to a sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from formant_provider.hooks.formant import FormantHook
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor, supervised_by


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(speed=0, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
def hook(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[FormantHook]:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with supervised_by(FakeSupervisor({"formant_default": sandbox.connection_uri()})):
        yield FormantHook()
