"""How scripts write a table for people."""

from __future__ import annotations

from collections.abc import Sequence


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Write rows in columns, each as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def ruled(rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Put a line below the head."""
    return [rows[0], ["-" * max(map(len, column)) for column in zip(*rows, strict=True)], *rows[1:]]
