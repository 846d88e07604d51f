"""The ledger of a call list in Airflow's task state store: many calls in one write.

Before the first send of some calls their chunk is written, and says of each that it may have been sent. What
came of a send is written some seconds later, together with that of others. So a process that dies leaves the
calls in doubt that it had in hand, fifty at most, and no others: a further try asks for them again with
the same keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import pendulum

from formant_provider.core.call_lists.calls import Attempt, Known, ListedCall
from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import Sent
from formant_provider.tasks.call_lists.chunks import CHUNK, Chunks, Record
from formant_provider.tasks.call_lists.state_calls import StateCallLedger, doubt_of
from formant_provider.tasks.run import TaskRun

# What is lost with a process that dies: receipts are asked for again then, each with a request.
_RECEIPT_WITHIN = timedelta(seconds=5)
# Ends are learnt again from the list that is read in any case.
_END_WITHIN = timedelta(seconds=30)


@dataclass
class StateListLedger:
    """Keeps the calls of a list in Airflow's task state store, for ever.

    Call :meth:`note` about once a second, also with nothing: it writes what has waited for some seconds.

    :param run: of the task, which has a store.
    :param was_deferred: whether this try was deferred before, and so may have sent calls.
    :param taken_since: when somebody else can have sent the keys of these calls at the earliest, aware, as
        the policy of their placement has it; ``None``: nobody can.
    :param over: the call store that is asked as well, by its name here; ``None``: none is.
    """

    run: TaskRun
    was_deferred: bool = False
    taken_since: datetime | None = None
    over: str | None = None
    now: Callable[[], datetime] = lambda: pendulum.now("UTC")
    at_once = CHUNK
    _chunks: Chunks | None = field(default=None, init=False)
    _in_hand: dict[str, StateCallLedger] = field(default_factory=dict, init=False)
    _written_here: set[str] = field(default_factory=set, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def known(self, keys: Sequence[str]) -> Mapping[str, Known]:
        """Return what is known of these calls. Where an entry is gone, those without a record are in doubt.

        :raises SendAborted: it cannot be read, or the task is not this process's any more.
        """
        with self._lock:
            found = ((key, self._known(key)) for key in keys)
            return {key: known for key, known in found if known is not None}

    def prepare(self, calls: Sequence[ListedCall]) -> Sequence[ListedCall]:
        """Write of each that it may have been sent.

        :return: the same calls, each by the agent that may have been asked for it before.
        :raises SendAborted: it cannot be written; most often a newer try of this task has taken over.
        """
        with self._lock:
            prepared = [self._ledger(call) for call in calls]
            self._loaded().note_agents([ledger.call.request.agent_id for ledger in prepared])
            self._in_hand |= {ledger.call.key: ledger for ledger in prepared}
            try:
                self._write([call.key for call in calls], at=self.now())
            except BaseException:  # also a timeout that Airflow raises anywhere
                for call in calls:
                    self.finish(call)
                raise
        return [ledger.call for ledger in prepared]

    def ledger_of(self, call: ListedCall) -> StateCallLedger:
        """Return the ledger of a call that was prepared."""
        return self._in_hand[call.key]

    def finish(self, call: ListedCall) -> None:
        """Note that no thread is at work on a call any more: what is known of it is written before long."""
        with self._lock:
            self._put(call.key, self._in_hand.pop(call.key).outcome, _RECEIPT_WITHIN)

    def note(self, ended: Iterable[tuple[str, Attempt]]) -> None:
        """Remember attempts that are over, and write what has waited long enough.

        :raises SendAborted: it cannot be written.
        """
        with self._lock:
            for key, attempt in ended:
                self._note(key, attempt)
            self._write([], at=self.now())

    def flush(self) -> None:
        """Write all that is not written yet.

        :raises SendAborted: it cannot be written.
        """
        with self._lock:
            self._write([])

    def mark_over(self, store: str, agents: Collection[int]) -> None:
        """Let further tries know that this one sends calls over a call store.

        :param store: its name here.
        :param agents: by whom.
        :raises SendAborted: it cannot be written.
        """
        with self._lock:
            self._loaded().mark_over(store)
            self._loaded().note_agents(agents)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was sent of which neither this tells nor the store that is asked as well.

        :raises SendAborted: it cannot be read.
        """
        with self._lock:
            return self._loaded().is_whole

    @property
    def has_begun(self) -> bool:
        """Whether a call may have been placed, whoever was on the list then.

        :raises SendAborted: it cannot be read.
        """
        with self._lock:
            return self._loaded().has_begun

    def told(self, key: str) -> tuple[Intent | None, int]:
        """Return what is known of a call, and the try that wrote it; 0 when nobody did.

        :raises SendAborted: it cannot be read.
        """
        with self._lock:
            record, known = self._loaded().find(key), self._known(key)
            intent = None if known is None else known.intent
            return intent, 0 if record is None else record.try_number

    def keys(self) -> Collection[str]:
        """Return the keys of all calls of which there is a record.

        :raises SendAborted: it cannot be read.
        """
        with self._lock:
            return self._loaded().keys()

    def _loaded(self) -> Chunks:
        if self._chunks is None:
            chunks = Chunks(self.run, self.run.try_number == 1 and not self.was_deferred, self.over)
            chunks.load()
            self._chunks = chunks
        return self._chunks

    def _ledger(self, call: ListedCall) -> StateCallLedger:
        known, key = self._known(call.key), call.key
        call = call.by(None if known is None else known.bound_to)
        if known is not None:
            known = replace(known, agent_id=call.request.agent_id)
        doubt = doubt_of(call, known, self.now(), taken_since=self.taken_since)
        write, check = partial(self._write_one, key), self._loaded().refuse_beside_another
        return StateCallLedger(call, known, doubt, write, self._lock, check)

    def _write_one(self, key: str, at_once: bool) -> None:
        if at_once:
            self._write([key], at=self.now())
        else:
            self._put(key, self._in_hand[key].to_record, _RECEIPT_WITHIN)

    def _known(self, key: str) -> Known | None:
        if key in self._in_hand:
            return self._in_hand[key].known
        chunks = self._loaded()
        record = chunks.find(key)
        if record is None:
            doubt = Intent(key, self.run.run_began, Sent.UNCLEAR, shared_since=self.taken_since)
            return None if chunks.is_whole else Known(None, doubt, agents=frozenset(chunks.agents))
        return self._believed(record, over_others=chunks.over_others and key not in self._written_here)

    def _believed(self, record: Record, *, over_others: bool) -> Known:
        """Return what a record tells, where others that do not write here may have been at it since."""
        known, intent, began = record.known, record.known.intent, self.run.run_began
        if over_others:
            intent = replace(intent, shared_since=min(began, intent.shared_since or began))
            if intent.receipt is None:
                intent = replace(intent, sent=Sent.UNCLEAR, written_at=began, sends=(), refused=None)
        elif self.run.is_mapped and record.try_number < self.run.try_number - 1 and intent.receipt is None:
            intent = replace(intent, sent=Sent.UNCLEAR)  # in between, this position was another's
        return replace(known, intent=intent)

    def _note(self, key: str, attempt: Attempt) -> None:
        known = self._known(key)
        if known is None:
            raise LookupError("Nothing is known of a call that is said to be over")
        others = [each for each in known.ended if each.number != attempt.number]
        ended = sorted([*others, attempt], key=lambda each: each.number)
        known = replace(known, ended=tuple(ended))
        if key in self._in_hand:
            self._in_hand[key].known = known
            known = self._in_hand[key].to_record
        self._put(key, known, _END_WITHIN)

    def _put(self, key: str, known: Known, within: timedelta) -> None:
        record = Record(known, self.run.try_number)
        self._loaded().chunk_for(key).put(key, record, due_at=self.now() + within)
        self._written_here.add(key)

    def _write(self, keys: Iterable[str], *, at: datetime | None = None) -> None:
        """Write the chunks of calls in hand, and with them what else is due.

        :param at: by when that is; ``None`` means all.
        """
        chunks, touched = self._loaded(), {}
        for key in keys:
            self._put(key, self._in_hand[key].to_record, timedelta())
            touched[chunks.chunk_for(key).number] = chunks.chunk_for(key)
        due = {chunk.number: chunk for chunk in chunks.due(at)} | touched
        try:
            chunks.write(due.values())
        except BaseException:
            # It may have been written all the same, and no other chunk can be relied on to be ours.
            for ledger in self._in_hand.values():
                ledger.on_record = None
            raise
        for key, ledger in self._in_hand.items():
            if due and chunks.chunk_for(key).number in due:
                ledger.on_record = ledger.to_record.intent
