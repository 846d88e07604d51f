"""Every fault, every death and every lag, one after the other: nobody is ever called twice."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from formant_provider.api.client import CREATE_BATCH_CALL, LIST_BATCH_CALLS
from formant_provider.api.errors import BatchOutcomeUnknown, FormantError, SendAborted
from formant_provider.core.batches.placement import BatchPlacement
from formant_provider.sandbox import Fault
from support.batches import BatchTries, Start, starting
from support.ledgers import Died, on_ask

FAULTS = [
    fault for fault in Fault if CREATE_BATCH_CALL in fault.endpoints and not fault.startswith("hang")
]  # to us, a hang is a connection that is dropped
DEATHS = [None, *itertools.product(["fails_at", "dies_before", "dies_after"], [1, 2, 3])]
LAGS = [0, 3, 10_000]


@dataclass(frozen=True)
class Try:
    """One try: the faults it meets, and what happens at which write of the ledger, or at which ask."""

    posts: tuple[Fault, ...] = ()
    lists: tuple[Fault, ...] = ()
    ledger: tuple[str, int] | None = None
    dies_at_ask: int | None = None


class Life:
    """One batch call from its first try on."""

    def __init__(self, task: BatchTries) -> None:
        self.task = task

    def step(self, step: Try | str) -> BatchPlacement | BaseException | None:
        if step == "clear":
            self.task.lose_ledger()
            return None
        if step == "stale":
            assert isinstance(self.task.wake_stale_process(), SendAborted)
            return None
        assert isinstance(step, Try)
        return self.try_once(step)

    def try_once(self, step: Try) -> BatchPlacement | BaseException:
        self.task.meet({CREATE_BATCH_CALL: step.posts, LIST_BATCH_CALLS: step.lists}, step.ledger)
        check = on_ask(step.dies_at_ask, Died()) if step.dies_at_ask else None
        try:
            outcome: BatchPlacement | BaseException = self.task.place(check_before_send=check)
        except (FormantError, Died) as error:
            outcome = error
        self.check(outcome)
        return outcome

    def check(self, outcome: BatchPlacement | BaseException) -> None:
        """Nobody is called twice, nobody is claimed to have been called, and no ring is denied."""
        (rings,) = self.task.rings
        assert rings <= 1
        if isinstance(outcome, BatchPlacement):
            assert rings == 1
            assert outcome.batch_id == self.task.sandbox.batches[0].batch_id
        if isinstance(outcome, FormantError) and rings:
            assert outcome.maybe_placed, repr(outcome)

    def settle(self) -> None:
        """When nothing goes wrong any more, the next tries come to an end of which the user is told."""
        outcome = self.try_once(Try())
        for _ in range(10):
            if isinstance(outcome, BatchPlacement | BatchOutcomeUnknown):
                return
            outcome = self.try_once(Try())
        raise AssertionError(repr(outcome))


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of tries warn of what is done to them; a failure is easier to read without."""
    logger = logging.getLogger("formant_provider")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


# Where the list lags behind, the wish to upload again is the one that may ring twice.
@pytest.mark.parametrize(("lag", "resubmit"), [*((lag, False) for lag in LAGS), (0, True)])
def test_no_fault_with_any_death_rings_twice(lag: int, resubmit: bool, start: Start) -> None:
    """Each fault with each death and each failing write, then a clear or none, then calm tries."""
    task = start({"batch_list_lag_reads": lag}, lookup_timeout_s=2.0, resubmit_if_missing=resubmit)
    tried = 0
    for fault, death, clear in itertools.product([None, *FAULTS], DEATHS, [False, True]):
        task.sandbox.reset()
        task.ledger = type(task.ledger)(kind=task.ledger.kind)
        life = Life(task)
        first = life.try_once(Try(posts=(fault,) if fault else (), ledger=death))
        if clear:
            life.step("clear")
        life.settle()
        tried += 1
        if resubmit:
            assert task.rings == {1}, (fault, death, first)
    assert tried == (len(FAULTS) + 1) * len(DEATHS) * 2


nth = st.integers(1, 4)
posts = st.lists(st.sampled_from(FAULTS), max_size=3).map(tuple)
lists = st.lists(
    st.sampled_from([Fault.RATE_LIMIT, Fault.ERROR_503_BEFORE, Fault.DROP_BEFORE]), max_size=3
).map(tuple)
ledgers = st.none() | st.tuples(st.sampled_from(["fails_at", "dies_before", "dies_after"]), nth)
tries = st.builds(Try, posts=posts, lists=lists, ledger=ledgers, dies_at_ask=st.none() | nth)
steps = st.lists(st.one_of(tries, tries, st.sampled_from(["clear", "stale"])), min_size=1, max_size=7)


@pytest.mark.timeout(300)
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    lag=st.sampled_from(LAGS),
    order=st.sampled_from(["newest_first", "oldest_first", "unordered"]),
    sends=st.sampled_from([1, 2, 4]),
    steps=steps,
)
def test_no_order_of_mishaps_rings_twice(lag: int, order: Any, sends: int, steps: Any) -> None:
    """Random lives of one batch call: tries, clears, and processes that are no longer the task's own."""
    with starting() as begin:
        world = {"batch_list_lag_reads": lag, "list_order": order}
        task = begin(world, lookup_timeout_s=2.0, sends=sends)
        life = Life(task)
        for step in steps:
            life.step(step)
        life.settle()
