"""What tests of the decorator share: the fixtures of the operator."""

from __future__ import annotations

from operators.conftest import channel, sandbox, sleeps

__all__ = ["channel", "sandbox", "sleeps"]
