"""Days in the life of whole DAGs, in any order: nobody is called twice, and nobody's ids are another's."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from formant_provider.sandbox import Fault
from formant_provider.sandbox.faults import BATCH, BATCHES, CALL, DETAIL, LIST
from support.machine import ENDPOINTS, FIRED, HANGS, LEDGERS, PlacingMachine, faults_of
from support.versions import needs_state_store

SEED = int(os.environ.get("MACHINE_SEED", "20260318"))
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "125"))
STEPS = 25
RULES = (
    "new call",
    "new mapped call",
    "new batch call",
    "new mapped batch call",
    "retry",
    "clear",
    "clear, state dropped",
    "state entry deleted",
    "list grew",
    "list shrank",
    "list reordered",
    "killed",
    "overtaken",
    "others called",
    "inbound call",
    "platform redialled",
    "deferred",
    "3600 s pass",
    "86400 s pass",
    "90000 s pass",
    *(f"ledger {ledger}" for ledger in LEDGERS),
    "receipt in the call store",
)
EACH_FAULT = [(endpoint, fault) for endpoint in ENDPOINTS for fault in faults_of(endpoint)]
WAITING = {"wait_for_completion": True}
# The request whose lost answer makes the next try look there.
LOOKED_AT_AFTER = {LIST: CALL, BATCHES: BATCH}
SETTINGS = {
    "failed_request_uses_key": True,
    "record_appears": "start",
    "trace_id_in_list": True,
    "times_in_detail": True,
}

pytestmark = needs_state_store


@pytest.mark.timeout(600)
def test_whatever_happens_everybody_is_rung_once_and_ids_are_their_own(capsys):
    """Runs, retries, clears, other lists, faults, deaths, clocks, other people: one ring for each intent."""
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(SEED)(PlacingMachine), settings=chosen)
    except BaseException:
        with capsys.disabled():
            print(f"\nThe state machine failed with MACHINE_SEED={SEED} MACHINE_EXAMPLES={EXAMPLES}")  # noqa: T201 - for people
        raise


def test_every_rule_did_fire():
    """The test above is not vacuous: everything that can happen did, in one of its runs."""
    assert FIRED, "runs after the test above, in the same process"
    assert not [name for name in RULES if not FIRED[name]]


@pytest.mark.parametrize(("endpoint", "kind"), EACH_FAULT)
def test_each_fault_at_each_endpoint_leaves_one_ring_for_each_intent(endpoint, kind):
    """One day for each fault at each endpoint: what random days may never meet. The model judges each try."""
    machine = PlacingMachine()
    machine.begin(SETTINGS, 0, "task state", has_task_state=True)
    try:
        if endpoint in LOOKED_AT_AFTER:
            machine.world.sandbox.inject(LOOKED_AT_AFTER[endpoint], Fault.DROP_AFTER, times=1)
        more = {"seconds": 0.6} if kind in HANGS else {}
        machine.world.sandbox.inject(endpoint, kind, times=1, **more)
        is_batch = endpoint in (BATCH, BATCHES)
        _a_call_or_batch_call_and_its_retries(machine, is_batch=is_batch, waits=endpoint == DETAIL)
        machine.nothing_went_unnoticed()
        assert kind in [request.fault for request in machine.world.sandbox.requests]
    finally:
        machine.teardown()


def _a_call_or_batch_call_and_its_retries(machine: PlacingMachine, *, is_batch: bool, waits: bool) -> None:
    if is_batch:
        machine.new_batch(rows=[("Delhi", ["+14155550101"])], error=None)
    else:
        options = WAITING if waits else {}
        machine.new_call(person="+14155550101", options=options, run_type="manual", error=None)
    for _ in range(3):
        machine.time_passes(200)
        if machine._failed():
            machine.retry(0)
