"""What tests of the notifier share: the fixtures of the operators."""

from __future__ import annotations

from operators.conftest import channel, sandbox, sleeps

__all__ = ["channel", "sandbox", "sleeps"]
