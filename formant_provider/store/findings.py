"""What is found when the store is verified, told without any value of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from formant_provider.api.errors import InvalidInput

PAGE = 1000
_HEAD = re.compile(r"([0-9]{1,18}):([0-9A-Fa-f]{64})")


class Head(NamedTuple):
    """Where the chain ends: worth noting elsewhere."""

    seq: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what ``str`` of a head has written.

        :raises InvalidInput: it is something else.
        """
        parts = _HEAD.fullmatch(text.strip())
        if parts is None:
            raise InvalidInput("--expect", "must be a number, a colon and a hash, as verify prints the head")
        return cls(int(parts[1]), parts[2].lower())

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True)
class Finding:
    """Something that is not as the store has left it; no value of it is told.

    :param seq: which event of the chain, if it is about one.
    :param kind: of the event or the row.
    :param what: what is wrong.
    :param where: the task that asked, as far as that can still be told.
    """

    seq: int | None
    kind: str
    what: str
    where: str = ""


@dataclass
class Report:
    """What was found.

    :param first: so many findings are kept, and all are counted.
    :param base: where the chain begins since the last purge; ``None`` when that is not known.
    :param head: where it ends.
    :param doubted: subjects of events that do not match their hash, so that no row is compared with them.
    """

    first: int = 20
    events: int = 0
    rows: int = 0
    count: int = 0
    findings: list[Finding] = field(default_factory=list)
    base: Head | None = None
    head: Head | None = None
    doubted: set[Any] = field(default_factory=set)

    def add(self, seq: int | None, kind: str, what: str, where: str = "") -> None:
        """Keep a finding, or count it."""
        self.count += 1
        if len(self.findings) < self.first:
            self.findings.append(Finding(seq, _printable(kind), what, _printable(where)))


def _printable(text: object) -> str:
    """Return a text of which somebody else may have made anything."""
    return "".join(each if each.isprintable() else "?" for each in str(text))


def where_of(row: Mapping[str, Any]) -> str:
    """Return which task asked for a call, from its row or from what an event has kept of it."""
    names = [str(row[name]) for name in ("dag_id", "run_id", "task_id") if row.get(name) is not None]
    index = row.get("map_index")
    return "/".join(names) + (f"[{index}]" if isinstance(index, int) and index >= 0 else "")
