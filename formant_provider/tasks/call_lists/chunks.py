"""The entries of Airflow's task state store that hold a call list: a head, and chunks of some calls each.

The head says how many chunks there are, so that one that was deleted is missed. A chunk is written before the
head that counts it, and nothing of it is sent before both are: where a process died in between, the chunk is
found behind the last one that is counted.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from formant_provider.api.errors import SendAborted
from formant_provider.core.call_lists.calls import Attempt, Known
from formant_provider.core.calls.intent import Intent
from formant_provider.core.keys import key_of
from formant_provider.tasks.ledger import keep, kept, unreadable

if TYPE_CHECKING:
    from formant_provider.tasks.run import TaskRun

LIST_ENTRY = "formant_call_list"
CHUNK = 50
_VERSION = 1
_DEFAULTS = Intent("", datetime.min).to_json()


@dataclass(frozen=True)
class Record:
    """What is kept of one call.

    :param try_number: of the try that wrote it.
    """

    known: Known
    try_number: int

    def to_text(self) -> str:
        """Return JSON text, without what has its default, and without the key, which the others tell."""
        known, plain = self.known, self.known.intent.to_json()
        changed = {
            name: _small(value) for name, value in plain.items() if value != _DEFAULTS[name] and name != "key"
        }
        ended = [attempt.to_json() for attempt in known.ended]
        return json.dumps(
            {**changed, "agent_id": known.agent_id, "try_number": self.try_number, "ended": ended}
        )

    @classmethod
    def from_text(cls, text: str, first_key: str) -> Record:
        """Read what :meth:`to_text` wrote.

        :raises Exception: of any kind, when it is something else.
        """
        plain = json.loads(text)
        attempt, spent = plain.get("attempt", 1), plain.get("spent_keys", 0)
        intent = Intent.from_json({**plain, "key": key_of(first=first_key, attempt=attempt, spent=spent)})
        ended = tuple(map(Attempt.from_json, plain["ended"]))
        return cls(Known(plain["agent_id"], intent, ended), int(plain["try_number"]))


@dataclass
class Chunk:
    """Some calls of a list, in one entry.

    :ivar texts: what is to be written of each call, by key; as text, since that is a fifth in memory.
    :ivar due_at: when it has to be written; ``None`` when all of it is.
    """

    number: int
    texts: dict[str, str] = field(default_factory=dict)
    due_at: datetime | None = None

    @property
    def entry(self) -> str:
        """The name of its entry."""
        return f"{LIST_ENTRY}_{self.number:04}"

    def put(self, key: str, record: Record, *, due_at: datetime) -> None:
        """Have something written, at this moment at the latest."""
        self.texts[key] = record.to_text()
        self.due_at = due_at if self.due_at is None else min(self.due_at, due_at)


@dataclass
class Chunks:
    """All that Airflow's task state store holds of a list.

    :param run: of the task, which has a store.
    :param is_first: whether nobody can have sent a call of this list yet.
    :param over: the call store that tells of what was sent over it, by its name here; ``None``: none does.
    :ivar is_whole: whether nothing was sent of which neither that store tells nor this.
    :ivar over_others: whether calls were sent that another call store may tell of.
    :ivar agents: all that calls of the list were asked for.
    """

    run: TaskRun
    is_first: bool
    over: str | None = None
    is_whole: bool = field(default=True, init=False)
    over_others: bool = field(default=False, init=False)
    _stores: set[str] = field(default_factory=set, init=False)
    agents: set[int] = field(default_factory=set, init=False)
    _process: str = field(default="", init=False)
    _from_the_start: bool = field(default=True, init=False)
    _counted: int = field(default=0, init=False)
    _chunks: list[Chunk | None] = field(default_factory=list, init=False)  # None: somebody has deleted it
    _of_key: dict[str, Chunk] = field(default_factory=dict, init=False)

    def load(self) -> None:
        """Read all, and write down that this process is at it: a further try is to find that it was begun.

        :raises SendAborted: it cannot be read, or the task is not this process's any more.
        """
        head = kept(self.run, LIST_ENTRY)
        try:
            self._read_head({"from_the_start": self.is_first} if head is None else head)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise unreadable(LIST_ENTRY, error) from error
        self._process = secrets.token_hex(4)
        while (chunk := self._read_chunk(len(self._chunks) + 1)) or len(self._chunks) < self._counted:
            self._chunks.append(chunk)
        self.over_others = not self._stores <= {self.over}
        self.is_whole = self._from_the_start and not self.over_others and None not in self._chunks
        self._write_head()

    def refuse_beside_another(self) -> None:
        """Find out whether another process of the same try has begun since, which Airflow lets write as well.

        :raises SendAborted: one has, or it cannot be read.
        """
        head = kept(self.run, LIST_ENTRY)
        if not isinstance(head, dict) or head.get("process") != self._process:
            raise SendAborted("Another process works on this list; this one sends nothing more of this call")

    def mark_over(self, store: str) -> None:
        """Let a further try that has not this call store know that there are calls of which it may tell.

        :raises SendAborted: it cannot be written.
        """
        if store not in self._stores:
            self._stores.add(store)
            self._write_head()

    def note_agents(self, agents: Collection[int]) -> None:
        """Let a further try know by whom a call may have been placed of which nothing else tells.

        :raises SendAborted: it cannot be written.
        """
        if not self.agents.issuperset(agents):
            self.agents.update(agents)
            self._write_head()

    def keys(self) -> Collection[str]:
        """Return the keys of all calls that it tells of."""
        return self._of_key.keys()

    @property
    def has_begun(self) -> bool:
        """Whether a call was written down, here or over a call store."""
        return bool(self._chunks or self._stores)

    def find(self, key: str) -> Record | None:
        """Return what is kept of a call.

        :raises SendAborted: it cannot be read.
        """
        chunk = self._of_key.get(key)
        if chunk is None:
            return None
        try:
            return Record.from_text(chunk.texts[key], key)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise unreadable(chunk.entry, error) from error

    def chunk_for(self, key: str) -> Chunk:
        """Return the chunk of a call; one that has none goes to the last, while there is room."""
        if key not in self._of_key:
            last = self._chunks[-1] if self._chunks else None
            if last is None or len(last.texts) >= CHUNK:
                last = Chunk(len(self._chunks) + 1)
                self._chunks.append(last)
            self._of_key[key] = last
        return self._of_key[key]

    def due(self, now: datetime | None = None) -> list[Chunk]:
        """Return the chunks that have to be written by now; ``None`` means all of which something is not."""
        waiting = [(chunk, chunk.due_at) for chunk in self._chunks if chunk is not None]
        return [chunk for chunk, due_at in waiting if due_at is not None and (now is None or due_at <= now)]

    def write(self, chunks: Iterable[Chunk]) -> None:
        """Write chunks, and count them; committed when it returns.

        :raises SendAborted: it was not written, or perhaps it was.
        """
        for chunk in chunks:
            self._set(chunk.entry, {"calls": {key: json.loads(text) for key, text in chunk.texts.items()}})
            chunk.due_at = None
        if len(self._chunks) > self._counted:
            self._write_head()

    def _read_head(self, head: Any) -> None:
        if head.get("version", _VERSION) > _VERSION:
            raise ValueError("of a newer version")
        self._from_the_start = bool(head["from_the_start"])
        self._stores, self._counted = set(head.get("over_stores", ())), int(head.get("chunks", 0))
        self.agents = set(map(int, head.get("agents", ())))

    def _read_chunk(self, number: int) -> Chunk | None:
        chunk = Chunk(number)
        content = kept(self.run, chunk.entry)
        if content is None:
            return None
        try:
            chunk.texts |= {key: json.dumps(record) for key, record in content["calls"].items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise unreadable(chunk.entry, error) from error
        self._of_key |= dict.fromkeys(chunk.texts, chunk)
        return chunk

    def _write_head(self) -> None:
        head = {
            "version": _VERSION,
            "chunks": len(self._chunks),
            "from_the_start": self._from_the_start,
            "over_stores": sorted(self._stores),
            "agents": sorted(self.agents),
            "process": self._process,
        }
        self._set(LIST_ENTRY, head)
        self._counted = len(self._chunks)

    def _set(self, entry: str, value: dict[str, Any]) -> None:
        try:
            keep(self.run.store, entry, value)
        except Exception as error:
            raise SendAborted(
                "The calls of this list could not be written to Airflow's task state store"
                f" ({type(error).__name__}); perhaps a newer try of this task has taken over"
            ) from error


def _small(plain: Any) -> Any:
    """Return plain values without what is not known."""
    if isinstance(plain, dict):
        return {name: _small(value) for name, value in plain.items() if value is not None}
    return [_small(value) for value in plain] if isinstance(plain, list) else plain
