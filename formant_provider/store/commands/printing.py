"""How commands print what they have done or found: a table for people, JSON for programs."""

from __future__ import annotations

import argparse
import getpass
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option that :func:`show` reads."""
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def show(arguments: argparse.Namespace, data: Mapping[str, Any], lines: Iterable[str]) -> None:
    """Print the one or the other."""
    if arguments.json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines))


def user() -> str:
    """Return who is logged in, for an event: the name, or the id where a container has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user id {os.getuid()}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table; what is not known is a dash."""
    cells = [list(head), *([*map(_cell, row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)
