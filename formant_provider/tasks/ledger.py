"""The ledger in Airflow, of what is sent once: the task state store (3.3 and later), or a stand-in.

Airflow deletes a task's XComs before every try, so they cannot carry the intent. The task state store does:
it survives retries, killed workers and, on 3.3, clears. Its entries lie in Airflow's database as plain text
for everyone who may see the task, so they hold ids and times alone.

The store is kept per task and *position* in a mapped list, and lists come back longer, shorter, or in another
order. So a position keeps one entry, with a record for each call that was asked for at it, by the key of
the call, which follows the person. An entry without a record says that nothing was sent from this position,
and nothing of the others. Where a further try finds no entry at all, somebody has deleted it, or Airflow has,
and everything may have been sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Self

from formant_provider.api.errors import SendAborted
from formant_provider.core.batches.decision import BatchIntent
from formant_provider.core.ledger import BaseIntent, IntentT, Sent
from formant_provider.core.transcriptions.submission import TranscriptionIntent

if TYPE_CHECKING:
    from formant_provider.tasks.run import TaskRun

CALLS_ENTRY = "formant_calls"
BATCHES_ENTRY = "formant_batch_calls"
TRANSCRIPTIONS_ENTRY = "formant_transcriptions"
_ENTRIES: dict[type[BaseIntent], str] = {
    BatchIntent: BATCHES_ENTRY,
    TranscriptionIntent: TRANSCRIPTIONS_ENTRY,
}


def ledger_for(
    run: TaskRun, kind: type[IntentT], key: str, *, doubt_since: datetime | None = None
) -> TaskStateLedger[IntentT] | InMemoryLedger[IntentT]:
    """Return the ledger of the call, or batch call, named ``key``, as durable as this Airflow allows.

    :param doubt_since: when this try, before it was deferred, may have sent the call, aware.
    """
    if doubt_since is None and run.try_number > 1:
        doubt_since = run.run_began
    assumed = kind(key, doubt_since, sent=Sent.UNCLEAR) if doubt_since else None
    return InMemoryLedger(assumed) if run.store is None else TaskStateLedger(run, kind, key, assumed)


@contextmanager
def noting_nothing_sent(run: TaskRun, entry: str = CALLS_ENTRY) -> Iterator[None]:
    """Let a further try know of a first one that ended before it had written or sent anything.

    Without it that try would have to reckon with a deleted entry.
    """
    try:
        yield
    except Exception as error:
        if not getattr(error, "maybe_placed", False):
            note_nothing_sent(run, entry)
        raise


def note_nothing_sent(run: TaskRun, entry: str = CALLS_ENTRY) -> None:
    """Let a further try know that a first one has sent nothing; one that sends over a store says so too."""
    if run.store is None or run.try_number > 1:
        return
    with suppress(Exception):
        if run.store.get(entry, default=None) is None:
            keep(run.store, entry, {"from_the_start": True, "calls": {}})


@dataclass
class TaskStateLedger(Generic[IntentT]):
    """Keeps the intent in Airflow's task state store, for ever.

    :param run: of the task, which has a store.
    :param kind: what the record is read as that has this ``key``.
    :param assumed: what has to be assumed of earlier sends when the entry is gone; ``None`` when there were
        none.
    :param from_the_start: whether a new entry tells of all that was sent from this position; ``None`` means,
        if nothing has to be assumed.
    :ivar written_in_try: the try that wrote what was read last; 0 when nobody did.
    """

    run: TaskRun
    kind: type[IntentT]
    key: str
    assumed: IntentT | None
    from_the_start: bool | None = None
    is_durable = True
    is_guess = False
    is_of_others = False
    written_in_try: int = field(default=0, init=False)
    _position: dict[str, Any] | None = field(default=None, init=False)

    def beside_a_store(self) -> Self:
        """Return the same where a store knows of all that nobody has written down here."""
        return replace(self, assumed=None, from_the_start=self.assumed is None)

    @property
    def _entry(self) -> str:
        return _ENTRIES.get(self.kind, CALLS_ENTRY)

    def read(self) -> IntentT | None:
        """Return what an earlier try wrote.

        A process that is no longer the task's own finds nothing here, whatever there is: Airflow tells it of
        its state only when it writes.

        :raises SendAborted: the store does not answer, or holds something that this version cannot read.
        """
        position = kept(self.run, self._entry)
        is_whole = self.assumed is None if self.from_the_start is None else self.from_the_start
        self._position = position or {"from_the_start": is_whole, "calls": {}}
        try:
            return self._read(self._position)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise unreadable(self._entry, error) from error

    def _read(self, position: Mapping[str, Any]) -> IntentT | None:
        record = position["calls"].get(self.key)
        self.written_in_try = 0 if record is None else int(record["try_number"])
        if record is None:
            return None if position["from_the_start"] else self.assumed
        known = self.kind.from_json(record)
        if self.run.is_mapped and self.written_in_try < self.run.try_number - 1 and known.receipt is None:
            return replace(known, sent=Sent.UNCLEAR)  # in between, this position was another's
        return known

    def write(self, intent: IntentT) -> None:
        """Remember; committed in Airflow's database when it returns.

        :raises SendAborted: it was not written. Most often a newer try of this task has taken over.
        """
        if self._position is None:  # what is there of other calls has to stay
            self.read()
        position: Any = self._position
        record = intent.to_json() | {"try_number": self.run.try_number}
        position = {**position, "calls": {**position["calls"], self.key: record}}
        try:
            keep(self.run.store, self._entry, position)
        except Exception as error:
            what = intent.WORDS[intent.receipt is not None]
            raise SendAborted(
                f"The {what} could not be written to Airflow's task state store"
                f" ({type(error).__name__}); perhaps a newer try of this task has taken over"
            ) from error
        self._position, self.written_in_try = position, self.run.try_number

    claim = write

    def ids_of_others(self) -> Collection[str]:
        """Return nothing: an entry knows its own position alone."""
        return ()


def keys_in(run: TaskRun, entry: str) -> Collection[str]:
    """Return the keys of all calls of which the entry of this position tells.

    :raises SendAborted: as :meth:`TaskStateLedger.read`.
    """
    position = None if run.store is None else kept(run, entry)
    try:
        return [] if not position else list(position["calls"])
    except (AttributeError, KeyError, TypeError) as error:
        raise unreadable(entry, error) from error


def kept(run: TaskRun, entry: str) -> Any:
    """Return an entry of the task state store; ``None`` when there is none.

    :raises SendAborted: the store does not answer.
    """
    try:
        return run.store.get(entry, default=None)
    except Exception as error:
        raise SendAborted(f"Airflow's task state store could not be read ({type(error).__name__})") from error


def unreadable(entry: str, error: Exception) -> SendAborted:
    """Return what a process is told that finds something else in an entry than it can read."""
    return SendAborted(
        f"The entry {entry} of the task state store cannot be read ({type(error).__name__});"
        " see whether what it tells of was placed, then correct or delete it"
    )


def keep(store: Any, entry: str, position: dict[str, Any]) -> None:
    """Write an entry that Airflow does not delete when it is old."""
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    store.set(entry, position, retention=NEVER_EXPIRE)


@dataclass
class InMemoryLedger(Generic[IntentT]):
    """Stands in where Airflow has no task state store: a later try assumes that an earlier one has sent.

    Then the vendor's key alone keeps the phone from ringing twice, for 24 hours; after that, and with a batch
    call, a later try looks and does not send.
    """

    assumed: IntentT | None
    is_durable = False
    is_guess = False
    is_of_others = False
    written_in_try = 0

    def beside_a_store(self) -> Self:
        """Return the same where a store knows of all that this process does not."""
        return replace(self, assumed=None)

    def read(self) -> IntentT | None:
        """Return what this process wrote, or what has to be assumed of those before."""
        return self.assumed

    def write(self, intent: IntentT) -> None:
        """Remember for as long as this process lives."""
        self.assumed = intent

    claim = write

    def ids_of_others(self) -> Collection[str]:
        """Return nothing: this process knows of one call."""
        return ()
