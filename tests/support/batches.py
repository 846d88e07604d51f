"""One batch call, tried again and again against a sandbox, with ledgers that fail and processes that die."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from formant_provider.api.client import CREATE_BATCH_CALL, LIST_BATCH_CALLS
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.batches.placement import BatchPlacement, BatchPlacing, BatchPolicy, Callbacks
from formant_provider.core.batches.request import BatchRequest, build_batch_request
from formant_provider.sandbox import Sandbox
from support.ledgers import NOON, NUMBER, BaseTries, MemoryLedger

NAME = "March follow-ups"
NUMBERS = [NUMBER, "+14155550111", "+14155550102"]
TASK = ("dag", "run", "task")


@dataclass
class BatchTries(BaseTries):
    """The tries of one batch call. All waiting is done on the sandbox's clock.

    :param file: what is uploaded.
    :param taken_since: when somebody else can have placed it; ``None``: nobody.
    :param sends: how often one request is sent.
    :ivar files: how often the file was made.
    """

    sandbox: Sandbox
    file: Path
    ledger: Any = field(default_factory=lambda: MemoryLedger(kind=BatchIntent))
    taken_since: datetime | None = None
    lookup_timeout_s: float = 30.0
    resubmit_if_missing: bool = False
    read_timeout_s: float = 30.0
    sends: int = 4
    base_url: str | None = None
    api_key: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    files: int = 0

    @property
    def request(self) -> BatchRequest:
        chosen: dict[str, Any] = {"agent_id": 456, "name": NAME, "idempotency_key": None, "is_mapped": False}
        return build_batch_request(**{**chosen, **self.fields}, write_file=self.write_file, task=TASK)

    def write_file(self) -> Path:
        self.files += 1
        return self.file

    def place(self, **chosen: Any) -> BatchPlacement:
        """One try, in a process of its own."""
        policy: dict[str, Any] = {
            "taken_since": self.taken_since,
            "lookup_timeout_s": self.lookup_timeout_s,
            "resubmit_if_missing": self.resubmit_if_missing,
        }
        check = chosen.pop("check_before_send", None)
        callbacks = Callbacks(self.sandbox.now, self.sandbox.advance, check)
        with self.client() as client:
            given = BatchPolicy(**policy | chosen), callbacks
            return BatchPlacing(self.request, client, self.ledger, *given).run()

    def lose_ledger(self) -> None:
        """Let the next try know nothing but that an earlier one may have sent, as after a clear."""
        self.ledger = MemoryLedger(kind=BatchIntent)
        self.ledger.history.append(_in_doubt(self.request.key))

    @property
    def rings(self) -> set[int]:
        """How often each recipient was called."""
        rings = self.sandbox.rings
        return {rings[number] for number in NUMBERS}

    @property
    def posts(self) -> int:
        """How many uploads the sandbox saw."""
        return self._seen(CREATE_BATCH_CALL)

    @property
    def lists(self) -> int:
        """How many pages of the list the sandbox was asked for."""
        return self._seen(LIST_BATCH_CALLS)

    def _seen(self, endpoint: str) -> int:
        return sum(seen.endpoint == endpoint for seen in self.sandbox.requests)


def _in_doubt(key: str) -> str:
    return f'{{"key": "{key}", "written_at": "{NOON.isoformat()}", "sent": "unclear"}}'


Start = Callable[..., BatchTries]


@contextmanager
def starting() -> Iterator[Start]:
    """Start sandboxes at noon, each ready for the tries of one batch call, and stop them at the end."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "contacts.csv"
        file.write_text("\n".join(["customer_phone,customer_name", *(f"{n},Rahul" for n in NUMBERS), ""]))

        def start(sandbox: dict[str, Any] | None = None, **tries: Any) -> BatchTries:
            settings = {"speed": 0, "start_at": NOON, "rate_limit": None, **(sandbox or {})}
            return BatchTries(running.enter_context(Sandbox(**settings)), file, **tries)

        yield start
