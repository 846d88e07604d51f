"""The plain model that the state machine compares the sandbox with: who was to be called, and by whom."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from formant_provider.sandbox import Sandbox
from support.machine_world import API_KEY

PERSONS: dict[str, tuple[str, ...]] = {
    # The last two digits decide how a call ends; a person may be written in two ways.
    "+14155550100": ("+14155550100",),
    "+14155550101": ("+14155550101",),
    "+14155550102": ("+14155550102",),
    "+14155550108": ("+14155550108",),
    "+14155550109": ("+14155550109",),
    "+442079460123": ("+442079460123", "+4402079460123"),
}
PERSON_OF = {spelling: person for person, spellings in PERSONS.items() for spelling in spellings}
IDS = ("trace_id", "conversation_id")


@dataclass
class Run:
    """One run of one task.

    :param rows: what each row asks for: a number as written; or a batch call's name and its numbers.
    :param options: of the operator.
    :param ledger: ``"none"``, ``"task state"``, or ``"call store"``, which is asked whatever Airflow has.
    """

    run_id: str
    is_batch: bool
    is_mapped: bool
    rows: list[Any]
    options: dict[str, Any]
    began: datetime
    run_type: str
    ledger: str
    started: datetime
    tries: Counter[int] = field(default_factory=Counter)
    states: dict[int, str] = field(default_factory=dict)
    calls: dict[str, list[Any]] = field(default_factory=dict)
    """The calls that this run placed, by person."""
    batches: dict[str, list[Any]] = field(default_factory=dict)
    """The batch calls that this run placed, by name."""
    state_lost: set[int] = field(default_factory=set)

    @property
    def indexes(self) -> list[int]:
        return list(range(len(self.rows))) if self.is_mapped else [-1]

    def row(self, index: int) -> Any:
        return self.rows[max(index, 0)]


class Violation(AssertionError):
    """What must hold did not. Each kind is a class of its own, so that hypothesis shrinks each by itself."""


def _kind_of(name: str) -> type[Violation]:
    return type(name, (Violation,), {})


RangAgain, RangStranger, NotCalled, WrongIds, UploadedAgain, Refused, Leaked, Forgotten = map(
    _kind_of,
    ("RangAgain", "RangStranger", "NotCalled", "WrongIds", "UploadedAgain", "Refused", "Leaked", "Forgotten"),
)


class Model:
    """Keeps who placed what, and says what must not be."""

    def __init__(self, sandbox: Sandbox, counts: Counter[str]) -> None:
        self.sandbox = sandbox
        self.counts = counts
        self.runs: list[Run] = []
        self.others: list[tuple[str, datetime]] = []
        """When somebody else called, or was called by somebody else, by person, in the vendor's time."""
        self._calls = self._batches = 0

    def somebody_else(self, person: str) -> None:
        self.others.append((person, self.sandbox.now()))
        self._calls = len(self.sandbox.calls)

    def notice(self, run: Run) -> None:
        """What is new in the sandbox was placed by this run."""
        for call in self.sandbox.calls[self._calls :]:
            person = PERSON_OF[call.customer_phone]
            own = run.calls.setdefault(person, [])
            _require(person in self._asked(run), RangStranger, f"{person} was called, for whom no row asks")
            _require(
                not own or self._may_redial(run, own, call) or self._cannot_be_seen(run, own[-1], call),
                RangAgain,
                f"{person} was called {len(own) + 1} times",
            )
            if own:
                self.counts["redial_on rang again"] += 1
            own.append(call)
            self.others.append((person, self.sandbox.now()))
        for batch in self.sandbox.batches[self._batches :]:
            own = run.batches.setdefault(self._name_of(run, batch), [])
            _require(not own, UploadedAgain, f"batch call {batch.name} was uploaded twice")
            phones = [PERSON_OF[phone] for phone in batch.phones()]
            _require(
                len(set(phones)) == len(phones), RangAgain, f"batch call {batch.name} rings somebody twice"
            )
            own.append(batch)
            self.others += [(person, self.sandbox.now()) for person in phones]
        self._calls, self._batches = len(self.sandbox.calls), len(self.sandbox.batches)

    def nothing_unnoticed(self) -> None:
        """Nobody is called but by a run's try, or by somebody else."""
        seen = (self._calls, self._batches) == (len(self.sandbox.calls), len(self.sandbox.batches))
        _require(seen, RangStranger, "somebody was called outside of every try")

    def judge(self, run: Run, index: int, result: Any, *, provable: bool, receipted: str | None) -> None:
        """Compare what a try left behind with what was placed.

        :param provable: whether the task can know which call is its own.
        :param receipted: trace id of the call, if a call store held its receipt when the try began.
        """
        self._check_private(result)
        pushed = result.xcoms.get("return_value")
        text = str(result.error)
        _require(
            "the same in another row" not in text, Refused, f"row {index} was refused for another row: {text}"
        )
        if not isinstance(pushed, dict):
            return
        placement = pushed.get("placement")
        self.counts[f"placement {placement}"] += 1
        if receipted is not None and not run.options.get("redial_on"):
            self.counts["receipt in the call store"] += 1
            told = placement in {"placed", "found"} and pushed.get("trace_id") == receipted
            _require(told, Forgotten, f"the call store has the receipt, and row {index} is {placement}")
        if run.is_batch:
            self._judge_batch(run, index, pushed)
        else:
            self._judge_call(run, index, pushed, provable=provable)

    def _judge_call(self, run: Run, index: int, pushed: dict[str, Any], *, provable: bool) -> None:
        person = PERSON_OF[run.row(index)]
        own = run.calls.get(person, [])
        if not provable:
            # The same exception goes on after it: a try that took the conversation of another for its own
            # (``found``) writes that down, and the next one reads it as ``placed``.
            self.counts["ids not provable"] += 1
            return
        if pushed["placement"] == "placed":
            _require(bool(own), NotCalled, f"{person} counts as called and was not")
        chain = {own[-1].chain_id} if own else set()
        attempts = [*own[-1:], *(r for r in self.sandbox._state.redials if r.chain_id in chain)]
        if len(own) > 1:  # redials by the platform of an earlier call are in the same chain
            attempts = [a for a in attempts if a.attempt >= own[-1].attempt]
        known = {
            "trace_id": {a.trace_id for a in attempts},
            "conversation_id": {a.conversation_id for a in attempts} | chain,
        }
        for name in IDS:
            value = pushed.get(name)
            ours = value is None or value == "" or value in known[name]
            _require(ours, WrongIds, f"{name} of {person} is {self._whose(value)}")

    def _judge_batch(self, run: Run, index: int, pushed: dict[str, Any]) -> None:
        own = run.batches.get(self._name(run, index), [])
        if pushed["placement"] is None:  # what a task leaves that placed nothing
            _require(pushed["batch_id"] is None, WrongIds, "a batch call that was not placed has an id")
            return
        _require(bool(own), NotCalled, f"batch call {pushed['name']} counts as placed and was not")
        ids = {batch.batch_id for batch in own}
        _require(pushed["batch_id"] in ids, WrongIds, f"batch_id {pushed['batch_id']} is not its own")

    def is_provable(self, run: Run, index: int) -> bool:
        """Whether the task can know its own call.

        The one exception to right ids: nothing is written down of this person (the entry was deleted, the
        person has moved to another row, Airflow has no store) *and* others talked with the same person since
        the run began. Then nobody can tell the conversations apart.
        """
        if run.is_batch:
            return True
        person = PERSON_OF[run.row(index)]
        others = [p for p, at in self.others if p == person and at >= run.began - timedelta(minutes=10)]
        own = run.calls.get(person, [])
        return not self._lost(run, index) or len(others) <= len(own)

    def _lost(self, run: Run, index: int) -> bool:
        if run.ledger == "call store":
            return False
        return run.ledger == "none" or index in run.state_lost or run.is_mapped

    def _may_redial(self, run: Run, own: list[Any], call: Any) -> bool:
        """Whether the newest record that can be read is the last call's and ended as ``redial_on`` says."""
        now, last = call.starts_at, own[-1]
        attempts = [last, *(r for r in self.sandbox._state.redials if r.chain_id == last.chain_id)]
        begun = [a for a in attempts if a.attempt >= last.attempt and a.starts_at <= now and a.recorded(now)]
        if not begun or not last.recorded(now):
            return False
        newest = max(begun, key=lambda attempt: attempt.starts_at)
        return newest.status(now) in run.options.get("redial_on", ())

    def _cannot_be_seen(self, run: Run, last: Any, call: Any) -> bool:
        """Whether a person moved to another row after a day, and the API keeps no record of the first call.

        The vendor has forgotten the key by then, and a row knows nothing of the others: the one limit that
        the pages name.
        """
        self.counts["calls that cannot be seen"] += 1
        late = call.starts_at - last.starts_at >= timedelta(hours=23)
        return run.ledger != "call store" and run.is_mapped and last.recorded_at is None and late

    def _asked(self, run: Run) -> set[str]:
        return set() if run.is_batch else {PERSON_OF[row] for row in run.rows}

    def _name_of(self, run: Run, batch: Any) -> str:
        _require(run.is_batch, RangStranger, "a call's task uploaded a batch call")
        names = [name for name, _ in run.rows if batch.name.startswith(name)]
        _require(
            len(names) == 1, RangStranger, f"batch call {batch.name} was uploaded, for which no row asks"
        )
        return names[0] if run.is_mapped else ""

    def _name(self, run: Run, index: int) -> str:
        return run.row(index)[0] if run.is_mapped else ""

    def _whose(self, value: Any) -> str:
        for run in self.runs:
            for person, calls in run.calls.items():
                for call in calls:
                    if value in (call.trace_id, call.conversation_id):
                        return f"that of {person} in {run.run_id}"
        return "nobody's of ours" if value else "missing"

    def _check_private(self, result: Any) -> None:
        kinds = ("SetXCom", "SetTaskStateStore", "DeferTask")
        for message in result.messages:
            if type(message).__name__ in kinds:
                text = json.dumps(message.model_dump(), default=str)
                secrets = [API_KEY, *(spelling[1:] for spelling in PERSON_OF)]
                _require(
                    not any(s in text for s in secrets),
                    Leaked,
                    f"{type(message).__name__} holds what is private",
                )


def _require(holds: bool, kind: type[Violation], otherwise: str) -> None:
    if not holds:
        raise kind(otherwise)
