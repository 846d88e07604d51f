"""What tests of the notifier share: the fixtures of the operators."""

from __future__ import annotations

from operators.conftest import channel, never_sleeps, sandbox

from support.clocks import sleeps

__all__ = ["channel", "never_sleeps", "sandbox", "sleeps"]
