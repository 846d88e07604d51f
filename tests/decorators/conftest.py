"""What tests of the decorator share: the fixtures of the operator."""

from __future__ import annotations

from operators.conftest import channel, never_sleeps, sandbox

from support.clocks import sleeps

__all__ = ["channel", "never_sleeps", "sandbox", "sleeps"]
