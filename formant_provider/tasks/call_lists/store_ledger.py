"""The ledger of a call list in a call store: a row for each call, as every other call has one.

What an earlier try without the store has written into Airflow counts as well, and Airflow is told once that
calls are sent over the store, so that a later try without it takes nobody for never called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import pendulum

from formant_provider.core.call_lists.calls import Attempt, Known, ListedCall
from formant_provider.core.calls.intent import Intent
from formant_provider.core.ledger import Sent
from formant_provider.tasks.call_lists.state_ledger import StateListLedger
from formant_provider.tasks.call_store import CallStore, asked_for
from formant_provider.tasks.ledger import InMemoryLedger

if TYPE_CHECKING:
    from formant_provider.store.admission import Admission
    from formant_provider.store.beside import BeforeStore
    from formant_provider.store.ledger import StoreLedger
    from formant_provider.store.pace import Pace
    from formant_provider.store.store import Store

_ENDS_AT_ONCE = 200
_AT_ONCE = 500


def name_of(store: Store) -> str:
    """Return the name by which Airflow is told of a store: the same for all who use it."""
    return store.digests.idempotency_key("the name of this store")


@dataclass
class StoreListLedger:
    """Keeps the calls of a list in a call store.

    :param store: of the task. Whether it knows all goes by what ``airflow`` tells too; see ``told`` of
        :func:`~formant_provider.tasks.call_store.call_store_of`.
    :param admission: what each call has to pass.
    :param pace: returns in whose turn one call is placed, given whether it has waited before; ``None``: at
        once.
    :param airflow: the ledger in Airflow, ``over`` this store; ``None`` before Airflow 3.3.
    :param was_deferred: whether this try was deferred before, and so may have sent calls.
    """

    store: CallStore
    admission: Admission
    pace: Callable[[bool], Pace | None]
    airflow: StateListLedger | None
    was_deferred: bool = False
    at_once = _AT_ONCE
    _in_hand: dict[str, StoreLedger[Intent]] = field(default_factory=dict, init=False)
    _ended: dict[tuple[str, int], Attempt] = field(default_factory=dict, init=False)
    _waited: set[str] = field(default_factory=set, init=False)

    def known(self, keys: Sequence[str]) -> Mapping[str, Known]:
        """Return what the store knows of these calls, and Airflow.

        :raises SendAborted: one of them cannot be read.
        """
        from formant_provider.store.call_lists import calls_known

        ours = calls_known(self.store.store, keys)
        theirs = {} if self.airflow is None else self.airflow.known(keys)
        both = {key: _completed(ours.get(key), self._told(theirs.get(key))) for key in keys}
        return {key: known for key, known in both.items() if known is not None}

    def prepare(self, calls: Sequence[ListedCall]) -> Sequence[ListedCall]:
        """Make their ledgers: each claims its row by itself, before its send.

        :return: the same calls, each by the agent that may have been asked for it before.
        :raises SendAborted: Airflow cannot be told; most often a newer try of this task has taken over.
        """
        self.flush()
        known = self.known([call.key for call in calls])
        prepared = [call.by(known[call.key].bound_to if call.key in known else None) for call in calls]
        if self.airflow is not None:
            agents = {call.request.agent_id for call in prepared}
            self.airflow.mark_over(name_of(self.store.store), agents)
        for call in prepared:
            ledger = self._ledger(call)
            ledger.guesses = ledger.guesses and call.key not in known
            self._in_hand[call.key] = ledger
        return prepared

    def ledger_of(self, call: ListedCall) -> StoreLedger[Intent]:
        """Return the ledger of a call that was prepared."""
        return self._in_hand[call.key]

    def finish(self, call: ListedCall) -> None:
        """Note that no thread is at work on a call any more; whether it waits for its turn is kept."""
        pace = self._in_hand.pop(call.key).pace
        if pace is not None and pace.has_waited:
            self._waited.add(call.key)
        else:
            self._waited.discard(call.key)

    def note(self, ended: Iterable[tuple[str, Attempt]]) -> None:
        """Write down attempts that are over, many in one transaction.

        :raises SendAborted: it cannot be written.
        """
        self._ended |= {(key, attempt.number): attempt for key, attempt in ended}
        self.flush()

    def flush(self) -> None:
        """Write what is not written yet.

        :raises SendAborted: it cannot be written.
        """
        from formant_provider.store.outcomes import record_ends

        store = self.store.store
        while self._ended:
            some = list(self._ended.items())[:_ENDS_AT_ONCE]
            rows = [(store.digests.idempotency_key(key), attempt) for (key, _), attempt in some]
            record_ends(store, rows, now=pendulum.now("UTC"))
            for name, _ in some:
                del self._ended[name]

    def _ledger(self, call: ListedCall) -> StoreLedger[Intent]:
        request = call.request
        asked = asked_for(
            self.store.run,
            key=call.key,
            agent_id=request.agent_id,
            recipient=request.recipient,
            reference=call.reference,
        )
        return self.store.ledger(
            Intent,
            asked,
            self.admission,
            self._before(call.key),
            self.pace(self.was_deferred or call.key in self._waited),
            has_untold=self.airflow is None or not self.airflow.is_whole,
        )

    def _before(self, key: str) -> BeforeStore[Intent]:
        if self.airflow is not None:
            return InAirflow(self.airflow, key)
        run = self.store.run
        is_first = run.try_number == 1 and not self.was_deferred
        return InMemoryLedger(None if is_first else Intent(key, run.run_began, Sent.UNCLEAR))

    def _told(self, theirs: Known | None) -> Known | None:
        """Return what Airflow tells of a call, but for what has to be assumed where no store knows all."""
        is_assumed = theirs is not None and theirs.agent_id is None
        return None if is_assumed and self.store.knows_all else theirs


@dataclass
class InAirflow:
    """What Airflow knows of one call of a list, whose ledger is a call store.

    :param is_assumed: whether a call of which nothing is written has to be assumed where entries are gone.
    :ivar written_in_try: the try that wrote what was read last; 0 when nobody did.
    """

    ledger: StateListLedger
    key: str
    is_assumed: bool = True
    is_durable = True
    is_guess = False
    is_of_others = False
    written_in_try: int = field(default=0, init=False)

    def beside_a_store(self) -> Self:
        """Return the same where a store knows of all that nobody has written down here."""
        return replace(self, is_assumed=False)

    def read(self) -> Intent | None:
        """Return what is known.

        :raises SendAborted: it cannot be read.
        """
        intent, self.written_in_try = self.ledger.told(self.key)
        return intent if self.written_in_try or self.is_assumed else None

    def write(self, intent: Intent) -> None:
        """Do nothing: it is told of the store once, before anything is sent."""

    claim = write

    def ids_of_others(self) -> Collection[str]:
        """Return nothing: a list has one call to a person."""
        return ()


def _completed(ours: Known | None, theirs: Known | None) -> Known | None:
    """Return what both know of a call: the newer attempt counts, then the receipt, then the doubt."""
    if ours is None or theirs is None:
        return ours or theirs
    more, less = (theirs, ours) if _rank(theirs) > _rank(ours) else (ours, theirs)
    ended = {each.number: each for each in (*less.ended, *more.ended)}
    return replace(more, ended=tuple(ended[number] for number in sorted(ended)))


def _rank(known: Known) -> tuple[int, bool, bool]:
    intent = known.intent
    return intent.attempt, intent.receipt is not None, intent.sent is Sent.UNCLEAR
