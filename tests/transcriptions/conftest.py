"""Jobs are waited for in the same small world as calls are."""

from __future__ import annotations

from waiting.conftest import channel, make_sandbox, sandbox

__all__ = ["channel", "make_sandbox", "sandbox"]
