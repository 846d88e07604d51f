"""What tests of the store share: an empty database of each kind."""

from __future__ import annotations

from support.databases import database

__all__ = ["database"]
