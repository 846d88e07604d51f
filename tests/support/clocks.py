"""One time for the worker and for the API; and waits that are not waited."""

from __future__ import annotations

from datetime import timedelta

import pendulum
import pytest

from formant_provider.sandbox import Sandbox


class Clock:
    """The time of the worker and of a sandbox that stands still, which go together; who sleeps moves both."""

    def __init__(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sandbox, self._now = sandbox, pendulum.now("UTC")
        monkeypatch.setattr(pendulum, "now", lambda *_: self._now)
        monkeypatch.setattr("time.sleep", self.lapse)

    def lapse(self, seconds: float) -> None:
        """Let time pass."""
        self._sandbox.advance(seconds)
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, none of which is waited; a ``conftest.py`` that wants it imports it."""
    asked: list[float] = []
    monkeypatch.setattr("time.sleep", asked.append)
    return asked
