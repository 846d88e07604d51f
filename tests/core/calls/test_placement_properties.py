"""Whatever goes wrong, in whatever order: random days in the life of one call, and what never happens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from formant_provider.api.client import CREATE_CALL, GET_CONVERSATION, LIST_CONVERSATIONS
from formant_provider.api.errors import (
    BadResponse,
    CallOutcomeUnknown,
    FormantError,
    InvalidInput,
    ResponseLost,
    RetryableError,
    SendAborted,
)
from formant_provider.core.calls.placement import Placement, Result
from formant_provider.sandbox import Fault, Sandbox
from support.ledgers import NOON, Died, MemoryLedger, Tries, call_to, on_ask

HOUR = 3600.0
RUN_BEGAN = NOON - timedelta(minutes=1)
VENDOR_REMEMBERS = timedelta(hours=24)
# One of each kind: refused, in doubt and not accepted, in doubt and accepted. The tables have them all.
POST_FAULTS = [Fault.RATE_LIMIT, Fault.ERROR_503_BEFORE, Fault.DROP_AFTER]
READ_FAULTS = [Fault.RATE_LIMIT, Fault.ERROR_503_BEFORE, Fault.DROP_BEFORE]


@dataclass(frozen=True)
class Try:
    """One try of the task: the faults it may meet, and how its process ends if not by itself.

    :param ledger: what happens at which of its writes: ``fails_at``, ``dies_before`` or ``dies_after``.
    :param asked: at which check before a send it dies or is aborted.
    """

    posts: tuple[Fault, ...] = ()
    lists: tuple[Fault, ...] = ()
    details: tuple[Fault, ...] = ()
    ledger: tuple[str, int] | None = None
    asked: tuple[str, int] | None = None


# The ledger is lost, and the next try begins with an empty one.
CLEAR = "clear"
# A process that is no longer the task's own wakes up.
STALE = "stale"
# Hours that pass are a number.
Step = Try | float | str
nth = st.integers(1, 4)
posts = st.lists(st.sampled_from(POST_FAULTS), max_size=3).map(tuple)
lists = st.lists(st.sampled_from(READ_FAULTS), max_size=2).map(tuple)
details = st.lists(st.sampled_from([Fault.NOT_FOUND, *READ_FAULTS]), max_size=1).map(tuple)
ledgers = st.tuples(st.sampled_from(["fails_at", "dies_before", "dies_after"]), nth)
answers = st.tuples(st.sampled_from(["dies", "aborted"]), nth)
tries = st.one_of(
    st.builds(Try, posts=posts),
    st.builds(Try, posts=posts, ledger=ledgers),
    st.builds(Try, posts=posts, asked=answers),
    st.builds(Try, posts=posts, lists=lists, details=details),
)
passing = st.sampled_from([0.1, 1.0, 12.0, 23.9, 26.0])
others = st.one_of(passing, st.just(CLEAR), st.just(STALE))
steps = st.lists(st.one_of(tries, others), min_size=1, max_size=8)
worlds = st.fixed_dictionaries(
    {
        "failed_request_uses_key": st.booleans(),
        "record_appears": st.sampled_from(["start", "end"]),
        "list_order": st.sampled_from(["newest_first", "oldest_first"]),
        "trace_id_in_list": st.booleans(),
    }
)
endings = st.sampled_from(["00", "08", "09"])  # a record at the end, never, and a minute after the end
schedules = st.none() | st.sampled_from([1.0, 23.0, 30.0])


@dataclass
class Life:
    """One call from its first try on, and what may be said of it."""

    task: Tries
    began: datetime | None = None
    rings: list[datetime] = field(default_factory=list)
    unbroken: bool = True  # the ledger as it is can tell that the phone rang, if it did

    def step(self, step: Step) -> None:
        if isinstance(step, Try):
            self.try_once(step)
        elif isinstance(step, float):
            self.task.sandbox.advance(step * HOUR)
        elif step == CLEAR:
            self.task.ledger = MemoryLedger()
            self.task.taken_since = RUN_BEGAN  # before that the first try knew that it was the first
            self.unbroken = not self.rings
        else:
            assert isinstance(self.task.wake_stale_process(), SendAborted | InvalidInput)

    def try_once(self, step: Try) -> Placement | BaseException:
        self.began = self.began or self.task.sandbox.now()
        outcome = self.place(step)
        self.check_rings()
        if isinstance(outcome, FormantError):
            self.check_error(outcome)
        elif isinstance(outcome, Placement):
            self.check_placement(outcome)
            # Placed, found or told by a 409: unless its writes failed, the ledger knows of it from here on.
            self.unbroken = self.unbroken or step.ledger is None
        return outcome

    def place(self, step: Try) -> Placement | BaseException:
        faults = {CREATE_CALL: step.posts, LIST_CONVERSATIONS: step.lists, GET_CONVERSATION: step.details}
        self.task.meet(faults, step.ledger)
        try:
            return self.task.place(check_before_send=_check(step))
        except (FormantError, Died) as outcome:
            return outcome

    def check_rings(self) -> None:
        """One ring for one call, unless its ledger was lost and then the vendor forgot its key too."""
        new = self.task.rings - len(self.rings)
        assert new in {0, 1}, "one try rang twice"
        if not new:
            return
        now = self.task.sandbox.now()
        if self.rings:
            assert not self.unbroken, "rang again although the ledger was kept"
            assert self.began is not None
            assert now - self.began >= VENDOR_REMEMBERS, "rang again although the vendor knew the key"
        else:
            self.unbroken = True
        self.rings.append(now)

    def check_error(self, error: FormantError) -> None:
        """No error claims that nobody was called when the ledger could have told that somebody was."""
        assert error.maybe_placed or not (self.rings and self.unbroken), repr(error)

    def check_placement(self, placement: Placement) -> None:
        """A receipt is that of a call that was placed; a call that was not is never claimed."""
        if placement.receipt is None:
            assert placement.result is Result.UNCONFIRMED
            return
        recipient = self.task.call.recipient
        calls = {call.trace_id: call for call in self.task.sandbox.calls if call.customer_phone == recipient}
        call = calls[placement.receipt.trace_id or ""]
        assert placement.receipt.conversation_id in {None, call.conversation_id, call.chain_id}
        assert self.task.ledger.last.receipt in {placement.receipt, None}

    def settle(self) -> None:
        """When nothing goes wrong any more, the next tries come to an end of which the user is told."""
        for _ in range(40):
            outcome = self.try_once(Try())
            if not isinstance(outcome, RetryableError | ResponseLost | BadResponse | SendAborted):
                break
        assert isinstance(outcome, Placement | CallOutcomeUnknown | InvalidInput), repr(outcome)
        if isinstance(outcome, InvalidInput):
            assert self.task.call.scheduled_for is not None


def _check(step: Try) -> Any:
    if step.asked is None:
        return None
    how, number = step.asked
    return on_ask(number, Died() if how == "dies" else SendAborted("The task was stopped"))


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of tries warn of what is done to them; a failure is easier to read without."""
    logger = logging.getLogger("formant_provider")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


PLAIN = {"failed_request_uses_key": False, "record_appears": "end"}
# Two that were found here once. After both, the vendor alone knows of the ring, and only for so long.
LIMITED_AFTER_A_CLEAR = [Try(), 0.1, CLEAR, Try(posts=(Fault.RATE_LIMIT,))]
IN_DOUBT_AFTER_A_CLEAR = [Try(), CLEAR, 0.1, Try(posts=(Fault.ERROR_503_BEFORE,)), 23.9]


@pytest.mark.timeout(300)  # it takes seconds, but a failure is made small before it is shown
@settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@example(world=PLAIN, ending="00", schedule=None, sends=4, steps=LIMITED_AFTER_A_CLEAR)
@example(world=PLAIN, ending="00", schedule=None, sends=2, steps=IN_DOUBT_AFTER_A_CLEAR)
@given(world=worlds, ending=endings, schedule=schedules, sends=st.sampled_from([1, 2, 4]), steps=steps)
def test_no_phone_rings_twice_and_no_call_is_denied(
    world: dict[str, Any], ending: str, schedule: float | None, sends: int, steps: Sequence[Step]
) -> None:
    """No order of faults, deaths, clears and hours rings twice, claims a call that is none, or denies one."""
    at = None if schedule is None else NOON + timedelta(hours=schedule)
    with Sandbox(speed=0, start_at=NOON, rate_limit=None, **world) as sandbox:
        call = call_to(ending, scheduled_for=at)
        life = Life(Tries(sandbox, call, lookup_timeout_s=5.0, sends=sends))
        for step in steps:
            life.step(step)
        life.settle()
        assert all(call.recipient[1:] not in text for text in life.task.ledger.history)
