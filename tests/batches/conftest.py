"""Batch calls are waited for in the same small world as calls are."""

from __future__ import annotations

from waiting.conftest import channel, make_sandbox, sandbox

from support.clocks import sleeps
from support.databases import database

__all__ = ["channel", "database", "make_sandbox", "sandbox", "sleeps"]
